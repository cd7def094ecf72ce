"""The relay: publishes what the outbox holds; woken at commit, and looking each second all the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from shared.bus.port import EVENT_TYPE, MESSAGE_ID
from shared.errors import Transient
from shared.runtime.crashpoint import crashpoint
from shared.runtime.pause import pause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.bus.port import Bus
    from shared.db.session import Database
    from shared.db.tables.kernel import OutboxRow
    from shared.telemetry.metrics import KernelMetrics

_log = structlog.get_logger()
_BATCH = 200
_POLL_SECONDS = 1.0


class Relay:
    """Publishes with `Nats-Msg-Id`, so that two relays, or one that died half-way, make one message."""

    def __init__(self, db: Database, bus: Bus, metrics: KernelMetrics) -> None:
        """Ask the database to wake this relay after each commit that emits."""
        self._db = db
        self._bus = bus
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._ok = True
        db.on_emit(self._wake.set)

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish until told to stop, then once more."""
        while not stopping.is_set():
            await self._attempt()
            await pause(_POLL_SECONDS, self._wake, stopping)
            self._wake.clear()
        await self._attempt()

    async def publish_all(self) -> int:
        """Publish every unsent row; return how many."""
        total = 0
        while rows := await self._db.run(lambda tx: tx.outbox.unsent(_BATCH), patience=0):
            crashpoint("after_outbox_commit_before_publish")
            await self._publish(rows)
            crashpoint("after_publish_before_mark")
            ids = [row.id for row in rows]
            await self._db.run(lambda tx, ids=ids: tx.outbox.mark_sent(ids))
            total += len(rows)
            self._metrics.published.inc(len(rows))
            if len(rows) < _BATCH:
                break
        return total

    async def _attempt(self) -> None:
        try:
            await self.publish_all()
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
