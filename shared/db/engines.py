"""Connections to SQLite and MariaDB: what is set on each of them, and what is noted of what they do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from shared.db.causes import READ_ONLY_NUMBERS
from shared.db.encrypted import creator

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext

    from shared.tls import Certificates

_REST_SECONDS = 1.0
MIGRATE_WAIT_SECONDS = 600
"""How long a `migrate` waits for another: a change of a large table may take minutes."""
_SESSION: dict[str, str | int] = {
    # Not strict, a server cuts what is too long and makes zero of what is no number, without a word.
    "sql_mode": "'STRICT_TRANS_TABLES,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
    "time_zone": "'+00:00'",
    # Another engine knows no transaction and no foreign key.
    "default_storage_engine": "InnoDB",
    "foreign_key_checks": 1,
    "unique_checks": 1,
    "check_constraint_checks": 1,
    "sql_safe_updates": 0,
    "sql_auto_is_null": 0,
    "completion_type": 0,
    # Who waits longer was given up by its client long since.
    "innodb_lock_wait_timeout": 10,
    "lock_wait_timeout": 10,
}
"""Set at each connection to MariaDB, whatever its configuration says; isolation and character set have their own."""
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=8000", "foreign_keys=ON")
WROTE = "borgfleet_wrote"
"""Set in a connection's `info` once its transaction has changed a row."""


@dataclass(frozen=True, slots=True)
class Link:
    """How MariaDB is reached: over TLS or not, and whether its name may lead to another server one day."""

    certificates: Certificates | None = None
    failover: bool = False


DIRECT = Link()


def engines(url: str, pool_size: int, link: Link) -> tuple[AsyncEngine, AsyncEngine]:
    """Return the engine that writes and the one that reads; on MariaDB they are one."""
    if make_url(url).get_backend_name() == "sqlite":
        # One writer at a time queues in the pool instead of spinning on SQLite's busy handler.
        writer = create_async_engine(url, hide_parameters=True, pool_size=1, max_overflow=0, pool_timeout=10)
        reader = create_async_engine(url, hide_parameters=True, pool_size=4, max_overflow=0, pool_timeout=10)
        _prepare_sqlite(writer, "BEGIN IMMEDIATE")
        _prepare_sqlite(reader, "BEGIN")
        _note_writes(writer)
        return writer, reader
    engine = create_async_engine(
        url,
        # Connections beyond the pool's size are closed after each use: under load that was one opened each few jobs.
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=8,
        # A connection to a server that is no longer the primary is given up after a while, whatever it is used for.
        pool_recycle=300 if link.failover else 1800,
        hide_parameters=True,  # they may hold what must not be in a log
        pool_reset_on_return=None,  # every session ends its own transaction
        isolation_level="READ COMMITTED",
        connect_args=_of_maria(link),
    )
    _ping_after_rest(engine)
    _leave_read_only(engine)
    _note_writes(engine)
    return engine, engine


def migrating_engine(url: str, link: Link) -> AsyncEngine:
    """Return the engine that changes the schema: one connection, no limit on how long a statement may work."""
    if make_url(url).get_backend_name() == "sqlite":
        engine = create_async_engine(url, hide_parameters=True, poolclass=NullPool)
        # Tables are made anew under their old names, so no foreign key is held meanwhile (SQLite's default).
        _prepare_sqlite(engine, "BEGIN IMMEDIATE", ("synchronous=FULL", f"busy_timeout={MIGRATE_WAIT_SECONDS * 1000}"))
        return engine
    return create_async_engine(
        url,
        hide_parameters=True,
        poolclass=NullPool,
        isolation_level="READ COMMITTED",
        connect_args=_of_maria(link, max_statement_time=0, lock_wait_timeout=60),
    )


def _of_maria(link: Link, **more: int) -> dict[str, Any]:
    """Return what is said at each connection to MariaDB: nothing that we rely on is left to the server's defaults."""
    settings = _SESSION | more
    given = ", ".join(f"SESSION {name}={value}" for name, value in settings.items())
    options: dict[str, Any] = {"init_command": f"SET {given}", "charset": "utf8mb4", "connect_timeout": 5}
    return options | ({"async_creator_fn": creator(link.certificates)} if link.certificates else {})


def _leave_read_only(engine: AsyncEngine) -> None:
    """Give up all connections to a server that can only be read: the next one is opened to who is the primary now."""

    def failed(context: ExceptionContext) -> None:
        arguments: tuple[object, ...] = getattr(context.original_exception, "args", ())
        if arguments and arguments[0] in READ_ONLY_NUMBERS:
            context.is_disconnect = True

    event.listen(engine.sync_engine, "handle_error", failed)


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


def _prepare_sqlite(engine: AsyncEngine, begin: str, pragmas: tuple[str, ...] = _PRAGMAS) -> None:
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begun(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", begun)
