"""A job that somebody cancels ends, at whatever moment it is asked: it is never queued where no claim takes it."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select, update

from services.scheduler.sweeps import Sweeps
from shared.config.settings import Settings
from shared.db.session import Database
from shared.db.stores.jobs import Jobs
from shared.db.tables import Job, RunEvidenceRow, Server
from shared.domain.job import JobState, JobType
from shared.domain.message import plain
from shared.errors import AppError, Transient, Waiting
from shared.events.backup import BackupRequested
from shared.events.streams import JOBS
from shared.runtime import board, disposition
from shared.runtime.context import Context
from shared.runtime.service import Parts
from tests.harness.kernel import Kernel, ended
from tests.harness.pairs import PAIRS
from tests.harness.patience import WAIT

_node = itertools.count(1)


@pytest.fixture
def kernel(bus: Any, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Runs are hardly ever looked at while they run: a cancel is met on the way back to the queue."""
    worker = {"ack_wait": 4 * WAIT, "cancel_poll": 4 * WAIT, "max_failures": 50}
    settings = Settings.model_validate({"data_dir": tmp_path, "worker": worker})

    def soon(*_: object) -> float:
        return 0.05

    monkeypatch.setattr(disposition, "backoff", soon)
    monkeypatch.setattr(board, "_RETRY_FIRST", 0.05)
    return Kernel(Parts(settings, db, bus, CollectorRegistry()), node=f"cancelled{next(_node)}")


@PAIRS
@pytest.mark.parametrize("end", ["transient", "unforeseen", "waiting", "shutdown"])
async def test_a_run_that_is_cancelled_on_its_way_back_to_the_queue_ends(kernel: Kernel, end: str) -> None:
    running, go = asyncio.Event(), asyncio.Event()
    errors: dict[str, Exception] = {
        "transient": Transient("passes", code="x"),
        "unforeseen": RuntimeError("oh"),
        "waiting": Waiting(plain("waits", code="x"), retry_after=0.05),
    }

    async def handler(event: BackupRequested, ctx: Context) -> None:
        assert event.job_id is not None
        if await ctx.claim(event.job_id) is None:
            return
        running.set()
        await go.wait()
        raise errors[end]

    job = await kernel.queue()
    async with kernel.working(handler) as stopping:
        await running.wait()
        assert await kernel.parts.db.run(lambda tx: tx.jobs.request_cancel(job.id)) is JobState.RUNNING
        (stopping if end == "shutdown" else go).set()
        now = await kernel.until(job, ended)
    assert (now.state, now.code, now.lease) == ("cancelled", "cancelled", None)
    assert await kernel.parts.bus.count(JOBS, kernel.subject) == 0, "its message has done its work"


def a_job(**values: Any) -> Job:
    return Job(**{"type": JobType.BACKUP_CREATE.value, "node": "n1", "title": "t"} | values)


async def claimed(db: Database, **values: Any) -> Job:
    job = a_job(**values)
    await db.run(lambda tx: tx.jobs.enqueue(job))
    found = await db.run(lambda tx: tx.jobs.claim(job.id, lease="a", seconds=WAIT))
    assert found is not None
    return found


async def row(db: Database, job: Job) -> Job:
    async with db.read() as session:
        return await session.get_one(Job, job.id)


async def test_a_cancel_is_told_and_kept_whatever_becomes_of_the_run_just_then(db: Database) -> None:
    """Between the looks for a queued and for a running job, a run may go from the one state to the other."""
    jobs = [await claimed(db) for _ in range(12)]

    async def back(job: Job) -> None:
        await db.run(lambda tx: tx.jobs.put_back(job, lease="a", delay=0))

    async def cancel(job: Job) -> JobState | None:
        return await db.run(lambda tx: tx.jobs.request_cancel(job.id))

    asked, _ = await asyncio.gather(
        asyncio.gather(*(cancel(job) for job in jobs)), asyncio.gather(*(back(job) for job in jobs))
    )
    assert None not in asked, "it was told that the job had ended, and it had not"
    assert [(await row(db, job)).state for job in jobs] == ["cancelled"] * len(jobs)


async def test_no_moment_between_two_looks_loses_a_cancel(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await claimed(db)
    real = Jobs._transition  # pyright: ignore[reportPrivateUsage] - the moment between two statements

    async def between(jobs: Jobs, job_id: uuid.UUID, *statement: Any) -> bool:
        done = await real(jobs, job_id, *statement)
        if not done:
            monkeypatch.setattr(Jobs, "_transition", real)
            await jobs.put_back(job, lease="a", delay=0)
        return done

    monkeypatch.setattr(Jobs, "_transition", between)
    assert await db.run(lambda tx: tx.jobs.request_cancel(job.id)) is not None
    monkeypatch.setattr(Jobs, "_transition", real)
    now = await row(db, job)
    assert now.cancel_requested or now.state == JobState.CANCELLED


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])
async def test_what_has_ended_is_not_cancelled(db: Database, state: JobState) -> None:
    job = await claimed(db)
    await db.run(lambda tx: tx.jobs.finish(job, lease="a", state=state, error=AppError("e", code="c")))
    before = await row(db, job)
    assert await db.run(lambda tx: tx.jobs.request_cancel(job.id)) is None
    now = await row(db, job)
    assert (now.state, now.finished_at, now.cancel_requested) == (state.value, before.finished_at, False)


async def test_a_queued_job_that_is_cancelled_has_ended_and_waits_for_nothing(db: Database) -> None:
    repository, server = uuid.uuid4(), uuid.uuid4()
    job = a_job(repository_id=repository, server_id=server)
    await db.run(lambda tx: tx.jobs.enqueue(job))
    assert await db.run(lambda tx: tx.jobs.request_cancel(job.id)) is JobState.CANCELLED
    now = await row(db, job)
    assert (now.state, now.waiting_for, now.cancel_requested) == ("cancelled", None, True)
    assert now.finished_at is not None


@pytest.mark.parametrize("sent", [True, False])
async def test_a_cancelled_job_that_an_earlier_version_left_in_the_queue_ends(db: Database, sent: bool) -> None:
    job = a_job() if sent else a_job(repository_id=uuid.uuid4(), server_id=uuid.uuid4())
    await db.run(lambda tx: tx.jobs.enqueue(job))
    await db.run(lambda tx: tx.session.execute(update(Job).where(Job.id == job.id).values(cancel_requested=True)))
    await db.run(lambda tx: tx.admission.admit())
    assert await db.run(lambda tx: tx.jobs.claim(job.id, lease="b", seconds=WAIT)) is None
    assert (await row(db, job)).state == JobState.CANCELLED
    assert await db.run(lambda tx: tx.jobs.seconds_until_due(job.id)) is None, "its message does not come again"


async def test_an_orphan_that_was_being_cancelled_is_never_queued(db: Database) -> None:
    job = await claimed(db)
    await db.run(lambda tx: tx.jobs.request_cancel(job.id))
    await db.run(lambda tx: tx.jobs.beat(job.id, lease="a", seconds=-1, progress=None))
    (orphan,) = await db.run(lambda tx: tx.jobs.orphans())
    assert await db.run(lambda tx: tx.jobs.recover(orphan))
    assert (await row(db, job)).state == JobState.CANCELLED


async def test_a_cancelled_job_that_is_asked_for_again_runs(db: Database) -> None:
    job = await claimed(db)
    await db.run(lambda tx: tx.jobs.request_cancel(job.id))
    await db.run(lambda tx: tx.jobs.put_back(job, lease="a", delay=0))
    assert await db.run(lambda tx: tx.jobs.retry(job))
    again = await db.run(lambda tx: tx.jobs.claim(job.id, lease="b", seconds=WAIT))
    assert again is not None
    assert (again.state, again.cancel_requested, again.code) == ("running", False, None)


async def test_a_post_hook_that_is_owed_outlives_the_cancelled_run_that_owes_it(db: Database) -> None:
    owes = uuid.uuid4()
    job = await claimed(db, backup_job_id=owes)
    async with db.transaction() as tx:
        tx.session.add(RunEvidenceRow(job_id=job.id, backup_job_id=owes, run=0, hook_owed=True, data={}))
    await db.run(lambda tx: tx.jobs.request_cancel(job.id))
    assert await db.run(lambda tx: tx.jobs.put_back(job, lease="a", delay=0, failed=True))
    async with db.read() as session:
        assert list(await session.scalars(select(RunEvidenceRow.hook_owed))) == [True]


async def test_a_sweep_that_is_cancelled_on_its_way_back_does_not_end_all_sweeps(db: Database) -> None:
    async with db.transaction() as tx:
        tx.session.add(Server(name="web1", host="h", facts={}, host_key="ssh-ed25519 AAAA"))
    sweeps = Sweeps(db, 0.001)
    await sweeps.tick()
    query = select(Job).where(Job.type == JobType.STATS_COLLECT.value)
    async with db.read() as session:
        sweep = (await session.scalars(query)).one()
    await db.run(lambda tx: tx.jobs.claim(sweep.id, lease="a", seconds=WAIT))
    await db.run(lambda tx: tx.jobs.request_cancel(sweep.id))
    await db.run(lambda tx: tx.jobs.put_back(sweep, lease="a", delay=0))  # SIGTERM: a rolling restart
    await asyncio.sleep(0.01)
    await sweeps.tick()
    async with db.read() as session:
        assert len(list(await session.scalars(query))) == 2
