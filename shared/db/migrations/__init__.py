"""One line of revisions for both databases."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config

from shared.db.causes import file_of, require_place
from shared.db.door import translated
from shared.db.engines import DIRECT, Link
from shared.db.migrations.alone import still_running
from shared.errors import Transient


def migrate(url: str, link: Link = DIRECT) -> None:
    """Bring a database to the newest revision; blocking.

    Several may be started at once, and each may be killed at any moment: another goes on where it stopped.
    """
    require_place(url)
    try:
        with translated(file_of(url)):
            command.upgrade(alembic_config(url, link), "head")
    except Transient as error:
        if error.code == "database_busy" and url.startswith("sqlite"):
            raise still_running() from error
        raise


def alembic_config(url: str, link: Link = DIRECT) -> Config:
    """Return Alembic's configuration for a database."""
    config = Config()
    config.set_main_option("script_location", str(files("shared.db.migrations")))
    config.attributes["url"] = url
    config.attributes["link"] = link
    return config
