"""Whoever follows `job.changed` sees each job as a list of jobs shows it, whatever changed it; on both databases."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from services.api.kernel.job import JobOut
from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.tables import Job, JobLog, OutboxRow, Repository, Server, StoragePool
from shared.db.unit_of_work import UnitOfWork
from shared.domain.ids import new_id
from shared.domain.job import JobState, JobType
from shared.domain.message import plain
from shared.errors import Permanent, Transient, Waiting
from shared.events.streams import STREAMS
from shared.runtime.context import Context

LONG_AGO = datetime.now(UTC) - timedelta(hours=1)


async def queued(db: Database, **values: Any) -> Job:
    job = Job(type=JobType.SERVER_SETUP.value, title="web1", **values)
    await db.run(lambda tx: tx.jobs.enqueue(job))
    return job


async def told(db: Database, job: Job) -> list[dict[str, Any]]:
    """Return what was told of a job, oldest first."""
    async with db.read() as session:
        query = select(OutboxRow.payload).where(OutboxRow.subject == "job.changed").order_by(OutboxRow.created_at)
        events = [json.loads(payload) for payload in await session.scalars(query)]
    return [event for event in events if event["job_id"] == str(job.id)]


async def row(db: Database, job: Job) -> Job:
    async with db.read() as session:
        return await session.get_one(Job, job.id)


async def claimed(db: Database, job: Job, seconds: float = 60) -> None:
    await db.run(lambda tx: tx.jobs.claim(job.id, lease="me", seconds=seconds))


async def orphaned(db: Database, job: Job) -> None:
    await claimed(db, job)
    await db.run(lambda tx: tx.session.execute(update(Job).values(lease_until=LONG_AGO)))


async def ended(db: Database, job: Job) -> None:
    await claimed(db, job)
    error = Permanent("no", code="nope")
    await db.run(lambda tx: tx.jobs.finish(job, lease="me", state=JobState.FAILED, error=error))


async def nothing(_db: Database, _job: Job) -> None: ...


Step = Callable[[UnitOfWork, Job], Awaitable[Any]]
CHANGES: dict[str, tuple[Callable[[Database, Job], Awaitable[None]], Step, dict[str, Any]]] = {
    "claimed": (nothing, lambda tx, job: tx.jobs.claim(job.id, lease="me", seconds=60), {"state": "running", "attempt": 1}),
    "finished": (claimed, lambda tx, job: tx.jobs.finish(job, lease="me", state=JobState.SUCCEEDED), {"state": "succeeded"}),
    "failed": (
        claimed,
        lambda tx, job: tx.jobs.finish(job, lease="me", state=JobState.FAILED, error=Permanent("no", code="nope")),
        {"state": "failed", "code": "nope", "reason": "no"},
    ),
    "put back": (
        claimed,
        lambda tx, job: tx.jobs.put_back(job, lease="me", delay=60, error=Transient("x", code="away"), failed=True),
        {"state": "queued", "code": "away", "failures": 1},
    ),
    "made to wait": (
        claimed,
        lambda tx, job: tx.jobs.put_back(job, lease="me", delay=1, waiting_for="web1/system"),
        {"state": "queued", "waiting_for": "web1/system"},
    ),
    "cancelled while queued": (nothing, lambda tx, job: tx.jobs.request_cancel(job.id), {"state": "cancelled"}),
    "cancel asked": (claimed, lambda tx, job: tx.jobs.request_cancel(job.id), {"state": "running", "cancel_requested": True}),
    "recovered": (orphaned, lambda tx, job: tx.jobs.recover(job), {"state": "queued"}),
    "failed before anybody took it": (
        nothing,
        lambda tx, job: tx.jobs.fail_unclaimed(job.id, Permanent("no", code="nope")),
        {"state": "failed", "code": "nope"},
    ),
    "retried": (ended, lambda tx, job: tx.jobs.retry(job), {"state": "queued", "code": None, "finished_at": None}),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
async def test_every_change_of_a_job_is_told_once_with_all_that_a_list_shows(db: Database, name: str) -> None:
    before, change, expected = CHANGES[name]
    job = await queued(db)
    await before(db, job)
    known = len(await told(db, job))
    await db.run(lambda tx: change(tx, job))
    events = await told(db, job)
    assert len(events) == known + 1
    assert expected.items() <= events[-1].items()
    shown = JobOut.model_validate(await row(db, job)).model_dump(mode="json")
    for field in set(events[-1]) & set(shown):
        assert events[-1][field] == shown[field], field


async def test_a_cancelled_orphan_is_told(db: Database) -> None:
    job = await queued(db)
    await claimed(db, job)
    await db.run(lambda tx: tx.jobs.request_cancel(job.id))
    await db.run(lambda tx: tx.session.execute(update(Job).values(lease_until=LONG_AGO)))
    await db.run(lambda tx: tx.jobs.recover(job))
    last = (await told(db, job))[-1]
    assert (last["state"], bool(last["finished_at"])) == ("cancelled", True)


async def test_a_job_names_its_server_and_repository(db: Database) -> None:
    server, pool = Server(id=new_id(), name="web1", host="h", facts={}), StoragePool(name="p", node="n1", path="/p")
    pool.id = new_id()
    repository = Repository(id=new_id(), name="system", server_id=server.id, pool_id=pool.id, path="x")

    async def add(tx: UnitOfWork) -> None:
        for one in (server, pool, repository):
            tx.session.add(one)
            await tx.session.flush()

    await db.run(add)
    job = await queued(db, server_id=server.id, repository_id=repository.id)
    event = (await told(db, job))[-1]
    assert (event["server"], event["repository"], event["title"]) == ("web1", "system", "web1")


async def test_of_many_changes_in_one_transaction_the_outcome_is_told(db: Database) -> None:
    job = Job(type=JobType.SERVER_SETUP.value, title="web1")

    async def work(tx: UnitOfWork) -> None:
        await tx.jobs.enqueue(job)
        await tx.jobs.request_cancel(job.id)

    await db.run(work)
    assert [event["state"] for event in await told(db, job)] == ["cancelled"]


async def test_who_waits_on_and_on_is_told_of_once(db: Database) -> None:
    job = await queued(db)
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    for _ in range(4):
        ctx = Context(db, bus, key="k", lease_seconds=60)
        assert await ctx.claim(job.id)
        waiting = Waiting(plain("waiting for it", code="waiting"), waiting_for="web1/system")
        await db.run(lambda tx, ctx=ctx, why=waiting: ctx.put_back(tx, delay=0, error=why, failed=False))
    assert [event["waiting_for"] for event in await told(db, job)] == [None, None, "web1/system"]
    ctx = Context(db, bus, key="k", lease_seconds=60)
    assert await ctx.claim(job.id)
    await ctx.hold("repository:x", "web1/system", on_beat=lambda _epoch: None)
    last = (await told(db, job))[-1]
    assert (last["state"], last["waiting_for"]) == ("running", None)


async def test_no_line_of_a_run_that_waited_hides_one_of_the_run_that_followed(db: Database) -> None:
    job = await queued(db)
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    for number in range(3):
        ctx = Context(db, bus, key="k", lease_seconds=60)
        assert await ctx.claim(job.id)
        for line in range(3):
            ctx.log("info", "kernel", f"wait {number}, line {line}")
        waiting = Waiting(plain("waiting", code="waiting"), waiting_for="it")
        await db.run(lambda tx, ctx=ctx, why=waiting: ctx.put_back(tx, delay=0, error=why, failed=False))
    ctx = Context(db, bus, key="k", lease_seconds=60)
    assert await ctx.claim(job.id)
    ctx.log("info", "borg", "the run's first line")
    await ctx.tick()
    ctx.log("info", "borg", "the run's last line")
    await db.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED))
    async with db.read() as session:
        lines = (
            await session.scalars(select(JobLog).where(JobLog.job_id == job.id).order_by(JobLog.attempt, JobLog.seq))
        ).all()
    assert [line.message for line in lines[-2:]] == ["the run's first line", "the run's last line"]
    assert len(lines) == 11
    assert len({line.seq for line in lines}) == 11


async def test_a_log_s_numbers_survive_a_commit_that_is_tried_again(db: Database) -> None:
    job = await queued(db)
    await claimed(db, job)
    lines = [(LONG_AGO, "info", "borg", "", f"line {number}") for number in range(3)]
    for _ in range(2):
        await db.run(lambda tx: tx.jobs.log(job, 1, lines))
    assert (await row(db, job)).log_seq == 3
    async with db.read() as session:
        assert len((await session.scalars(select(JobLog))).all()) == 3
