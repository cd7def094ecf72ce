"""Connections to SQLite and MariaDB: what is set on each of them, and what is noted of what they do."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_REST_SECONDS = 1.0
WROTE = "borgfleet_wrote"
"""Set in a connection's `info` once its transaction has changed a row."""


def engines(url: str, pool_size: int) -> tuple[AsyncEngine, AsyncEngine]:
    """Return the engine that writes and the one that reads; on MariaDB they are one."""
    if make_url(url).get_backend_name() == "sqlite":
        # One writer at a time queues in the pool instead of spinning on SQLite's busy handler.
        writer = create_async_engine(url, hide_parameters=True, pool_size=1, max_overflow=0, pool_timeout=10)
        reader = create_async_engine(url, hide_parameters=True, pool_size=4, max_overflow=0, pool_timeout=10)
        _prepare_sqlite(writer, "BEGIN IMMEDIATE")
        _prepare_sqlite(reader, "BEGIN")
        _note_writes(writer)
        return writer, reader
    connect = {"init_command": "SET time_zone='+00:00'", "charset": "utf8mb4", "connect_timeout": 5}
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=8,
        pool_recycle=1800,
        hide_parameters=True,  # they may hold what must not be in a log
        pool_reset_on_return=None,  # every session ends its own transaction
        isolation_level="READ COMMITTED",
        connect_args=connect,
    )
    _ping_after_rest(engine)
    _note_writes(engine)
    return engine, engine


def _note_writes(engine: AsyncEngine) -> None:
    """Note which transactions changed something: only of those it matters whether they were committed."""

    def begun(connection: Any) -> None:
        connection.info[WROTE] = False

    def executed(connection: Any, cursor: Any, _sql: str, _given: object, context: Any, _many: object) -> None:
        changes = context.isinsert or context.isupdate or context.isdelete
        if cursor.description is not None:  # rows come back: of a question, or of a change that returns them
            connection.info[WROTE] |= changes
        elif cursor.rowcount > 0 or (changes and cursor.rowcount < 0):
            connection.info[WROTE] = True

    event.listen(engine.sync_engine, "begin", begun)
    event.listen(engine.sync_engine, "after_cursor_execute", executed)


def _ping_after_rest(engine: AsyncEngine) -> None:
    """Try a connection before use if it rested a while: one in steady use pays no round trip for it."""
    driver: Any = engine.dialect.loaded_dbapi
    lost: tuple[type[Exception], ...] = (driver.Error, OSError)

    def checked_out(connection: Any, record: Any, _proxy: object) -> None:
        if time.monotonic() - record.info.get("rested_at", 0.0) < _REST_SECONDS:
            return
        try:
            connection.ping(reconnect=False)
        except lost as error:
            raise InvalidatePoolError from error

    def checked_in(_connection: Any, record: Any) -> None:
        record.info["rested_at"] = time.monotonic()

    event.listen(engine.sync_engine, "checkout", checked_out)
    event.listen(engine.sync_engine, "checkin", checked_in)


def _prepare_sqlite(engine: AsyncEngine, begin: str) -> None:
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=8000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begun(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", begun)
