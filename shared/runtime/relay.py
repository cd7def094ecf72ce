"""The relay: publishes what the outbox holds; woken at commit, and looking each second all the same."""

from __future__ import annotations

import asyncio
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING

import structlog

from shared.bus.port import EVENT_TYPE, MESSAGE_ID
from shared.errors import Transient
from shared.runtime.crashpoint import crashpoint
from shared.runtime.pause import pause

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from shared.bus.port import Bus
    from shared.db.session import Database
    from shared.db.tables.kernel import OutboxRow
    from shared.db.unit_of_work import UnitOfWork
    from shared.telemetry.metrics import KernelMetrics

_log = structlog.get_logger()
_BATCH = 200
_POLL_SECONDS = 1.0
_STRAGGLER_SECONDS = 2.0
_SWEEP = "outbox"
_SWEEP_SECONDS = 5.0


class Relay:
    """Publishes with `Nats-Msg-Id`, so that two relays, or one that died half-way, make one message."""

    def __init__(self, db: Database, bus: Bus, metrics: KernelMetrics) -> None:
        """Ask the database to wake this relay after each commit that emits."""
        self._db = db
        self._bus = bus
        self._metrics = metrics
        self._name = secrets.token_hex(8)
        self._wake = asyncio.Event()
        self._fresh: list[OutboxRow] = []
        self._ok = True
        db.on_emit(self._remember)

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish until told to stop, then all that is left."""
        swept_at = 0.0
        while not stopping.is_set():
            await self._attempt(self._publish_fresh)
            if time.monotonic() - swept_at >= _POLL_SECONDS:
                await self._attempt(partial(self.publish_all, older_than=_STRAGGLER_SECONDS))
                swept_at = time.monotonic()
            await pause(_POLL_SECONDS, self._wake, stopping)
            self._wake.clear()
        await self._attempt(self._publish_fresh)

    async def publish_all(self, *, older_than: float = 0.0) -> int:
        """Publish every unsent row so many seconds old, whoever left it; return how many. One relay sweeps for all."""
        total = 0
        while rows := await self._db.run(partial(self._stragglers, older_than), patience=0):
            await self._deliver(rows)
            total += len(rows)
            if len(rows) < _BATCH:
                break
        return total

    async def _stragglers(self, older_than: float, tx: UnitOfWork) -> Sequence[OutboxRow]:
        rows = await tx.outbox.unsent(_BATCH, older_than=older_than)
        if rows and await tx.leases.acquire(_SWEEP, self._name, _SWEEP_SECONDS) is None:
            return ()
        return rows

    def _remember(self, rows: Sequence[OutboxRow]) -> None:
        self._fresh.extend(rows)
        self._wake.set()

    async def _publish_fresh(self) -> None:
        """Publish what this process committed, without asking the database for it again."""
        while rows := self._fresh[:_BATCH]:
            del self._fresh[:_BATCH]  # what fails now is found by the next sweep
            await self._deliver(rows)

    async def _deliver(self, rows: Sequence[OutboxRow]) -> None:
        crashpoint("after_outbox_commit_before_publish")
        await self._publish(rows)
        crashpoint("after_publish_before_mark")
        ids = [row.id for row in rows]
        await self._db.run(lambda tx: tx.outbox.mark_sent(ids))
        self._metrics.published.inc(len(rows))

    async def _attempt(self, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except Transient as error:
            if self._ok:
                _log.warning("relay_stalled", code=error.code, reason=error.message)
            self._ok = False
            return
        if not self._ok:
            _log.info("relay_resumed")
        self._ok = True

    async def _publish(self, rows: Sequence[OutboxRow]) -> None:
        # All are tried; if one fails the batch stays unsent and its other messages are known by their ids.
        sent = await asyncio.gather(*(self._publish_row(row) for row in rows), return_exceptions=True)
        for error in sent:
            if isinstance(error, BaseException):
                raise error

    async def _publish_row(self, row: OutboxRow) -> None:
        headers = {MESSAGE_ID: str(row.id), EVENT_TYPE: row.event_type}
        await self._bus.publish(row.subject, row.payload.encode(), headers)
