"""The relay: publishes what the outbox holds; woken at commit, and the scheduler's looks each second all the same."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import structlog

from shared.bus.port import EVENT_TYPE, MESSAGE_ID
from shared.errors import AppError, Transient
from shared.runtime.board import Board
from shared.runtime.crashpoint import crashpoint
from shared.runtime.delivery import set_aside
from shared.runtime.supervisor import supervise
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shared.bus.port import Bus
    from shared.db.session import Database
    from shared.db.tables.kernel import OutboxRow
    from shared.db.unit_of_work import UnitOfWork
    from shared.telemetry.metrics import KernelMetrics

_log = structlog.get_logger()
_BATCH = 200
_FRESH = 2_000
"""Rows kept in memory to spare reading them again; what is beyond, the next sweep reads."""
_FAILED = 2_000
"""Rows that one sweep steps over because they failed in it."""
_TRIES = 3
"""Tries of a message that the bus, working, refuses: then it is set aside."""
_OF_ONE_STREAM = frozenset({"stream_full", "bus_gone", "bus_unreachable"})
"""What the bus says of a stream that takes nothing; if it does not answer at all, every other would wait in vain."""
_POLL_SECONDS = 1.0
_STRAGGLER_SECONDS = 2.0
_SWEEP = "outbox"
_SWEEP_SECONDS = 5.0


class Relay:
    """Publishes with `Nats-Msg-Id`, so that two relays, or one that died half-way, make one message."""

    def __init__(self, db: Database, bus: Bus, metrics: KernelMetrics, *, sweeps: bool = True) -> None:
        """Ask the database to wake this relay after each commit that emits.

        Who sweeps publishes for every process, and must be allowed to publish everything: of a fleet the scheduler is.
        """
        self._sweeps = sweeps
        self._db = db
        self._bus = bus
        self._metrics = metrics
        self._name = secrets.token_hex(8)
        self._wake = asyncio.Event()
        self._fresh: deque[OutboxRow] = deque()
        self._refused: dict[uuid.UUID, int] = {}
        self._swept_at = -_POLL_SECONDS
        self._stalled = False
        db.on_emit(self._remember)

    def task(self) -> Periodic:
        """Publish at each commit and each second, and all that is left at the end."""
        return Periodic(
            "relay",
            self._round,
            every=_POLL_SECONDS,
            wake=self._wake,
            last_word=lambda _stopping: self._publish_fresh(),
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish until told to stop, where nothing else watches it."""
        await supervise(self.task(), Board(self._metrics.tasks), stopping)

    async def publish_all(self, *, older_than: float = 0.0) -> int:
        """Publish every unsent row so many seconds old, whoever left it; return how many. One relay sweeps for all.

        A row that fails keeps no other one back, nor does a stream that is full. Raises why, at the end, if any failed.
        """
        total, failed, full, why = 0, set[uuid.UUID](), set[str](), None
        while rows := await self._db.run(partial(self._stragglers, older_than, failed, full), retry_for=0):
            errors = await self._deliver(rows)
            total += len(rows) - len(errors)
            failed |= errors.keys()
            why = why or next(iter(errors.values()), None)
            if len(rows) < _BATCH or len(failed) > _FAILED:
                break
            if len(errors) == len(rows):
                if not await self._only_here(errors.values()):
                    break
                full |= {row.subject for row in rows}
                failed.clear()
        if why is not None:
            raise why
        return total

    async def _only_here(self, errors: Collection[AppError]) -> bool:
        """Tell whether a whole batch failed for its stream alone, as one that is full: the others may take theirs."""
        return all(error.code in _OF_ONE_STREAM for error in errors) and await self._bus.healthy()

    async def _round(self, _stopping: asyncio.Event) -> None:
        try:
            await self._publish_fresh()
            if self._sweeps and time.monotonic() - self._swept_at >= _POLL_SECONDS:
                await self.publish_all(older_than=_STRAGGLER_SECONDS)
                self._swept_at = time.monotonic()
        except Transient as error:
            if not self._stalled:
                _log.warning("relay_stalled", code=error.code, reason=error.message)
            self._stalled = True
            raise
        self._stalled = False

    async def _stragglers(
        self, older_than: float, failed: Collection[uuid.UUID], full: Collection[str], tx: UnitOfWork
    ) -> Sequence[OutboxRow]:
        rows = await tx.outbox.unsent(_BATCH, older_than=older_than, but=failed, but_on=full)
        if rows and await tx.leases.acquire(_SWEEP, self._name, _SWEEP_SECONDS) is None:
            return ()
        return rows

    def _remember(self, rows: Sequence[OutboxRow]) -> None:
        self._fresh.extend(rows[: max(0, _FRESH - len(self._fresh))])
        self._wake.set()

    async def _publish_fresh(self) -> None:
        """Publish what this process committed, without asking the database for it again."""
        while self._fresh:
            errors = await self._deliver([self._fresh.popleft() for _ in range(min(_BATCH, len(self._fresh)))])
            if errors:
                self._fresh.clear()  # the next sweep finds them
                raise next(iter(errors.values()))

    async def _deliver(self, rows: Sequence[OutboxRow]) -> dict[uuid.UUID, AppError]:
        """Publish rows, mark each one that was acknowledged; return the others with what happened to them."""
        crashpoint("after_outbox_commit_before_publish")
        # An answer for each row: one that cannot be published must not have the others sent again and again.
        answers = await asyncio.gather(*(self._publish_row(row) for row in rows), return_exceptions=True)
        crashpoint("after_publish_before_mark")
        failed = {row.id: (row, answer) for row, answer in zip(rows, answers, strict=True) if answer is not None}
        if sent := [row.id for row in rows if row.id not in failed]:
            await self._db.run(lambda tx: tx.outbox.mark_sent(sent))
            self._metrics.published.inc(len(sent))
        errors: dict[uuid.UUID, AppError] = {}
        for row, error in failed.values():
            if isinstance(error, Transient):
                errors[row.id] = error
            elif isinstance(error, Exception):
                await self._refuse(row, error)
            else:
                raise error  # we are being cancelled
        return errors

    async def _refuse(self, row: OutboxRow, error: Exception) -> None:
        """Count a row that can not be published as it is; after a few tries it is set aside and the rest goes on."""
        tries = self._refused.pop(row.id, 0) + 1
        if tries < _TRIES:
            if len(self._refused) < _FAILED:
                self._refused[row.id] = tries
            _log.warning("event_refused", row=str(row.id), subject=row.subject, error=type(error).__name__)
            return
        await set_aside(self._db, self._bus, row, error, tries)
        self._metrics.dead.labels(row.subject).inc()

    async def _publish_row(self, row: OutboxRow) -> None:
        headers = {MESSAGE_ID: str(row.id), EVENT_TYPE: row.event_type}
        await self._bus.publish(row.subject, row.payload.encode(), headers)
