"""Engines and transactions: one unit of work is bounded in time, and retried whole where that can help."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from shared.db.door import translated
from shared.db.unit_of_work import UnitOfWork
from shared.errors import Transient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence

    from shared.db.tables.kernel import OutboxRow
    from shared.secrets.envelope import KeyRing

T = TypeVar("T")

_RETRY_FIRST = 0.05
_RETRY_CAP = 2.0
_REST_SECONDS = 1.0


class Database:
    """The one door to the database of a process."""

    def __init__(self, url: str, *, key_ring: KeyRing, pool_size: int = 10, seconds: float = 10.0) -> None:
        """Take a SQLAlchemy URL; `seconds` bounds one unit of work."""
        self._key_ring = key_ring
        self._seconds = seconds
        self._writer, self._reader = _engines(url, pool_size)
        self._after_emit: list[Callable[[Sequence[OutboxRow]], None]] = []

    @property
    def engine(self) -> AsyncEngine:
        """The engine that writes; for migrations and tests."""
        return self._writer

    def on_emit(self, tell: Callable[[Sequence[OutboxRow]], None]) -> None:
        """Tell of the rows that each commit put into the outbox."""
        self._after_emit.append(tell)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[UnitOfWork]:
        """Open one transaction; commits at the end, rolls back on any error. One try."""
        with translated():
            async with asyncio.timeout(self._seconds), AsyncSession(self._writer, expire_on_commit=False) as session:
                work = UnitOfWork(session, self._key_ring)
                yield work
                await work.commit()
        if work.emitted:
            for tell in self._after_emit:
                tell(work.emitted)

    async def run(self, work: Callable[[UnitOfWork], Awaitable[T]], *, patience: float = 60.0) -> T:
        """Run a whole transaction again on deadlock or lost connection, for `patience` seconds.

        `work` must read back what it may have committed already: a connection lost at COMMIT leaves it unknown.
        Cancelling takes effect after the transaction: cut short, SQLite would keep its lock with nobody to end it.
        """
        deadline, delay = time.monotonic() + patience, _RETRY_FIRST
        while True:
            try:
                return await _to_its_end(self._once(work))
            except Transient as error:
                if not error.code.startswith("database_") or time.monotonic() + delay > deadline:
                    raise
            await asyncio.sleep(delay)
            delay = min(_RETRY_CAP, delay * 2)

    async def _once(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        async with self.transaction() as tx:
            return await work(tx)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncSession]:
        """Open a session for reading; nothing it does is committed."""
        with translated():
            async with asyncio.timeout(self._seconds), AsyncSession(self._reader, expire_on_commit=False) as session:
                yield session

    async def close(self) -> None:
        """Close all connections."""
        await self._writer.dispose()
        await self._reader.dispose()


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await work that must not be cut short; who is cancelled meanwhile is cancelled once it has ended."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # known to nobody else: the cancellation goes first
        raise


def _engines(url: str, pool_size: int) -> tuple[AsyncEngine, AsyncEngine]:
    if make_url(url).get_backend_name() == "sqlite":
        # One writer at a time queues in the pool instead of spinning on SQLite's busy handler.
        writer = create_async_engine(url, hide_parameters=True, pool_size=1, max_overflow=0, pool_timeout=10)
        reader = create_async_engine(url, hide_parameters=True, pool_size=4, max_overflow=0, pool_timeout=10)
        _prepare_sqlite(writer, "BEGIN IMMEDIATE")
        _prepare_sqlite(reader, "BEGIN")
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
    return engine, engine


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
