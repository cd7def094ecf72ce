"""The database's clock was ahead, by days or years, and was set right: nothing waits until it has caught up.

What living processes hold is theirs: they renew it within seconds, and nothing of it is begun twice.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import insert, select, update

from services.scheduler.reaper import Reaper
from services.scheduler.schedules import LEASE, Schedules
from services.stats.alerts.readings import readings
from services.stats.history.purge import DAY, FIVE_MINUTES, HOUR, StatsKeeper
from services.stats.metrics.queries import load_figures
from shared.bus.memory import MemoryBus
from shared.config.settings import KeepSettings, WorkerSettings
from shared.db.session import Database
from shared.db.tables import (
    Job,
    Lease,
    OutboxRow,
    Server,
    ServerRollup,
    ServerStats,
    ServerStatus,
    ServiceInstance,
    StoragePool,
    db_now,
)
from shared.domain.alerts import DEFAULTS, AlertKind, AlertState, Change, Incident, Level, evaluate
from shared.domain.ids import new_id
from shared.domain.job import JobState, JobType
from shared.errors import LeaseLost
from shared.events.streams import STREAMS
from shared.runtime.presence import Presence
from shared.runtime.service import Service

AHEAD = pytest.mark.parametrize("ahead", [7200.0, 365 * 86_400.0], ids=["hours", "a year"])


async def write(db: Database, statement: Any) -> None:
    await db.run(lambda tx: tx.session.execute(statement))


async def row(db: Database, job: Job) -> Job:
    async with db.read() as session:
        return await session.get_one(Job, job.id)


async def queued(db: Database, **values: Any) -> Job:
    job = Job(**{"type": JobType.BACKUP_CREATE.value, "node": "n1", "title": "t"} | values)
    await db.run(lambda tx: tx.jobs.enqueue(job))
    return job


@AHEAD
async def test_a_scheduler_that_died_then_does_not_lead_for_ever(db: Database, ahead: float) -> None:
    await write(db, insert(Lease).values(name=LEASE, holder="dead", epoch=1, until=db_now(ahead)))
    assert await db.run(lambda tx: tx.leases.holder(LEASE)) == ""
    await Schedules(db, CollectorRegistry()).tick()
    assert await db.run(lambda tx: tx.leases.holder(LEASE)) not in ("", "dead")


async def test_a_lease_of_now_is_nobody_elses_however_long_it_lasts(db: Database) -> None:
    assert await db.run(lambda tx: tx.leases.acquire("x", "one", 3000)) == 1
    for gently in (False, True):
        assert await db.run(lambda tx, gently=gently: tx.leases.acquire("x", "two", 3000, gently=gently)) is None
    assert await db.run(lambda tx: tx.leases.holder("x")) == "one"


def test_no_run_can_have_a_lease_that_would_count_as_impossible() -> None:
    with pytest.raises(ValueError, match="ack_wait"):
        WorkerSettings(ack_wait=7200)
    assert WorkerSettings(ack_wait=3600).lease < HOUR


@AHEAD
async def test_a_repository_is_not_taken_from_a_run_that_lives(db: Database, ahead: float) -> None:
    """Two runs in one repository are what its lease is for: its holder has a whole lease to renew it."""
    await write(db, insert(Lease).values(name="r", holder="living", epoch=1, until=db_now(ahead)))
    assert await db.run(lambda tx: tx.leases.acquire("r", "next", 60, gently=True)) is None
    await db.run(lambda tx: tx.leases.renew("r", "living", 60))
    assert await db.run(lambda tx: tx.leases.acquire("r", "next", 60, gently=True)) is None
    await write(db, update(Lease).values(until=db_now(ahead)))
    assert await db.run(lambda tx: tx.leases.acquire("r", "next", -1, gently=True)) == 2  # cut, and over at once
    with pytest.raises(LeaseLost):
        await db.run(lambda tx: tx.leases.renew("r", "living", 60))


@AHEAD
async def test_the_job_of_a_worker_that_died_then_is_recovered_and_a_living_ones_is_not(
    db: Database, ahead: float
) -> None:
    dead, living = await queued(db), await queued(db)
    for job in (dead, living):
        await db.run(lambda tx, job=job: tx.jobs.claim(job.id, lease=job.id.hex, seconds=ahead))
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    reaper = Reaper(db, bus, WorkerSettings(), CollectorRegistry())
    await reaper.tick()
    assert [(await row(db, job)).state for job in (dead, living)] == ["running"] * 2, "nothing is begun twice"
    await db.run(lambda tx: tx.jobs.beat(living.id, lease=living.id.hex, seconds=300, progress=None))
    async with db.read() as session:
        cut = await session.scalar(select(Job.lease_until < db_now(130)).where(Job.id == dead.id))
    assert cut
    await write(db, update(Job).where(Job.id == dead.id).values(lease_until=db_now(-1)))  # the time has passed
    await reaper.tick()
    assert [(await row(db, job)).state for job in (dead, living)] == ["queued", "running"]
    await bus.close()


async def test_a_failed_run_does_not_wait_a_year_for_its_next_try(db: Database) -> None:
    sent, turn = await queued(db), await queued(db, repository_id=uuid.uuid4(), server_id=uuid.uuid4())
    later = await queued(db)
    await write(db, update(Job).where(Job.id != later.id).values(not_before=db_now(365 * 86_400.0)))
    await write(db, update(Job).where(Job.id == later.id).values(not_before=db_now(7 * 86_400.0)))
    assert await db.run(lambda tx: tx.jobs.seconds_until_due(sent.id)) == 0
    assert (await db.run(lambda tx: tx.jobs.seconds_until_due(later.id)) or 0) > 86_400  # that may well be
    assert await db.run(lambda tx: tx.jobs.claim(sent.id, lease="a", seconds=60)) is not None
    assert await db.run(lambda tx: tx.jobs.claim(later.id, lease="b", seconds=60)) is None
    assert await db.run(lambda tx: tx.admission.admit()) == 1
    assert (await row(db, turn)).sent_at is not None


@AHEAD
async def test_a_message_that_was_lost_then_is_missed(db: Database, ahead: float) -> None:
    lost = await queued(db, node="n1")
    await write(db, update(Job).where(Job.id == lost.id).values(sent_at=db_now(ahead)))
    assert await db.run(lambda tx: tx.jobs.resend_silent("backup.requested.n1", older_than=30)) == 1


@AHEAD
async def test_an_event_of_then_is_published_and_forgotten(db: Database, ahead: float) -> None:
    def event(**values: Any) -> dict[str, Any]:
        return {
            "id": new_id(),
            "subject": "s",
            "event_type": "x.v1",
            "payload": "{}",
            "created_at": db_now(ahead),
        } | values

    for values in (event(), event(sent_at=db_now(ahead)), event(created_at=db_now(1))):
        await write(db, insert(OutboxRow).values(**values))
    assert len(await db.run(lambda tx: tx.outbox.unsent(10, older_than=2))) == 1
    assert await db.run(lambda tx: tx.outbox.purge(older_than=60)) == 1


@AHEAD
async def test_what_died_then_is_missed(db: Database, ahead: float) -> None:
    """A living one says within seconds, by the right clock, that it is there; and so what it said then is forgotten."""
    gone = {"id": new_id(), "service": "backup", "node": "n1", "version": "1", "seen_at": db_now(ahead)}
    pool = {"id": new_id(), "name": "main", "node": "n1", "path": "/p", "measured_at": db_now(ahead)}
    server = {"id": new_id(), "name": "web1", "host": "h", "facts": {}}
    down = {"server_id": server["id"], "up": False, "changed_at": db_now(ahead), "sample": {}}
    tables = ((ServiceInstance, gone), (StoragePool, pool), (Server, server), (ServerStatus, down))
    for table, values in tables:
        await write(db, insert(table).values(**values))
    async with db.read() as session:
        found = {one.kind: one.value for one in readings(await load_figures(session), growth={}) if one.value}
    for kind in (AlertKind.SERVICE_MISSING, AlertKind.POOL_MISSING, AlertKind.SERVER_UNREACHABLE):
        level = DEFAULTS[kind].level(found.get(kind) or 0.0)
        assert level is Level.CRITICAL or (kind is AlertKind.POOL_MISSING and kind not in found), kind
    await db.run(Presence(db, [Service("backup")]).write)
    node = Service("backup")
    presence = Presence(db, [node])
    presence._rows = [(new_id(), "backup", "n1")]
    await db.run(presence.write)
    async with db.read() as session:
        seen = list(await session.scalars(select(ServiceInstance.id).where(ServiceInstance.node == "n1")))
    assert seen == [presence._rows[0][0]]


async def test_figures_are_rolled_up_though_there_are_some_of_the_future(db: Database) -> None:
    now = int(datetime.now(UTC).timestamp()) // HOUR * HOUR + 1800
    server = new_id()
    await write(db, insert(Server).values(id=server, name="web1", host="h", facts={}))
    for step in (FIVE_MINUTES, HOUR, DAY):
        future = {"server_id": server, "step": step, "bucket": (now + 365 * DAY) // DAY * DAY, "samples": 1}
        await write(db, insert(ServerRollup).values(**future))
    begun = now // DAY * DAY - DAY
    for at in range(begun, begun + DAY, HOUR):
        sample = {"server_id": server, "collected_at": datetime.fromtimestamp(at, UTC), "bucket": at // 300 * 300}
        await write(db, insert(ServerStats).values(**sample, cpu_usage_percent=1.0))
    await StatsKeeper(db, KeepSettings()).tick(now)
    async with db.read() as session:
        made = list(await session.scalars(select(ServerRollup.step).where(ServerRollup.bucket <= now)))
    assert {step: made.count(step) for step in set(made)} == {FIVE_MINUTES: 24, HOUR: 24, DAY: 1}


def test_an_incident_that_began_in_the_future_is_raised_when_it_has_lasted_from_now() -> None:
    now, threshold = datetime.now(UTC), DEFAULTS[AlertKind.CPU]
    incident = Incident(AlertState.PENDING, Level.CRITICAL, now + timedelta(days=365))
    change, pending = evaluate(threshold, incident, 99.0, now)
    assert (change, pending and pending.began_at) == (Change.NONE, now)
    change, raised = evaluate(threshold, pending, 99.0, now + timedelta(seconds=threshold.for_seconds))
    assert (change, raised and raised.state) == (Change.RAISE, AlertState.FIRING)


async def test_a_job_held_by_nobody_else_is_not_stranded(db: Database) -> None:
    job = await queued(db)
    await db.run(lambda tx: tx.jobs.claim(job.id, lease="a", seconds=3000))
    assert not await db.run(lambda tx: tx.jobs.orphans())
    assert not await db.run(lambda tx: tx.jobs.recover(job))
    assert (await row(db, job)).state == JobState.RUNNING
