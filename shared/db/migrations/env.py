"""How Alembic reaches the database: alone, and so that what was cut short goes on where it stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from alembic import context
from sqlalchemy import inspect

from shared.db.engines import migrating_engine
from shared.db.migrations.alone import lock
from shared.db.migrations.progress import TABLE, Progress
from shared.db.revisions import require_known
from shared.db.tables import Base

if TYPE_CHECKING:
    from sqlalchemy import Connection


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or name != TABLE


def _run(connection: Connection) -> None:
    # SQLite: the transaction that began with the connection holds everything, and commits it whole or not at all.
    maria = connection.dialect.name != "sqlite"
    if maria:
        lock(connection)
    versioned = inspect(connection).has_table("alembic_version")
    progress = Progress(connection, versioned=versioned) if maria else None
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=not maria,
        include_name=_is_ours,
        on_version_apply=progress.version_applied if progress else None,
    )
    require_known(context.get_context().get_current_heads())
    if progress:
        for script in context.script.walk_revisions():
            progress.watch(script)
    context.run_migrations()


async def _online() -> None:
    engine = migrating_engine(context.config.attributes["url"], context.config.attributes["link"])
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_run)
    finally:
        await engine.dispose()


asyncio.run(_online())
