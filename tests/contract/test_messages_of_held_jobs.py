"""A message is delivered again while its job runs, and ended by who finds the job held: the job must not lose its message.

The run may then give its job back (shutdown, database away, a passing error, waiting for another): without a message
nobody would take it before the reaper misses it, and the reaper counts messages: one too many elsewhere would hide it.
No reaper runs here. On the memory bus with SQLite, and on JetStream with MariaDB.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select, update

from shared.config.settings import Settings, WorkerSettings
from shared.db.session import Database
from shared.db.stores.jobs import Jobs
from shared.db.tables import Job, OutboxRow
from shared.db.tables.base import db_now
from shared.domain.job import JobState
from shared.errors import Transient, Waiting
from shared.events.backup import BackupRequested
from shared.events.streams import JOBS
from shared.runtime import disposition
from shared.runtime.context import Abort, Context
from shared.runtime.heartbeat import Heartbeat
from shared.runtime.service import Parts
from tests.harness.kernel import Kernel, ended
from tests.harness.pairs import PAIRS
from tests.harness.patience import WAIT

_node = itertools.count(1)


@pytest.fixture
def kernel(bus: Any, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Messages come again after a second, as nobody holds them; leases are long, so that no run loses its own."""
    settings = Settings.model_validate({"data_dir": tmp_path, "worker": {"ack_wait": 1, "cancel_poll": 0.1}})

    async def not_held(_beat: Heartbeat) -> None:
        return None

    monkeypatch.setattr(Heartbeat, "_hold_message", not_held)
    monkeypatch.setattr(WorkerSettings, "lease", 10 * WAIT)
    monkeypatch.setattr(disposition, "backoff", lambda *_: 0.05)
    return Kernel(Parts(settings, db, bus, CollectorRegistry()), node=f"held{next(_node)}")


async def gone(kernel: Kernel) -> None:
    """Wait until the stream holds no message of the subject."""
    async with asyncio.timeout(WAIT):
        while await kernel.parts.bus.count(JOBS, kernel.subject):
            await asyncio.sleep(0.02)


def hands_over(ctx: Context) -> Exception:
    ctx.heart_failed = Transient("the database did not answer", code="database_unreachable")
    return Transient("stopped", code="away")


def shuts_down(ctx: Context) -> Exception:
    ctx.abort = Abort.SHUTDOWN
    return Transient("stopped", code="away")


def waits(_: Context) -> Exception:
    return Waiting("another run has it", waiting_for="web1/system", retry_after=0.05)


def fails(_: Context) -> Exception:
    return Transient("no route to host", code="server_unreachable")


WAYS: list[Callable[[Context], Exception]] = [hands_over, shuts_down, waits, fails]


@PAIRS
@pytest.mark.parametrize("way", WAYS)
async def test_a_run_given_back_after_its_message_was_ended_by_another_delivery_begins_again(
    kernel: Kernel, way: Callable[[Context], Exception]
) -> None:
    ended_elsewhere, begun = asyncio.Event(), 0

    async def work(event: BackupRequested, ctx: Context) -> None:
        nonlocal begun
        if event.job_id is None or await ctx.claim(event.job_id) is None:
            return
        begun += 1
        if begun == 1:
            await ended_elsewhere.wait()
            raise way(ctx)
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED))

    job = await kernel.queue()
    async with kernel.working(work, concurrency=2):
        await kernel.until(job, lambda row: row.state == "running")
        await gone(kernel)  # the second slot met the job held, and ended its message
        ended_elsewhere.set()
        assert (await kernel.until(job, ended)).state == "succeeded"
        await gone(kernel)
    assert begun == 2


@PAIRS
async def test_a_run_that_lost_its_job_does_not_end_the_message_of_the_one_that_has_it(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run stalls past its lease; the second takes the job by the same message; the first then lets go of it."""
    stalled, handed = asyncio.Event(), asyncio.Event()
    begun, beat = 0, Context.beat

    async def beat_later(ctx: Context) -> None:
        if begun > 1:  # a run that stalls does not beat either
            await beat(ctx)

    monkeypatch.setattr(Context, "beat", beat_later)

    async def work(event: BackupRequested, ctx: Context) -> None:
        nonlocal begun
        if event.job_id is None or await ctx.claim(event.job_id) is None:
            return
        begun += 1
        if begun == 1:
            await stalled.wait()  # its next beat says that the job is another's: this is cancelled
        if begun == 2:
            await handed.wait()
            raise hands_over(ctx)
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED))

    job = await kernel.queue()
    async with kernel.working(work, concurrency=2):
        await kernel.until(job, lambda row: row.state == "running")
        expired = update(Job).where(Job.id == job.id).values(lease_until=db_now(-1))
        await kernel.parts.db.run(lambda tx: tx.session.execute(expired))
        async with asyncio.timeout(WAIT):
            while begun < 2:
                await asyncio.sleep(0.02)
        await gone(kernel)  # by the first run, which lost it, or by another delivery
        handed.set()
        assert (await kernel.until(job, ended)).state == "succeeded"
    assert begun == 3


@PAIRS
async def test_a_job_put_back_at_the_very_moment_that_it_is_met_held_keeps_its_message(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused as running, queued a moment later: who was refused must not end the message that it waits for now."""
    first = Context(kernel.parts.db, kernel.parts.bus, key="first", lease_seconds=10 * WAIT)
    job = await kernel.queue()
    await first.claim(job.id)
    real, refused = Jobs.claim, 0

    async def refused_first(jobs: Jobs, job_id: Any, **given: Any) -> Job | None:
        nonlocal refused
        found = await real(jobs, job_id, **given)
        if found is None and not refused:
            refused += 1
        return found

    async def put_back_first(db: Database, work: Any, **given: Any) -> Any:
        nonlocal refused
        if refused == 1:
            refused += 1
            await real_run(db, lambda tx: first.put_back(tx, delay=0.0, error=None, failed=False))
        return await real_run(db, work, **given)

    real_run = Database.run
    monkeypatch.setattr(Jobs, "claim", refused_first)
    monkeypatch.setattr(Database, "run", put_back_first)

    async def work(event: BackupRequested, ctx: Context) -> None:
        if event.job_id is not None and await ctx.claim(event.job_id) is not None:
            await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED))

    async with kernel.working(work):
        assert (await kernel.until(job, ended)).state == "succeeded"
    assert refused == 2


@PAIRS
async def test_a_run_that_is_given_back_with_its_message_gets_no_second_one(kernel: Kernel) -> None:
    """Runs that wait ask again each few seconds: another message each time would be a storm."""
    begun = 0

    async def work(event: BackupRequested, ctx: Context) -> None:
        nonlocal begun
        if event.job_id is None or await ctx.claim(event.job_id) is None:
            return
        begun += 1
        if begun < 4:
            raise waits(ctx)
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED))

    job = await kernel.queue()
    async with kernel.working(work):
        assert (await kernel.until(job, ended)).state == "succeeded"
    async with kernel.parts.db.read() as session:
        asked = select(func.count()).select_from(OutboxRow).where(OutboxRow.subject == kernel.subject)
        sent = await session.scalar(asked)
    assert (begun, sent) == (4, 1)
