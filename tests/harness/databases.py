"""A test's database: SQLite with the tables as they are, or one on the tests' MariaDB with all migrations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.db.session import Database
from shared.db.tables import Base
from shared.secrets.envelope import KeyRing


@asynccontextmanager
async def open_database(
    request: pytest.FixtureRequest, directory: Path, kind: str = "sqlite"
) -> AsyncIterator[Database]:
    if kind == "sqlite":
        made = Database(f"sqlite+aiosqlite:///{directory / 'unit.db'}", key_ring=KeyRing([bytes(32)]))
        async with made.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
    else:
        url = await asyncio.to_thread(request.getfixturevalue("maria").migrated)
        made = Database(url, key_ring=KeyRing([bytes(32)]))
    try:
        yield made
    finally:
        await made.close()
