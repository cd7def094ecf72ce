"""Transactions: one unit of work is bounded in time, retried whole where that can help, and never done twice."""

from __future__ import annotations

import asyncio
import copy
import time
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.causes import READ_ONLY, file_of
from shared.db.door import translated
from shared.db.engines import DIRECT, engines
from shared.db.unit_of_work import UnitOfWork
from shared.domain.messages.database import DATABASE_UNSURE
from shared.errors import Transient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from shared.db.engines import Link
    from shared.db.tables.kernel import OutboxRow
    from shared.secrets.envelope import KeyRing

T = TypeVar("T")

_RETRY_FIRST = 0.05
_RETRY_CAP = 2.0
REQUEST_RETRY_FOR = 5.0
"""Seconds after which a request that waits for the database is told so: its client gives up at 30."""


@dataclass(slots=True)
class _Call(Generic[T]):
    """One call of `run`, over all its tries: its mark, and what a try in doubt made."""

    slot: uuid.UUID
    mark: uuid.UUID
    in_doubt: bool = False
    """A COMMIT was sent whose answer never came."""
    event: uuid.UUID | None = None
    """An event that commits with the latest try: where there is one, it is as good as a mark and costs nothing."""
    made: list[T] = field(default_factory=list[T])
    """What the work returned in that try."""
    emitted: Sequence[OutboxRow] = ()


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the database may take: one try of a unit of work, and all its tries; in seconds."""

    seconds: float
    retry_for: float
    in_all: bool = False
    """It bounds the last try too: somebody waits for the answer."""


class Late:
    """A transaction that begins when it is first needed, so that nothing is locked by what comes before."""

    def __init__(self, opening: Callable[[], Awaitable[UnitOfWork]]) -> None:
        """Take what opens it."""
        self._opening = opening
        self.tx: UnitOfWork | None = None
        """None as long as nobody needed it."""

    async def begin(self) -> UnitOfWork:
        """Return the transaction; it is committed when the work has ended without an error."""
        if self.tx is None:
            self.tx = await self._opening()
        return self.tx


class Database:
    """The one door to the database of a process."""

    def __init__(
        self,
        url: str,
        *,
        key_ring: KeyRing,
        pool_size: int = 10,
        seconds: float = 10.0,
        retry_for: float = 60.0,
        link: Link = DIRECT,
    ) -> None:
        """Take a SQLAlchemy URL; `seconds` bounds one try of a unit of work, `retry_for` all of them."""
        self._key_ring = key_ring
        self.pace = Pace(seconds, retry_for)
        with translated():
            self._writer, self._reader = engines(url, pool_size, link)
            self._file = file_of(url)
        self._after_emit: list[Callable[[Sequence[OutboxRow]], None]] = []
        self._slots: list[uuid.UUID] = []

    @property
    def engine(self) -> AsyncEngine:
        """The engine that writes; for migrations and tests."""
        return self._writer

    def for_requests(self, retry_for: float = REQUEST_RETRY_FOR) -> Database:
        """Return this database for those who wait for an answer: within so many seconds they have one, or an error."""
        hasty = copy.copy(self)  # connections, marks and listeners are the same
        hasty.pace = Pace(min(self.pace.seconds, retry_for), retry_for, in_all=True)
        return hasty

    def keyed_id(self, purpose: str, name: str) -> str:
        """Return the id of a name that only who holds this installation's master key can tell beforehand."""
        return self._key_ring.keyed_id(purpose, name)

    def on_emit(self, tell: Callable[[Sequence[OutboxRow]], None]) -> None:
        """Tell of the rows that each commit put into the outbox."""
        self._after_emit.append(tell)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[UnitOfWork]:
        """Open one transaction; commits at the end, rolls back on any error. One try."""
        async with self._open(self.pace.seconds) as work:
            yield work
            await work.prepare()
            await work.commit()
        self._tell(work.emitted)

    async def run(
        self,
        work: Callable[[UnitOfWork], Awaitable[T]],
        *,
        retry_for: float | None = None,
        key: uuid.UUID | None = None,
        repeatable: bool = False,
    ) -> T:
        """Run a whole transaction again on deadlock or lost connection, for `retry_for` seconds; its effect is once.

        A transaction that writes leaves a mark (`key`, or a fresh one). If the answer to its COMMIT is lost, the next
        try reads the mark first, and returns what was made. `repeatable` work knows by itself what it did before, as
        by its lease, or does no harm twice: it needs no mark.
        Cancelling takes effect after the transaction: cut short, SQLite would keep its lock with nobody to end it.
        """
        retry_for = self.pace.retry_for if retry_for is None else retry_for
        call = _Call[T](self._slots.pop() if self._slots else uuid.uuid4(), key or uuid.uuid4())
        marked = not repeatable and retry_for > 0  # who tries once only never asks
        made = await self._again(
            lambda seconds: self._once(work, call, seconds, marked=marked), retry_for, lambda: call.in_doubt
        )
        self._slots.append(call.slot)
        return made

    async def run_late(self, work: Callable[[Late], Awaitable[T]]) -> T:
        """As `run`, but the transaction begins when `work` first asks for it.

        It leaves no mark: the work has to know by itself what an earlier try did.
        """
        committing = False
        emitted: Sequence[OutboxRow] = ()

        async def once(seconds: float) -> T:
            nonlocal committing, emitted
            async with AsyncExitStack() as stack:
                late = Late(lambda: stack.enter_async_context(self._open(seconds)))
                made = await work(late)
                if late.tx is not None:
                    await late.tx.prepare()
                    # A try that finds the work of the one before done emits nothing: what that one did is told now.
                    committing, emitted = True, late.tx.emitted or emitted
                    await late.tx.commit()
                    self._tell(emitted)
            return made

        return await self._again(once, self.pace.retry_for, lambda: committing)

    async def _again(
        self, once: Callable[[float], Coroutine[Any, Any, T]], retry_for: float, in_doubt: Callable[[], bool]
    ) -> T:
        """Try as often as it can help, for so many seconds."""
        deadline, delay, seconds = time.monotonic() + retry_for, _RETRY_FIRST, self.pace.seconds
        while True:
            try:
                return await _to_its_end(once(seconds))
            except Transient as error:
                if not error.code.startswith("database_"):
                    raise
                if time.monotonic() + delay > deadline:
                    raise (_unsure() if in_doubt() else error) from error
            await asyncio.sleep(delay)
            delay = min(_RETRY_CAP, delay * 2)
            if self.pace.in_all:
                seconds = max(_RETRY_FIRST, min(self.pace.seconds, deadline - time.monotonic()))

    async def _once(
        self, work: Callable[[UnitOfWork], Awaitable[T]], call: _Call[T], seconds: float, *, marked: bool
    ) -> T:
        async with self._open(seconds) as tx:
            # Waits for a COMMIT that is under way yet: the mark's row is locked until then.
            if not call.in_doubt or not await tx.marks.is_committed(call.slot, call.mark, call.event):
                call.in_doubt = False
                made = await work(tx)
                await tx.prepare()
                call.made, call.emitted = [made], tx.emitted
                if marked and await tx.has_written():
                    call.event = call.emitted[0].id if call.emitted else None
                    if call.event is None:
                        await tx.marks.set(call.slot, call.mark)
                    call.in_doubt = True
                await tx.commit()
        self._tell(call.emitted)
        return call.made[0]

    @asynccontextmanager
    async def _open(self, seconds: float) -> AsyncGenerator[UnitOfWork]:
        with translated(self._file):
            async with asyncio.timeout(seconds), AsyncSession(self._writer, expire_on_commit=False) as session:
                yield UnitOfWork(session, self._key_ring)

    def _tell(self, emitted: Sequence[OutboxRow]) -> None:
        if emitted:
            for tell in self._after_emit:
                tell(emitted)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncSession]:
        """Open a session for reading; nothing it does is committed."""
        with translated(self._file):
            async with (
                asyncio.timeout(self.pace.seconds),
                AsyncSession(self._reader, expire_on_commit=False) as session,
            ):
                yield session

    async def require_writable(self) -> None:
        """Raise if the database does not answer, or is a server that can only be read (a replica, or demoted)."""
        async with self.read() as session:
            if self._file is not None or self._writer.dialect.name == "sqlite":
                await session.execute(text("SELECT 1"))
            elif (await session.execute(text("SELECT @@global.read_only"))).scalar_one():
                # Its name may lead to the primary by now: the next question is asked over a new connection.
                await (await session.connection()).invalidate()
                raise READ_ONLY.error()

    async def close(self) -> None:
        """Close all connections."""
        await self._writer.dispose()
        await self._reader.dispose()


def _unsure() -> Transient:
    return Transient(DATABASE_UNSURE(), retry_after=1.0)


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
