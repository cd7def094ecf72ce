"""The heartbeat of a run: holds its message and its lease, and tells the run when it is cancelled or superseded."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from shared.errors import AppError, LeaseLost, Transient
from shared.runtime.context import Abort
from shared.runtime.outcome import cancelled, outcome, result

if TYPE_CHECKING:
    from shared.bus.port import Delivery
    from shared.config.settings import WorkerSettings
    from shared.runtime.context import Context

_log = structlog.get_logger()


class Heartbeat:
    """Beats for one run until it is cancelled itself."""

    def __init__(self, delivery: Delivery, ctx: Context, task: asyncio.Task[None], settings: WorkerSettings) -> None:
        """Take the run's message, its context, and the task that is its handler."""
        self._delivery = delivery
        self._ctx = ctx
        self._task = task
        self._settings = settings
        self._every = settings.ack_wait / 3
        self._due_at = time.monotonic() + self._every
        self._well_at = time.monotonic()
        self._trouble = ""

    async def run(self) -> None:
        """Beat every third of `ack_wait`; look more often whether somebody wants the run to be cancelled."""
        while not self._task.done():
            await asyncio.sleep(min(self._settings.cancel_poll, self._every))
            await self._beat_once()

    async def _beat_once(self) -> None:
        """Beat; whatever goes wrong, a run that could not renew its lease for as long as that holds is stopped."""
        beating = asyncio.create_task(self._beat())
        try:
            # A beat that hangs is one that fails: the lease runs out just the same.
            await asyncio.wait({beating}, timeout=max(self._ctx.lease_left(), self._every))
        finally:
            hung = not beating.done()
            await cancelled(beating)
        error = result(beating)
        if error is None:
            self._well_at, self._trouble = time.monotonic(), ""
        elif isinstance(error, LeaseLost):
            abort(self._task, self._ctx, Abort.LEASE_LOST)
        else:
            self._failed(TimeoutError("the beat hangs") if hung else error)

    def _failed(self, error: BaseException) -> None:
        said = error.code if isinstance(error, AppError) else type(error).__name__
        if isinstance(error, (Transient, TimeoutError)):
            _log.warning("heartbeat_missed", code=said, reason=str(error))
        elif said != self._trouble:  # once: it comes again at each beat
            _log.error("heartbeat_failed", code=said, exc_info=error)
        self._trouble = said
        if self._is_over():
            self._ctx.heart_failed = error
            abort(self._task, self._ctx, Abort.LEASE_LOST)

    def _is_over(self) -> bool:
        """Tell whether the lease has run out, or another part of the beat has failed for as long."""
        if self._ctx.job is None or self._ctx.finished:
            return False
        return self._ctx.lease_left() <= 0 or time.monotonic() - self._well_at >= self._ctx.lease_seconds

    async def _beat(self) -> None:
        due = time.monotonic() >= self._due_at
        if due:
            self._due_at = time.monotonic() + self._every
            await self._hold_message()
        if self._ctx.job is None or self._ctx.finished:
            return
        if due:
            await self._ctx.beat()
        if await self._ctx.tick():
            abort(self._task, self._ctx, Abort.CANCELLED)

    async def _hold_message(self) -> None:
        """Hold the message; that the bus is away is no reason to let the lease run out, too."""
        if error := await outcome(self._delivery.in_progress()):
            _log.warning("message_not_held", error=getattr(error, "code", type(error).__name__))


def abort(task: asyncio.Task[None], ctx: Context, reason: Abort) -> None:
    """Stop a run for this reason, once: a second cancellation would interrupt the handler while it stops borg."""
    if ctx.abort is None and not task.done():
        ctx.abort = reason
        task.cancel()
