"""The worker: fetch, decode, run, decide, dispose; with a heartbeat beside every run."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog

from shared.errors import AppError, LeaseLost, Transient
from shared.events.streams import JOBS
from shared.runtime.context import Abort, Context
from shared.runtime.crashpoint import crashpoint
from shared.runtime.delivery import decode
from shared.runtime.disposition import Decision, Verdict, decide, dispose
from shared.runtime.pause import pause

if TYPE_CHECKING:
    from shared.bus.port import Bus, Consumer, Delivery
    from shared.config.settings import WorkerSettings
    from shared.db.session import Database
    from shared.runtime.service import Route
    from shared.telemetry.metrics import KernelMetrics

_log = structlog.get_logger()
_FETCH_SECONDS = 5.0
_RECONNECT_SECONDS = 1.0


class Worker:
    """Works one route's messages in as many slots as the route allows."""

    def __init__(self, route: Route, db: Database, bus: Bus, settings: WorkerSettings, metrics: KernelMetrics) -> None:
        """Prepare; `run` works."""
        self._route = route
        self._db = db
        self._bus = bus
        self._settings = settings
        self._metrics = metrics
        self._runs: dict[asyncio.Task[None], Context] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until told to stop; then stop running handlers in order and hand their jobs over."""
        slots = [asyncio.create_task(self._slot(stopping)) for _ in range(self._route.concurrency)]
        watch = asyncio.create_task(self._abort_at_shutdown(stopping))
        try:
            await asyncio.gather(*slots)
        finally:
            watch.cancel()
            for slot in slots:
                slot.cancel()

    async def _slot(self, stopping: asyncio.Event) -> None:
        stop = asyncio.create_task(stopping.wait())
        consumer: Consumer | None = None
        try:
            while not stopping.is_set():
                try:
                    consumer = consumer or await self._open()
                    delivery = await self._fetch(consumer, stop)
                    if delivery is not None:
                        await self._handle(delivery, stopping)
                except Transient as error:
                    _log.warning("bus_trouble", subject=self._route.subject, code=error.code, reason=error.message)
                    consumer = None
                    await pause(_RECONNECT_SECONDS, stopping)
        finally:
            stop.cancel()
        if consumer is not None:
            await consumer.close()

    async def _open(self) -> Consumer:
        return await self._bus.consumer(JOBS, self._route.subject, ack_wait=self._settings.ack_wait)

    async def _fetch(self, consumer: Consumer, stop: asyncio.Task[Any]) -> Delivery | None:
        fetch = asyncio.create_task(consumer.fetch(_FETCH_SECONDS))
        await asyncio.wait({fetch, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not fetch.done():
            fetch.cancel()
            return None
        delivery = fetch.result()
        if delivery is not None and stop.done():
            await delivery.nak()
            return None
        return delivery

    async def _handle(self, delivery: Delivery, stopping: asyncio.Event) -> None:
        ctx = Context(self._db, self._bus, key=delivery.key, lease_seconds=self._settings.lease)
        started = time.monotonic()
        with structlog.contextvars.bound_contextvars(delivery=delivery.key):
            error = await self._supervise(delivery, ctx, stopping)
            decision = decide(error, ctx, max_failures=self._settings.max_failures)
            _note(decision, error, ctx)
            crashpoint("after_commit_before_ack")
            await self._dispose(decision, delivery, ctx)
        self._metrics.deliveries.labels(self._route.subject, decision.verdict.value).inc()
        self._metrics.handling.labels(self._route.subject).observe(time.monotonic() - started)
        if decision.verdict is Verdict.DEAD:
            self._metrics.dead.labels(self._route.subject).inc()

    async def _supervise(self, delivery: Delivery, ctx: Context, stopping: asyncio.Event) -> BaseException | None:
        """Run the handler with a heartbeat beside it; return how it ended instead of raising."""
        task = asyncio.create_task(self._run_handler(delivery, ctx))
        self._runs[task] = ctx
        beat = asyncio.create_task(self._heartbeat(delivery, ctx, task))
        if stopping.is_set():
            _abort(task, ctx, Abort.SHUTDOWN)
        try:
            with self._metrics.running.labels(self._route.subject).track_inprogress():
                await asyncio.wait({task})
        finally:
            del self._runs[task]
            beat.cancel()
            await asyncio.wait({beat})
        await ctx.close()
        return asyncio.CancelledError() if task.cancelled() else task.exception()

    async def _run_handler(self, delivery: Delivery, ctx: Context) -> None:
        event = decode(self._route.event, delivery)
        with structlog.contextvars.bound_contextvars(
            correlation_id=str(event.correlation_id), job_id=str(event.job_id)
        ):
            await self._route.handler(event, ctx)

    async def _heartbeat(self, delivery: Delivery, ctx: Context, task: asyncio.Task[None]) -> None:
        """Hold message and lease for as long as the handler runs; tell it when it is cancelled or superseded."""
        beat_at = time.monotonic() + self._settings.ack_wait / 3
        while not task.done():
            await asyncio.sleep(min(self._settings.cancel_poll, self._settings.ack_wait / 3))
            due = time.monotonic() >= beat_at
            if due:
                beat_at = time.monotonic() + self._settings.ack_wait / 3
            try:
                await self._beat(delivery, ctx, task, due=due)
            except LeaseLost:
                _abort(task, ctx, Abort.LEASE_LOST)
            except Transient as error:
                _log.warning("heartbeat_missed", code=error.code, reason=error.message)

    async def _beat(self, delivery: Delivery, ctx: Context, task: asyncio.Task[None], *, due: bool) -> None:
        if due:
            await delivery.in_progress()
        if ctx.job is None or ctx.finished:
            return
        if due:
            await ctx.beat()
        if await ctx.tick():
            _abort(task, ctx, Abort.CANCELLED)

    async def _dispose(self, decision: Decision, delivery: Delivery, ctx: Context) -> None:
        try:
            await dispose(decision, delivery, ctx, self._bus, self._route.on_failure)
        except (Transient, LeaseLost) as error:
            # The row's lease runs out or the message comes again: either way the job goes on.
            _log.warning("disposition_failed", verdict=decision.verdict.value, code=error.code, reason=error.message)

    async def _abort_at_shutdown(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        for task, ctx in list(self._runs.items()):
            _abort(task, ctx, Abort.SHUTDOWN)


def _abort(task: asyncio.Task[None], ctx: Context, reason: Abort) -> None:
    # Once only: a second cancel would interrupt the handler while it stops borg.
    if ctx.abort is None and not task.done():
        ctx.abort = reason
        task.cancel()


def _note(decision: Decision, error: BaseException | None, ctx: Context) -> None:
    job = str(ctx.job.id) if ctx.job else None
    cause = decision.error
    fields = {"verdict": decision.verdict.value, "job": job, "code": cause.code if cause else None}
    if error is None or decision.verdict in (Verdict.DONE, Verdict.WAIT):
        _log.debug("delivery_ended", **fields)
    elif isinstance(error, (AppError, asyncio.CancelledError)):
        _log.warning("delivery_ended", **fields, reason=cause.message if cause else None)
    else:
        _log.error("handler_crashed", **fields, exc_info=error)
