"""The master key and the database it belongs to: no process works with a key that does not open what is sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.db.causes import require_place
from shared.db.engines import Link
from shared.db.revisions import require_current, schema_missing
from shared.db.session import Database
from shared.domain.messages.installation import MASTER_KEY_MISSING_EMPTY, MASTER_KEY_NEEDED, MASTER_KEY_OTHER
from shared.errors import Internal, Permanent
from shared.secrets.envelope import KeyRing, make_key_file, read_key_ring
from shared.tls import Certificates

if TYPE_CHECKING:
    from pathlib import Path

    from shared.config.settings import DatabaseSettings, Settings
    from shared.db.unit_of_work import UnitOfWork


_FEW = 10
"""Connections of a process whatever it runs: its periodic tasks use some at once."""
_BESIDE = 4
"""Connections beside those of a process's services: relay, heartbeats and what else runs there."""


def open_database(settings: Settings, ring: KeyRing | None = None, *, slots: int = 0) -> Database:
    """Return the database of these settings with the master key of its file; nothing is asked of either yet.

    `slots`: how many of a process's tasks use it at once; so many connections are kept, and none beyond them is opened.
    """
    url = settings.database_url()
    require_place(url)
    return Database(
        url,
        key_ring=read_key_ring(settings.master_key_path) if ring is None else ring,
        pool_size=settings.database.pool_size or max(_FEW, slots + _BESIDE),
        seconds=settings.database.statement_seconds,
        link=link_to(settings.database),
    )


def link_to(database: DatabaseSettings) -> Link:
    """Return how MariaDB is to be reached."""
    certificates = Certificates(database.ca_file, database.cert_file, database.key_file)
    return Link(certificates if database.encrypted else None, database.failover)


async def proven_database(settings: Settings, *, slots: int = 0) -> Database:
    """Return the database once the master key has opened its probe; Permanent says which key is needed, and where."""
    path = settings.master_key_path
    db = open_database(settings, read_key_ring(path) if path.exists() else KeyRing([]), slots=slots)
    proven = False
    try:
        await _require_schema(db)
        await db.run(lambda tx: _prove(tx, path, has_file=path.exists()))
        proven = True
    finally:
        if not proven:
            await db.close()
    return db


async def first_database(settings: Settings) -> Database:
    """Return the database as `proven_database` does; with an empty one make a key if there is none: `migrate`, `up`.

    The file is made before the database knows of it: a crash between the two leaves a key that nothing needs yet. Of
    two machines that begin at once the database takes one key; the other machine forgets its own, and is told.
    """
    path = settings.master_key_path
    made = False
    if not path.exists() and await _is_empty(settings):
        made = make_key_file(path)
    try:
        return await proven_database(settings)
    except Permanent as error:
        if made and error.code == "master_key_missing":
            path.unlink()
        raise


async def _require_schema(db: Database) -> None:
    try:
        await db.run(lambda tx: require_current(tx.session))
    except Internal as error:  # the table of versions is not there: nothing else can be wrong with that question
        raise schema_missing() from error


async def _is_empty(settings: Settings) -> bool:
    db = open_database(settings, KeyRing([]))
    try:
        return await db.run(lambda tx: tx.secrets.are_none())
    finally:
        await db.close()


async def _prove(tx: UnitOfWork, path: Path, *, has_file: bool) -> None:
    if not has_file:
        if await tx.secrets.are_none():
            raise Permanent(MASTER_KEY_MISSING_EMPTY(path=path))
        raise Permanent(MASTER_KEY_NEEDED(keys=await tx.secrets.unopened(), path=path))
    for act in (tx.secrets.leave_probe, tx.secrets.prove):
        # Twice: another machine's key may be first, in this very moment.
        if unopened := await tx.secrets.unopened():
            raise Permanent(MASTER_KEY_OTHER(keys=unopened, path=path))
        await act()
