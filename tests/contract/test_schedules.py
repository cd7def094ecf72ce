"""Schedules on both databases: due runs are made once, whoever makes them, and what is not made is heard of."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import func, insert, select, update

from services.api.features.schedules.forecast import forecast_runs
from services.api.kernel.schedules import ScheduleIn
from services.api.kernel.scheduling import Owner, replace_schedules
from services.scheduler import schedules
from services.scheduler.ahead import AheadOfTime
from services.scheduler.schedules import LEASE, Schedules
from services.scheduler.targets import Target
from shared.db.session import Database
from shared.db.tables import (
    BackupJob,
    Job,
    MissedRun,
    OutboxRow,
    Pause,
    Repository,
    Schedule,
    Server,
    StoragePool,
)
from shared.domain.ids import new_id
from shared.domain.schedule import next_run
from tests.harness.patience import WAIT

DAILY = ScheduleIn.model_validate({"when": {"kind": "days", "times": ["02:30"]}})


def _owner(definition: BackupJob) -> Owner:
    return Owner(backup_job_id=definition.id, name=definition.name)


@pytest.fixture
async def fleet(db: Database) -> Any:
    """Three backup jobs with a daily schedule each, that came due a minute ago."""

    async def add(tx: Any) -> list[Any]:
        server, pool = Server(name="web1", host="h", facts={}), StoragePool(name="main", node="node1", path="/p")
        tx.session.add_all([server, pool])
        await tx.session.flush()
        made = []
        for number in range(3):
            repository = Repository(name=f"r{number}", server_id=server.id, pool_id=pool.id, path=f"/p/web1/r{number}")
            tx.session.add(repository)
            await tx.session.flush()
            definition = BackupJob(
                name=f"job{number}", server_id=server.id, repository_id=repository.id, sources=["/etc"]
            )
            tx.session.add(definition)
            await tx.session.flush()
            await replace_schedules(tx, _owner(definition), [DAILY])
            made.append(definition.id)
        return made

    ids = await db.run(add)
    await due(db, timedelta(minutes=1))
    return ids


async def due(db: Database, ago: timedelta, **values: Any) -> None:
    moment = datetime.now(UTC) - ago
    change = update(Schedule).values(due_at=moment, next_run_at=moment, **values)
    await db.run(lambda tx: tx.session.execute(change))


def scheduler(db: Database) -> Schedules:
    return Schedules(db, CollectorRegistry())


async def runs(db: Database) -> Counter[Any]:
    async with db.read() as session:
        return Counter(await session.scalars(select(Job.backup_job_id)))


async def missed(db: Database) -> list[str]:
    async with db.read() as session:
        return list(await session.scalars(select(MissedRun.code)))


async def test_what_is_due_is_made_once_and_moved_on(db: Database, fleet: Any) -> None:
    leader = scheduler(db)
    assert await leader.tick() == 3
    assert await leader.tick() == 0
    assert await runs(db) == Counter(fleet)
    async with db.read() as session:
        following = list(await session.scalars(select(Schedule.next_run_at)))
    assert all(datetime.now(UTC) < at <= datetime.now(UTC) + timedelta(days=1) for at in following)


@pytest.mark.parametrize("ahead", [timedelta(days=2), timedelta(days=365)])
async def test_schedules_that_a_clock_ahead_of_its_time_moved_on_run_again_in_time(
    db: Database, fleet: Any, ahead: timedelta
) -> None:
    await due(db, -ahead)
    honest = await _due_tomorrow(db, fleet[2])
    bring = AheadOfTime(db)
    assert await bring.tick(asyncio.Event()) == 2
    assert await bring.tick(asyncio.Event()) == 0
    async with db.read() as session:
        rows = list(await session.scalars(select(Schedule)))
    latest = datetime.now(UTC) + timedelta(days=1)
    assert all(datetime.now(UTC) < row.due_at == row.next_run_at <= latest for row in rows)
    assert {row.due_at.time() for row in rows} == {honest.time()}, "all are due at the same time of the day"
    await scheduler(db).tick()
    assert await runs(db) == Counter(), "nothing runs before it is due"


async def _due_tomorrow(db: Database, definition: Any) -> datetime:
    """Let a schedule be due when it is, and return that."""
    now = datetime.now(UTC)
    moment = next_run(DAILY.when, now)
    mine = update(Schedule).where(Schedule.backup_job_id == definition).values(due_at=moment, next_run_at=moment)
    await db.run(lambda tx: tx.session.execute(mine))
    return moment


async def test_a_schedule_of_no_sense_keeps_no_other_from_being_brought_back(db: Database, fleet: Any) -> None:
    await due(db, -timedelta(days=365))
    broken = update(Schedule).where(Schedule.backup_job_id == fleet[0]).values(spec={"kind": "lunar"})
    await db.run(lambda tx: tx.session.execute(broken))
    assert await AheadOfTime(db).tick(asyncio.Event()) == 2


@pytest.mark.parametrize(
    "broken",
    [{"spec": {"kind": "lunar"}}, {"spec": [1]}, {"window": {"zone": "Mars/Base", "days": [1], "begins": "01:00", "ends": "02:00"}},
     {"blackout": [1]}],
    ids=["kind", "list", "zone", "blackout"],
)  # fmt: skip
async def test_one_schedule_of_no_sense_hides_no_other_run_of_the_night(db: Database, fleet: Any, broken: Any) -> None:
    change = update(Schedule).where(Schedule.backup_job_id == fleet[0]).values(**broken)
    await db.run(lambda tx: tx.session.execute(change))
    async with db.read() as session:
        runs_of = {run.backup_job_id for run in await forecast_runs(session, timedelta(days=1))}
    assert runs_of == set(fleet[1:])


async def test_a_due_time_that_comes_back_makes_no_second_run_and_stops_no_other(db: Database, fleet: Any) -> None:
    leader = scheduler(db)
    async with db.read() as session:
        due_at = await session.scalar(select(Schedule.due_at).where(Schedule.backup_job_id == fleet[0]))
    await leader.tick()
    await db.run(lambda tx: tx.session.execute(update(Job).values(state="succeeded")))
    await due(db, timedelta(seconds=30))
    again = update(Schedule).where(Schedule.backup_job_id == fleet[0]).values(due_at=due_at)
    await db.run(lambda tx: tx.session.execute(again))
    assert await leader.tick() == 3
    assert await runs(db) == Counter({fleet[0]: 1, fleet[1]: 2, fleet[2]: 2})


async def test_only_the_leader_works_and_another_takes_over_when_it_is_gone(
    db: Database, fleet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "_LEASE_SECONDS", 10 * WAIT)  # it is gone when it says so, not when it is slow
    first, second = scheduler(db), scheduler(db)
    await first.tick()
    await due(db, timedelta(minutes=1))
    assert await second.tick() == 0
    await db.run(lambda tx: tx.leases.release(LEASE, first._name))
    assert await second.tick() == 3


async def test_two_leaders_at_once_make_no_run_twice(db: Database, fleet: Any) -> None:
    """A paused leader that wakes up believes it still leads: both go past the lease here."""
    leaders = [scheduler(db) for _ in range(4)]
    await asyncio.gather(*(leader.make_due() for leader in leaders))
    assert await runs(db) == Counter(fleet)


async def test_a_run_under_way_makes_the_next_a_missed_one_that_is_heard_of(db: Database, fleet: Any) -> None:
    leader = scheduler(db)
    await leader.tick()
    await due(db, timedelta(minutes=1))
    await leader.tick()
    assert await runs(db) == Counter(fleet)
    assert await missed(db) == ["overlap"] * 3
    async with db.read() as session:
        facts = list(await session.scalars(select(OutboxRow.subject).where(OutboxRow.subject == "backup.missed")))
    assert len(facts) == 3


async def test_after_downtime_one_run_is_made_or_none_as_chosen(db: Database, fleet: Any) -> None:
    await due(db, timedelta(days=3), catch_up=False)
    await scheduler(db).tick()
    assert (await runs(db), await missed(db)) == (Counter(), ["downtime"] * 3)
    await due(db, timedelta(days=3), catch_up=True)
    await scheduler(db).make_due()
    assert await runs(db) == Counter(fleet)


@pytest.mark.parametrize("server", ["", "web1"])
async def test_what_is_paused_makes_no_run_and_misses_none(db: Database, fleet: Any, server: str) -> None:
    await db.run(lambda tx: tx.session.execute(insert(Pause).values(id=new_id(), server=server, reason="", who="me")))
    assert await scheduler(db).tick() == 3
    assert (await runs(db), await missed(db)) == (Counter(), [])
    await db.run(lambda tx: tx.session.execute(update(Pause).values(until=datetime.now(UTC) - timedelta(seconds=1))))
    await due(db, timedelta(minutes=1))
    await scheduler(db).make_due()
    assert await runs(db) == Counter(fleet)


async def test_one_schedule_that_cannot_be_read_stops_no_other(db: Database, fleet: Any) -> None:
    broken = {"kind": "days", "times": ["02:30"], "zone": "Mars/Olympus", "every": 1}
    change = update(Schedule).where(Schedule.backup_job_id == fleet[0]).values(spec=broken)
    await db.run(lambda tx: tx.session.execute(change))
    leader = scheduler(db)
    await leader.tick()
    assert await runs(db) == Counter(fleet[1:])
    assert await leader.tick() == 0  # set aside, not tried at every tick


async def test_a_run_that_cannot_be_written_is_set_aside_and_stops_no_other(
    db: Database, fleet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await due(db, timedelta(seconds=5))
    async with db.read() as session:
        ids = list(await session.scalars(select(Schedule.id).order_by(Schedule.id)))
    real = Target.run

    def run(self: Target, row: Schedule, verdict: Any) -> Job:
        job = real(self, row, verdict)
        if row.id == ids[0]:
            job.title = "caf\udce9"
        return job

    monkeypatch.setattr(Target, "run", run)
    assert len(ids) > 1
    assert await scheduler(db).make_due() == len(ids)
    assert sum((await runs(db)).values()) == len(ids) - 1
    async with db.read() as session:
        waits = await session.scalar(select(Schedule.next_run_at).where(Schedule.id == ids[0]))
    assert waits is not None
    assert timedelta(minutes=30) < waits - datetime.now(UTC) < timedelta(minutes=90)


async def test_a_schedule_that_stays_keeps_its_next_run_and_one_that_goes_is_gone(db: Database, fleet: Any) -> None:
    other = ScheduleIn.model_validate({"when": {"kind": "hours", "every": 6}, "jitter_seconds": 60})

    async def change(tx: Any) -> None:
        definition = await tx.session.get(BackupJob, fleet[0])
        await replace_schedules(tx, _owner(definition), [DAILY, other])

    before = datetime.now(UTC)
    await db.run(change)
    async with db.read() as session:
        query = select(Schedule).where(Schedule.backup_job_id == fleet[0]).order_by(Schedule.next_run_at)
        kept, new = list(await session.scalars(query))
    assert kept.next_run_at < before < new.next_run_at
    assert (new.period_seconds, kept.period_seconds) == (6 * 3600, 86_400)

    async def drop(tx: Any) -> None:
        await replace_schedules(tx, _owner(await tx.session.get(BackupJob, fleet[0])), [])

    await db.run(drop)
    async with db.read() as session:
        assert await session.scalar(select(func.count()).select_from(Schedule)) == 2


async def test_a_herd_is_drained_with_each_run_made_once(db: Database, fleet: Any) -> None:
    async def add(tx: Any) -> None:
        repository = await tx.session.scalar(select(Repository.id).limit(1))
        server = await tx.session.scalar(select(Server.id))
        jobs = [{"id": new_id(), "name": f"herd{number}", "server_id": server, "repository_id": repository,
                 "sources": ["/etc"]} for number in range(250)]  # fmt: skip
        await tx.session.execute(insert(BackupJob), jobs)
        now = datetime.now(UTC) - timedelta(seconds=1)
        row = {"spec": DAILY.when.model_dump(mode="json"), "period_seconds": 86_400, "due_at": now, "next_run_at": now}
        await tx.session.execute(insert(Schedule), [row | {"id": new_id(), "backup_job_id": job["id"]} for job in jobs])

    await db.run(add)
    counts = await asyncio.gather(*(scheduler(db).make_due() for _ in range(2)))
    assert sum(counts) == 253
    assert set((await runs(db)).values()) == {1}
    assert len(await runs(db)) == 253
