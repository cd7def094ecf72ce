"""What the stats service does with each message: claim, probe, record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select

from services.stats.collect.record import count_results, load_sweep, record_results
from services.stats.ports import ProbeResult
from shared.db.stores.requests import request_collect, requested_before
from shared.db.tables.server import Server
from shared.domain.job import JobState
from shared.errors import AppError, Permanent
from shared.events.stats import StatsCollected
from shared.runtime.outcome import outcome
from shared.runtime.piecemeal import AT_ONCE, piecemeal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.stats.ports import Probe, Subject, Sweep
    from shared.config.settings import StatsSettings
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.events.stats import StatsCollect
    from shared.runtime.context import Context
    from shared.ssh.port import Credentials

_log = structlog.get_logger()


async def collect_stats(
    event: StatsCollect, ctx: Context, *, probe: Probe, settings: StatsSettings, learnt: Callable[[], None]
) -> None:
    """Claim the job, look at its servers, record what they say; an outside request is first made a job."""
    if event.job_id is None:
        await _place(event, ctx)
        return
    job = await ctx.claim(event.job_id)
    if job is None:
        return

    sweep = await ctx.run(lambda tx: load_sweep(tx, job))
    results = await _probe_all(sweep, ctx, probe, settings)

    await ctx.run(lambda tx: _finish(tx, ctx, job, sweep, results))
    learnt()


async def _probe_all(sweep: Sweep, ctx: Context, probe: Probe, settings: StatsSettings) -> list[ProbeResult]:
    """Look at many servers at once; what is known is stored batch by batch, so that a restart goes on from there."""
    slots = asyncio.Semaphore(settings.concurrency)
    total = len(sweep.subjects)
    results: list[ProbeResult] = []
    fresh: list[ProbeResult] = []

    async def probe_one(number: int) -> None:
        async with slots:
            result = await _probe_one(sweep.subjects[number], sweep.credentials, probe)
        results.append(result)
        fresh.append(result)
        ctx.progress("collecting", step=len(results), steps=total)
        if len(fresh) >= AT_ONCE:
            batch = fresh[:]
            fresh.clear()
            await _record(batch, ctx, settings)

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(total):
                group.create_task(probe_one(number))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    await _record(fresh, ctx, settings)
    return results


async def _probe_one(subject: Subject, credentials: Credentials, probe: Probe) -> ProbeResult:
    """Look at one server; what nobody foresaw of it is its own result, and no reason to leave the others alone."""
    found: list[ProbeResult] = []

    async def ask() -> None:
        found.append(await probe.probe(subject, credentials))

    error = await outcome(ask())
    if error is None:
        return found[0]
    if isinstance(
        error, (AppError, asyncio.CancelledError)
    ):  # a probe returns what the server does: this is not its doing
        raise error
    _log.error("probe_crashed", server=subject.target.name, exc_info=error)
    return ProbeResult(subject, error=_unforeseen(error))


async def _record(results: Sequence[ProbeResult], ctx: Context, settings: StatsSettings) -> None:
    """Store some results; one whose figures cannot be stored is stored as a probe that failed."""

    async def write(some: Sequence[ProbeResult]) -> None:
        await ctx.run(lambda tx: record_results(tx, ctx, some, settings))

    async def instead(result: ProbeResult, error: BaseException) -> None:
        _log.error("probe_unstorable", server=result.subject.target.name, exc_info=error)
        if result.error is None:
            await piecemeal([ProbeResult(result.subject, error=_unforeseen(error))], write, instead)

    await piecemeal(results, write, instead)


def _unforeseen(error: BaseException) -> AppError:
    message = f"the server's answer cannot be used: an unexpected {type(error).__name__}"
    return Permanent(message, code="answer_unusable", remedy="look into the log of the stats service; report it")


async def _finish(tx: UnitOfWork, ctx: Context, job: Job, sweep: Sweep, results: list[ProbeResult]) -> None:
    """End the job; asked for one server alone, its not answering is the job's failure."""
    dead = [one for one in results if one.error is not None]
    result = await count_results(tx, job) | {"left_alone": sweep.left_alone}
    # A worker before this one may have found it dead: what is on record decides, not this worker's results alone.
    remedy = "see the server's status for the cause, mend it, and collect again"
    silent = Permanent("the server did not answer; its status says why", code="server_unreachable", remedy=remedy)
    error = (dead[0].error if dead else silent) if job.server_id is not None and result["unreachable"] else None
    if await ctx.finish(tx, JobState.FAILED if error else JobState.SUCCEEDED, error=error, result=result):
        tx.emit(
            StatsCollected(
                job_id=job.id,
                correlation_id=job.correlation_id,
                collected=result["collected"],
                unreachable=result["unreachable"],
                left_alone=result["left_alone"],
            )
        )


async def _place(event: StatsCollect, ctx: Context) -> None:
    async def place(tx: UnitOfWork) -> None:
        if await requested_before(tx, ctx.key):
            return
        server = None
        if event.server is not None:
            server = await tx.session.scalar(select(Server).where(Server.name == event.server))
            if server is None:
                message = f"no server is named {event.server}"
                raise Permanent(message, code="server_unknown", remedy="GET /api/servers lists them")
        await request_collect(tx, [server] if server else None, request_key=ctx.key)

    await ctx.run(place)
