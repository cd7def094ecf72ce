"""A test's database: SQLite with the tables as they are, or one on the tests' MariaDB with all migrations."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import StaticPool, create_engine

from shared.db.session import Database
from shared.db.tables import Base
from shared.secrets.envelope import KeyRing
from tests.harness.patience import WAIT


class PatientDatabase(Database):
    """One whose limits a machine that stands still for seconds does not meet, neither in a read nor in a request."""

    def __init__(self, url: str, **given: Any) -> None:
        super().__init__(url, **{"seconds": WAIT, "retry_for": WAIT} | given)

    def for_requests(self, retry_for: float = WAIT) -> Database:
        return super().for_requests(max(retry_for, WAIT))


def with_tables(file: Path) -> str:
    """Make a SQLite database with all tables, empty, and return its URL: a copy, a fifth of a test's time was theirs."""
    file.write_bytes(_empty_tables())
    return f"sqlite+aiosqlite:///{file}"


@functools.cache
def _empty_tables() -> bytes:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
        made = connection.connection.dbapi_connection
        assert isinstance(made, sqlite3.Connection)
    try:
        return made.serialize()
    finally:
        engine.dispose()


@asynccontextmanager
async def open_database(
    request: pytest.FixtureRequest, directory: Path, kind: str = "sqlite"
) -> AsyncIterator[Database]:
    if kind == "sqlite":
        made = Database(with_tables(directory / "unit.db"), key_ring=KeyRing([bytes(32)]))
    else:
        url = await asyncio.to_thread(request.getfixturevalue("maria").migrated)
        made = Database(url, key_ring=KeyRing([bytes(32)]))
    try:
        yield made
    finally:
        await made.close()
