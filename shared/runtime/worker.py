"""The worker: fetch, decode, run, decide, dispose; with a heartbeat beside every run."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog

from shared.errors import AppError, Conflict, LeaseLost, Transient
from shared.events.streams import JOBS
from shared.runtime.board import Board
from shared.runtime.context import Abort, Context
from shared.runtime.crashpoint import crashpoint, failpoint
from shared.runtime.delivery import decode
from shared.runtime.disposition import (
    Decision,
    Verdict,
    decide,
    dispose,
    give_up,
    is_unforeseen,
    undecided,
)
from shared.runtime.heartbeat import Heartbeat, abort
from shared.runtime.outcome import cancelled, ended, outcome, result
from shared.runtime.supervisor import supervise
from shared.runtime.tasks import Supervised

if TYPE_CHECKING:
    from shared.bus.port import Bus, Consumer, Delivery
    from shared.config.settings import WorkerSettings
    from shared.db.session import Database
    from shared.runtime.service import Route
    from shared.runtime.tasks import Task
    from shared.telemetry.metrics import KernelMetrics

_log = structlog.get_logger()
_FETCH_SECONDS = 5.0
_COUNTED = 1000
"""Messages whose failures are counted in memory; of more the oldest are forgotten."""


class Worker:
    """Works one route's messages in as many slots as the route allows."""

    def __init__(self, route: Route, db: Database, bus: Bus, settings: WorkerSettings, metrics: KernelMetrics) -> None:
        """Prepare; its tasks work."""
        self._route = route
        self._db = db
        self._bus = bus
        self._settings = settings
        self._metrics = metrics
        self._runs: dict[asyncio.Task[None], Context] = {}
        self._failures: dict[str, int] = {}

    def tasks(self) -> list[Task]:
        """Return its slots, each a task of its own: what ends one leaves the others and their heartbeats alone."""
        subject = self._route.subject
        slots = [Supervised(f"{subject}/{number}", self._slot) for number in range(1, self._route.concurrency + 1)]
        return [*slots, Supervised(f"{subject}/shutdown", self._abort_at_shutdown)]

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until told to stop; then stop running handlers in order and hand their jobs over."""
        board = Board(self._metrics.tasks)
        await ended(*(asyncio.create_task(supervise(task, board, stopping)) for task in self.tasks()))

    async def _slot(self, stopping: asyncio.Event) -> None:
        consumer = await self._bus.consumer(JOBS, self._route.subject, ack_wait=self._settings.ack_wait)
        stop = asyncio.create_task(stopping.wait())
        try:
            while not stopping.is_set():
                delivery = await self._fetch(consumer, stop)
                if delivery is not None:
                    await self._handle(delivery, stopping)
        finally:
            stop.cancel()
            await consumer.close()

    async def _fetch(self, consumer: Consumer, stop: asyncio.Task[Any]) -> Delivery | None:
        fetch = asyncio.create_task(consumer.fetch(_FETCH_SECONDS))
        try:
            await asyncio.wait({fetch, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Not awaited: a fetch that the bus keeps from ending must not keep the process from ending.
            fetch.cancel()
        if not fetch.done():
            return None
        delivery = fetch.result()
        if delivery is not None and stop.done():
            await delivery.nak()
            return None
        return delivery

    async def _handle(self, delivery: Delivery, stopping: asyncio.Event) -> None:
        ctx = Context(
            self._db,
            self._bus,
            key=delivery.key,
            lease_seconds=self._settings.lease,
            failures=self._failures.pop(delivery.key, 0),
        )
        started = time.monotonic()
        with structlog.contextvars.bound_contextvars(delivery=delivery.key):
            error = await self._supervise(delivery, ctx, stopping)
            decision = await self._decided(error, ctx)
            if decision.verdict is Verdict.RETRY and ctx.job is None and error is not None and is_unforeseen(error):
                self._count(delivery.key, ctx.failures + 1)
            _note(decision, error, ctx)
            crashpoint("after_commit_before_ack")
            await self._dispose(decision, delivery, ctx)
        self._metrics.deliveries.labels(self._route.subject, decision.verdict.value).inc()
        self._metrics.handling.labels(self._route.subject).observe(time.monotonic() - started)
        if decision.verdict is Verdict.DEAD:
            self._metrics.dead.labels(self._route.subject).inc()

    async def _decided(self, error: BaseException | None, ctx: Context) -> Decision:
        """Decide what becomes of a delivery; whatever goes wrong in that, the slot and its other deliveries go on."""
        decided: list[Decision] = []

        async def judge() -> None:
            # Two deliveries of one request at once: the other one was first.
            done_before = isinstance(error, Conflict) and ctx.job is None and await ctx.requested()
            decided.append(decide(None if done_before else error, ctx, max_failures=self._settings.max_failures))

        trouble = await outcome(judge())
        if trouble is None:
            return decided[0]
        if isinstance(trouble, Transient):
            return Decision(Verdict.RETRY, trouble, trouble.retry_after or 1.0)
        _log.error("decision_crashed", exc_info=trouble)
        return undecided(trouble, ctx)

    def _count(self, key: str, failures: int) -> None:
        """Count a failure with nothing claimed: there is no row to count it in. Another worker may end the message."""
        self._failures[key] = failures
        if len(self._failures) > _COUNTED:
            del self._failures[next(iter(self._failures))]

    async def _supervise(self, delivery: Delivery, ctx: Context, stopping: asyncio.Event) -> BaseException | None:
        """Run the handler with a heartbeat beside it; return how it ended instead of raising.

        Whoever leaves here has seen the handler's end: one that went on alone would work without a lease.
        """
        task = asyncio.create_task(self._run_handler(delivery, ctx))
        self._runs[task] = ctx
        beat = asyncio.create_task(Heartbeat(delivery, ctx, task, self._settings).run())
        if stopping.is_set():
            abort(task, ctx, Abort.SHUTDOWN)
        try:
            with self._metrics.running.labels(self._route.subject).track_inprogress():
                await ended(task)
        finally:
            del self._runs[task]
            await cancelled(beat)
        if error := await outcome(ctx.close()):
            _log.warning("progress_lost", error=type(error).__name__)
        return result(task)

    async def _run_handler(self, delivery: Delivery, ctx: Context) -> None:
        event = decode(self._route.event, delivery)
        ctx.job_id = event.job_id
        with structlog.contextvars.bound_contextvars(
            correlation_id=str(event.correlation_id), job_id=str(event.job_id)
        ):
            failpoint(f"handler:{self._route.subject}")
            await self._route.handler(event, ctx)

    async def _dispose(self, decision: Decision, delivery: Delivery, ctx: Context) -> None:
        error = await outcome(dispose(decision, delivery, ctx, self._bus, self._route.on_failure))
        if error is not None and not isinstance(error, (Transient, LeaseLost, asyncio.CancelledError)):
            # What the run leaves behind cannot be written as it is: the job must end all the same, and say so.
            _log.error("disposition_crashed", verdict=decision.verdict.value, exc_info=error)
            error = await outcome(give_up(error, delivery, ctx, self._bus, self._settings.max_failures))
        if isinstance(error, (Transient, LeaseLost)):
            # The row's lease runs out or the message comes again: either way the job goes on.
            _log.warning("disposition_failed", verdict=decision.verdict.value, code=error.code, reason=error.message)
        elif error is not None:
            raise error

    async def _abort_at_shutdown(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        for task, ctx in list(self._runs.items()):
            abort(task, ctx, Abort.SHUTDOWN)


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
