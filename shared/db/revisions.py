"""Which revisions of the schema this version knows, told without Alembic: every process asks when it starts."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import text

from shared.domain.messages.database import SCHEMA_MISSING, SCHEMA_NEWER, SCHEMA_OLDER
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncSession

_log = structlog.get_logger()


@lru_cache(maxsize=1)
def known_revisions() -> tuple[str, ...]:
    """Return the revisions from the first to the newest: their files' names begin with them."""
    names = (file.name for file in files("shared.db.migrations").joinpath("versions").iterdir())
    return tuple(sorted(name.partition("_")[0] for name in names if name[0].isdigit() and name.endswith(".py")))


def require_known(found: Iterable[str]) -> None:
    """Raise Permanent if the database's schema is of a version that this one does not know."""
    if unknown := sorted(set(found) - set(known_revisions())):
        raise Permanent(SCHEMA_NEWER(found=unknown, newest=known_revisions()[-1]))


async def require_current(session: AsyncSession) -> None:
    """Raise Permanent if the database's schema is older than this version needs: each query would fail by itself.

    A newer one is no reason not to start: images may go back while the schema stays.
    """
    found = set(await session.scalars(text("SELECT version_num FROM alembic_version")))
    if not found:
        raise schema_missing()
    if found - set(known_revisions()):
        _log.warning("schema_newer", found=sorted(found), known=known_revisions()[-1])
    elif known_revisions()[-1] not in found:
        raise Permanent(SCHEMA_OLDER(found=sorted(found), needed=known_revisions()[-1]))


def schema_missing() -> Permanent:
    """Return what is said of a database without our tables."""
    return Permanent(SCHEMA_MISSING())
