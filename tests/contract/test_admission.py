"""Admission on both databases: every cap is kept, the higher priority goes first, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import delete, func, insert, select, update

from services.scheduler.schedules import Schedules
from shared.db.session import Database
from shared.db.stores.requests import request_backup
from shared.db.tables import (
    BackupJob,
    Job,
    OutboxRow,
    Repository,
    RunLimits,
    Schedule,
    Server,
    ServiceInstance,
    StoragePool,
    db_now,
)
from shared.domain.ids import new_id
from shared.domain.job import JobState
from shared.errors import Transient

CAPS = {"fleet": 12, "per_server": 2, "per_pool": 8}


async def world(db: Database, servers: int, jobs_each: int) -> list[BackupJob]:
    """Servers in two pools, each with backup jobs, every third of a higher priority."""
    pools = [{"id": new_id(), "name": f"pool{n}", "node": "node1", "path": f"/p{n}"} for n in range(2)]
    hosts = [{"id": new_id(), "name": f"s{n}", "host": "h", "facts": {}} for n in range(servers)]
    places: list[dict[str, Any]] = [
        {"id": new_id(), "name": "r", "server_id": host["id"], "pool_id": pools[n % 2]["id"], "path": f"/r{n}"}
        for n, host in enumerate(hosts)
    ]
    jobs = [
        {
            "id": new_id(), "name": f"job{n}-{one}", "server_id": place["server_id"], "repository_id": place["id"],
            "sources": ["/etc"], "priority": 5 if one % 3 == 2 else 0,
        }
        for n, place in enumerate(places)
        for one in range(jobs_each)
    ]  # fmt: skip

    async def add(tx: Any) -> None:
        for table, rows in ((StoragePool, pools), (Server, hosts), (Repository, places), (BackupJob, jobs)):
            await tx.session.execute(insert(table), rows)
        limits = await tx.admission.limits()
        limits.fleet, limits.per_server, limits.per_pool = CAPS["fleet"], CAPS["per_server"], CAPS["per_pool"]

    await db.run(add)
    async with db.read() as session:
        return list(await session.scalars(select(BackupJob).order_by(BackupJob.name)))


async def begun(db: Database) -> list[tuple[Any, Any, int]]:
    """Server, pool and priority of each run whose message is on its way or which is running."""
    query = select(Job.server_id, Repository.pool_id, Job.priority).join(Repository, Repository.id == Job.repository_id)
    live = query.where(Job.state.in_(("queued", "running")), Job.sent_at.is_not(None))
    async with db.read() as session:
        return [tuple(row) for row in await session.execute(live)]


def assert_caps(places: list[tuple[Any, Any, int]]) -> None:
    assert len(places) <= CAPS["fleet"]
    assert max(Counter(server for server, _, _ in places).values(), default=0) <= CAPS["per_server"]
    assert max(Counter(pool for _, pool, _ in places).values(), default=0) <= CAPS["per_pool"]


async def assert_nobody_was_passed(db: Database, places: list[tuple[Any, Any, int]]) -> None:
    """No run of a lower priority has begun while its place could have been that of a waiting one of a higher."""
    lowest = min(priority for _, _, priority in places)
    query = select(Job.server_id, Repository.pool_id).join(Repository, Repository.id == Job.repository_id)
    higher = query.where(Job.state == "queued", Job.sent_at.is_(None), Job.priority > lowest)
    servers, pools = Counter(server for server, _, _ in places), Counter(pool for _, pool, _ in places)
    async with db.read() as session:
        for server, pool in await session.execute(higher):
            assert servers[server] >= CAPS["per_server"] or pools[pool] >= CAPS["per_pool"]


async def end(db: Database, share: float = 1.0) -> None:
    """End the oldest of the runs that have begun."""

    async def finish(tx: Any) -> None:
        live = select(Job.id).where(Job.state.in_(("queued", "running")), Job.sent_at.is_not(None))
        ids = list(await tx.session.scalars(live.order_by(Job.sent_at, Job.id)))
        some = ids[: max(1, int(len(ids) * share))]
        await tx.session.execute(update(Job).where(Job.id.in_(some)).values(state="succeeded"))

    await db.run(finish)


async def test_many_requests_at_once_keep_every_cap_and_each_run_gets_its_turn(db: Database) -> None:
    jobs = await world(db, servers=10, jobs_each=4)
    await asyncio.gather(*(db.run(lambda tx, job=job: request_backup(tx, job)) for job in jobs))
    sent = 0
    while places := await begun(db):
        assert_caps(places)
        sent += len(places)
        await end(db)
        await db.run(lambda tx: tx.admission.admit())
    assert sent == len(jobs)
    async with db.read() as session:
        messages = await session.scalar(
            select(func.count()).select_from(OutboxRow).where(OutboxRow.subject == "backup.requested.node1")
        )
    assert messages == len(jobs)


async def test_what_waits_says_so_and_a_cancelled_one_never_begins(db: Database) -> None:
    jobs = await world(db, servers=1, jobs_each=4)
    made = [await db.run(lambda tx, job=job: request_backup(tx, job)) for job in jobs]
    async with db.read() as session:
        rows = [await session.get_one(Job, job.id) for job in made]
    assert [row.waiting_for for row in rows] == [None, None, "a free slot", "a free slot"]
    assert await db.run(lambda tx: tx.jobs.request_cancel(made[2].id)) is JobState.CANCELLED
    await end(db)
    assert await db.run(lambda tx: tx.admission.admit()) == 1
    async with db.read() as session:
        assert (await session.get_one(Job, made[3].id)).sent_at is not None
        assert (await session.get_one(Job, made[2].id)).sent_at is None


async def test_a_run_that_is_tried_again_gives_its_place_away_until_it_is_due(db: Database) -> None:
    jobs = await world(db, servers=1, jobs_each=3)
    made = [await db.run(lambda tx, job=job: request_backup(tx, job)) for job in jobs]
    held = await db.run(lambda tx: tx.jobs.claim(made[0].id, lease="w", seconds=60))
    failed = {"delay": 60.0, "error": Transient("down", code="down"), "failed": True}
    assert await db.run(lambda tx: tx.jobs.put_back(held, lease="w", **failed)) is True
    # Its old message finds nothing to claim, and nothing to wait for.
    assert await db.run(lambda tx: tx.jobs.claim(made[0].id, lease="w", seconds=60)) is None
    assert await db.run(lambda tx: tx.jobs.seconds_until_due(made[0].id)) is None
    assert await db.run(lambda tx: tx.admission.admit()) == 1  # the third one
    await end(db)
    assert await db.run(lambda tx: tx.admission.admit()) == 0
    soon = update(Job).where(Job.id == made[0].id).values(not_before=datetime.now(UTC) - timedelta(seconds=1))
    await db.run(lambda tx: tx.session.execute(soon))
    assert await db.run(lambda tx: tx.admission.admit()) == 1
    assert await db.run(lambda tx: tx.jobs.claim(made[0].id, lease="w", seconds=60)) is not None


async def test_without_limits_all_begin_at_once(db: Database) -> None:
    jobs = await world(db, servers=3, jobs_each=5)
    free = update(RunLimits).values(fleet=None, per_server=None, per_pool=None)
    await db.run(lambda tx: tx.session.execute(free))
    for job in jobs:
        await db.run(lambda tx, job=job: request_backup(tx, job))
    assert len(await begun(db)) == len(jobs)


@pytest.mark.unmeasured
@pytest.mark.timeout(600)
async def test_ten_thousand_runs_due_in_one_second_drain_in_order_of_priority_with_every_cap_kept(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await world(db, servers=500, jobs_each=20)
    now = datetime.now(UTC)
    rows = [
        {
            "id": new_id(), "backup_job_id": job.id, "spec": {"kind": "days", "times": ["02:30"]},
            "period_seconds": 86_400, "due_at": now, "next_run_at": now,
        }
        for job in jobs
    ]  # fmt: skip
    for start in range(0, len(rows), 2000):
        await db.run(lambda tx, start=start: tx.session.execute(insert(Schedule), rows[start : start + 2000]))
    monkeypatch.setitem(CAPS, "fleet", 400)
    monkeypatch.setitem(CAPS, "per_pool", 250)
    limits = update(RunLimits).values(fleet=400, per_pool=250)
    await db.run(lambda tx: tx.session.execute(limits))
    leader = Schedules(db, CollectorRegistry())
    assert await leader.tick() == len(jobs)

    drained = 0
    began = time.monotonic()
    while places := await begun(db):
        assert_caps(places)
        await assert_nobody_was_passed(db, places)
        drained += len(places)
        await end(db)
        await leader.tick()
    assert drained == len(jobs)
    print(f"drained 10,000 in {time.monotonic() - began:.1f} s")


async def test_what_is_read_of_caps_and_runs_has_the_types_that_it_is_compared_with(db: Database) -> None:
    jobs = await world(db, servers=2, jobs_each=1)
    await db.run(lambda tx: tx.session.execute(update(StoragePool).values(max_runs=3)))
    await db.run(lambda tx: tx.session.execute(update(Server).values(max_runs=4)))
    for job in jobs:
        await db.run(lambda tx, job=job: request_backup(tx, job))
    own, begun = await db.run(lambda tx: tx.admission.own_and_begun())
    assert sorted(own.values()) == [3, 3, 4, 4]
    assert len(begun) == 2
    for run in begun:
        assert [type(one) for one in run] == [uuid.UUID, uuid.UUID, str]
        assert own[run.server] == 4
        assert own[run.pool] == 3


@pytest.mark.parametrize("of", [StoragePool, Server])
async def test_the_cap_of_one_pool_or_server_holds_however_many_ask(db: Database, of: Any) -> None:
    jobs = await world(db, servers=4, jobs_each=5)
    free = update(RunLimits).values(fleet=None, per_server=None, per_pool=None)
    await db.run(lambda tx: tx.session.execute(free))
    await db.run(lambda tx: tx.session.execute(update(of).values(max_runs=2)))
    await asyncio.gather(*(db.run(lambda tx, job=job: request_backup(tx, job)) for job in jobs))
    places = await begun(db)
    each = Counter(pool if of is StoragePool else server for server, pool, _ in places)
    assert set(each.values()) == {2}
    assert len(each) == (2 if of is StoragePool else 4)
    await end(db)
    assert await db.run(lambda tx: tx.admission.admit()) == len(places)


async def test_a_request_at_the_cap_is_queued_and_not_refused(db: Database) -> None:
    jobs = await world(db, servers=4, jobs_each=2)
    await db.run(lambda tx: tx.session.execute(update(RunLimits).values(fleet=50, per_server=None, per_pool=2)))
    made = [await db.run(lambda tx, job=job: request_backup(tx, job)) for job in jobs]
    assert len({job.id for job in made}) == 8
    assert Counter(pool for _, pool, _ in await begun(db)).most_common(1)[0][1] == 2


async def of_nodes(db: Database) -> dict[str, list[BackupJob]]:
    """Each of two pools on a node of its own; their backup jobs by the node."""
    jobs = await world(db, servers=12, jobs_each=1)
    named = update(StoragePool).values(node=StoragePool.name)
    await db.run(lambda tx: tx.session.execute(named))
    query = select(BackupJob, StoragePool.node).join(Repository, Repository.id == BackupJob.repository_id)
    found: dict[str, list[BackupJob]] = {"pool0": [], "pool1": []}
    async with db.read() as session:
        for job, node in await session.execute(query.join(StoragePool, StoragePool.id == Repository.pool_id)):
            found[node].append(job)
    assert len(jobs) == 12
    return found


async def seen(db: Database, node: str, seconds_ago: float = 0.0) -> None:
    async def write(tx: Any) -> None:
        await tx.session.execute(delete(ServiceInstance).where(ServiceInstance.node == node))
        row = {"id": new_id(), "service": "backup", "node": node, "version": "1", "seen_at": db_now(-seconds_ago)}
        await tx.session.execute(insert(ServiceInstance).values(**row))

    await db.run(write)


@pytest.mark.parametrize("dead", ["seen long ago", "never seen", "seen by a clock that was ahead"])
async def test_the_runs_of_a_dead_node_take_no_turn_of_a_living_one(db: Database, dead: str) -> None:
    jobs = await of_nodes(db)
    await db.run(lambda tx: tx.session.execute(update(RunLimits).values(fleet=4, per_server=None, per_pool=None)))
    await seen(db, "pool1")
    if dead == "seen long ago":
        await seen(db, "pool0", 61.0)
    elif dead != "never seen":
        await seen(db, "pool0", -86_400.0)
    for job in jobs["pool0"] + jobs["pool1"]:
        await db.run(lambda tx, job=job: request_backup(tx, job))
    sent = Counter(str(subject) for subject in await subjects(db))
    assert sent == {"backup.requested.pool0": 4, "backup.requested.pool1": 4}, "each has its own queue"
    # When it is back its runs count again, and nothing more is sent until there is room.
    await seen(db, "pool0")
    assert await db.run(lambda tx: tx.admission.admit()) == 0
    await end(db)
    assert await db.run(lambda tx: tx.admission.admit()) == 4


async def test_what_runs_on_a_node_that_fell_silent_still_counts(db: Database) -> None:
    jobs = await of_nodes(db)
    await db.run(lambda tx: tx.session.execute(update(RunLimits).values(fleet=4, per_server=None, per_pool=None)))
    await seen(db, "pool0")
    await seen(db, "pool1")
    for job in jobs["pool0"]:
        await db.run(lambda tx, job=job: request_backup(tx, job))
    await db.run(lambda tx: tx.session.execute(update(Job).where(Job.sent_at.is_not(None)).values(state="running")))
    await seen(db, "pool0", 61.0)
    await db.run(lambda tx: request_backup(tx, jobs["pool1"][0]))
    assert "backup.requested.pool1" not in await subjects(db)


async def subjects(db: Database) -> list[str]:
    query = select(OutboxRow.subject).where(OutboxRow.subject.startswith("backup.requested"))
    async with db.read() as session:
        return list(await session.scalars(query))
