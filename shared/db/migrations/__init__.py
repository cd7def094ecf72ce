"""One line of revisions for both databases."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config


def migrate(url: str) -> None:
    """Bring a database to the newest revision; blocking."""
    command.upgrade(alembic_config(url), "head")


def alembic_config(url: str) -> Config:
    """Return Alembic's configuration for a database."""
    config = Config()
    config.set_main_option("script_location", str(files("shared.db.migrations")))
    config.attributes["url"] = url
    return config
