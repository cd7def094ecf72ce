"""Rows that this version cannot read, as after a downgrade: each costs itself alone, and the rest of the fleet goes on."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import update

from services.scheduler.reaper import UNKNOWN_AFTER, Reaper
from shared.config.settings import WorkerSettings
from shared.db.session import Database
from shared.db.stores.job_recovery import JobRecovery
from shared.db.tables import Job, db_now
from shared.domain.job import JobState, JobType
from shared.errors import Conflict
from shared.events.streams import JOBS
from shared.runtime.relay import Relay
from shared.telemetry.metrics import KernelMetrics
from tests.harness.pairs import PAIRS
from tests.harness.patience import WAIT

TYPES = ("backup_of_later", "", "BACKUP_CREATE", "backup_create ", "x" * 30, "backup\u2028create")


def a_job(**values: Any) -> Job:
    return Job(**{"type": JobType.BACKUP_CREATE.value, "node": "n1", "title": "t"} | values)


async def change(db: Database, job: Job, **values: Any) -> None:
    await db.run(lambda tx: tx.session.execute(update(Job).where(Job.id == job.id).values(**values)))


async def row(db: Database, job: Job) -> Job:
    async with db.read() as session:
        return await session.get_one(Job, job.id)


async def enqueued(db: Database, count: int, **values: Any) -> list[Job]:
    jobs = [a_job(**values) for _ in range(count)]
    await db.run(lambda tx: tx.jobs.enqueue(*jobs))
    return jobs


def reaper_of(bus: Any, db: Database) -> Reaper:
    return Reaper(db, bus, WorkerSettings(lost_after=60), CollectorRegistry())


@pytest.mark.parametrize("kind", TYPES)
async def test_a_job_of_an_unknown_type_keeps_no_other_from_its_turn(db: Database, kind: str) -> None:
    bad, good = await enqueued(db, 2, repository_id=uuid.uuid4(), server_id=uuid.uuid4())
    await change(db, bad, type=kind)
    assert await db.run(lambda tx: tx.admission.admit()) >= 1  # for MariaDB a space at the end is none
    assert (await row(db, good)).sent_at is not None
    assert not await db.run(lambda tx: tx.admission.is_awaited()), "the scheduler does not give turns for ever"


@PAIRS
@pytest.mark.parametrize("kind", TYPES[:2])
async def test_an_orphan_of_an_unknown_type_keeps_no_other_from_being_recovered(
    bus: Any, db: Database, kind: str
) -> None:
    jobs = await enqueued(db, 3, node=f"n{uuid.uuid4().hex}")
    for job in jobs:
        await db.run(lambda tx, job=job: tx.jobs.claim(job.id, lease=job.id.hex, seconds=-5))
    await change(db, jobs[0], type=kind)
    await reaper_of(bus, db).tick()
    states = [(await row(db, job)).state for job in jobs]
    assert states == ["running", "queued", "queued"], "a newer version's process may yet take the first"


@PAIRS
async def test_an_orphan_whose_row_cannot_be_written_keeps_no_other_from_being_recovered(
    bus: Any, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await enqueued(db, 3, node=f"n{uuid.uuid4().hex}")
    for job in jobs:
        await db.run(lambda tx, job=job: tx.jobs.claim(job.id, lease=job.id.hex, seconds=-5))
    recover = JobRecovery.recover

    async def faulty(jobs_: Any, job: Job, **named: Any) -> bool:
        if job.id == jobs[0].id:
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        return await recover(jobs_, job, **named)

    monkeypatch.setattr(JobRecovery, "recover", faulty)
    await reaper_of(bus, db).tick()
    assert sorted([(await row(db, job)).state for job in jobs]) == ["queued", "queued", "running"]


@PAIRS
async def test_a_queued_job_of_an_unknown_type_keeps_no_lost_message_from_being_sent_anew(
    bus: Any, db: Database
) -> None:
    bad, lost = await enqueued(db, 2, node=f"n{uuid.uuid4().hex}")
    await change(db, bad, type="backup_of_later")
    await change(db, lost, sent_at=db_now(-3600))
    depth = await db.run(lambda tx: tx.outbox.depth())
    await reaper_of(bus, db).tick()
    assert await db.run(lambda tx: tx.outbox.depth()) == depth + 2  # its message, and that it changed


@PAIRS
async def test_a_lost_message_is_missed_though_another_job_of_its_node_runs(bus: Any, db: Database) -> None:
    """The message of a running job is there until its end: it must not stand for one that is lost."""
    node = f"n{uuid.uuid4().hex}"
    running, lost = await enqueued(db, 2, node=node)
    relay = Relay(db, bus, KernelMetrics(CollectorRegistry()))
    await relay.publish_all()
    await db.run(lambda tx: tx.jobs.claim(running.id, lease="a", seconds=600))
    consumer = await bus.consumer(JOBS, f"backup.requested.{node}", ack_wait=600)
    await (await consumer.fetch(WAIT)).ack()
    await consumer.close()
    await change(db, lost, sent_at=db_now(-3600))
    depth = await db.run(lambda tx: tx.outbox.depth())
    await reaper_of(bus, db).tick()
    assert await db.run(lambda tx: tx.outbox.depth()) == depth + 2
    await relay.publish_all()
    depth = await db.run(lambda tx: tx.outbox.depth())
    await change(db, lost, sent_at=db_now(-3600))
    await reaper_of(bus, db).tick()
    assert await db.run(lambda tx: tx.outbox.depth()) == depth, "all are there: none is sent twice"


@pytest.mark.parametrize(("state", "column"), [("queued", "created_at"), ("running", "lease_until")])
async def test_a_job_that_no_version_takes_ends_and_says_why(db: Database, state: str, column: str) -> None:
    bad, young, good = await enqueued(db, 3)
    for job in (bad, young):
        await change(db, job, type="backup_of_later", state=state, lease_until=db_now(60))
    for job in (bad, good):
        await change(db, job, **{column: db_now(-UNKNOWN_AFTER - 60)})
    assert await db.run(lambda tx: tx.jobs.fail_unknown(after=UNKNOWN_AFTER)) == [bad.id]
    assert not await db.run(lambda tx: tx.jobs.fail_unknown(after=UNKNOWN_AFTER))
    now = await row(db, bad)
    assert (now.state, now.code) == ("failed", "job_type_unknown")
    assert now.finished_at is not None
    assert "backup_of_later" in (now.reason or "")
    assert now.remedy
    assert [(await row(db, job)).state for job in (young, good)] == [state, "queued"]
    with pytest.raises(Conflict) as refused:
        await db.run(lambda tx: tx.jobs.retry(now))
    assert refused.value.code == "job_type_unknown"


async def test_the_reaper_ends_what_no_version_takes(db: Database, bus: Any) -> None:
    (bad,) = await enqueued(db, 1)
    await change(db, bad, type="backup_of_later", created_at=db_now(-UNKNOWN_AFTER - 60))
    task = next(task for task in reaper_of(bus, db).tasks() if task.name == "unknown-jobs")
    await task.work(asyncio.Event())
    assert (await row(db, bad)).state == JobState.FAILED
