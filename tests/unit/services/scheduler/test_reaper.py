from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import func, insert, select, update

from services.scheduler.reaper import Reaper
from services.scheduler.service import build
from shared.bus.memory import MemoryBus
from shared.db.tables import Job, OutboxRow
from shared.domain.ids import new_id
from shared.domain.job import JobType
from shared.errors import Transient
from shared.events.streams import JOBS
from shared.runtime import supervisor
from shared.runtime.board import Board
from shared.runtime.relay import Relay
from shared.runtime.service import Parts
from shared.runtime.supervisor import supervise
from shared.telemetry.metrics import KernelMetrics, TaskMetrics
from tests.harness.patience import WAIT

SUBJECT = "backup.requested.node1"


async def queue(parts: Parts) -> Job:
    job = Job(type=JobType.BACKUP_CREATE.value, node="node1", title="t")
    await parts.db.run(lambda tx: tx.jobs.enqueue(job))
    return job


async def test_a_dead_workers_job_is_queued_again_with_a_message(parts: Parts, bus: MemoryBus) -> None:
    reaper = Reaper(parts.db, bus, parts.settings.worker, parts.registry)
    relay = Relay(parts.db, bus, KernelMetrics(parts.registry))
    job = await queue(parts)
    await parts.db.run(lambda tx: tx.jobs.claim(job.id, lease="dead", seconds=-1))
    await reaper.tick()
    await relay.publish_all()
    async with parts.db.read() as session:
        assert (await session.get_one(Job, job.id)).state == "queued"
    assert await bus.count(JOBS, SUBJECT) == 2


async def test_a_wiped_bus_gets_its_streams_and_its_messages_back(parts: Parts, bus: MemoryBus) -> None:
    relay = Relay(parts.db, bus, KernelMetrics(parts.registry))
    for _ in range(3):
        await queue(parts)
    await relay.publish_all()
    bus.wipe()
    reaper = Reaper(parts.db, bus, parts.settings.worker, CollectorRegistry())
    await reaper.tick()
    assert await relay.publish_all() == 0  # not yet: they may just be on their way
    long_ago = datetime.now(UTC) - timedelta(minutes=10)
    await parts.db.run(lambda tx: tx.session.execute(update(Job).values(sent_at=long_ago)))
    await reaper.tick()
    await relay.publish_all()
    assert await bus.count(JOBS, SUBJECT) == 3
    await reaper.tick()
    assert await relay.publish_all() == 0


async def test_trouble_stalls_the_reaper_and_does_not_end_it(parts: Parts, bus: MemoryBus) -> None:
    board, stopping = Board(TaskMetrics(parts.registry)), asyncio.Event()
    reaper = next(task for task in build(parts).tasks if task.name == "reaper")

    def figure(name: str) -> float:
        return parts.registry.get_sample_value(f"borgfleet_task_{name}", {"task": "reaper"}) or 0.0

    bus.down = True
    running = asyncio.create_task(supervise(reaper, board, stopping))
    async with asyncio.timeout(WAIT):
        while not figure("failures_total"):
            await asyncio.sleep(0.01)
        stalled_at = figure("last_success_timestamp_seconds")
        bus.down = False
        while figure("last_success_timestamp_seconds") <= stalled_at:
            await asyncio.sleep(0.01)
        assert board.problems() == {}
        stopping.set()
        await running


async def test_a_reaper_back_from_an_outage_lets_living_runs_beat_before_it_recovers_any(
    parts: Parts, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database was away no run could renew its lease: all of them look dead, and none is."""
    reaper = next(task for task in build(parts).tasks if task.name == "reaper")
    job = await queue(parts)
    await parts.db.run(lambda tx: tx.jobs.claim(job.id, lease="alive", seconds=-1))
    stopping, paused = asyncio.Event(), list[float]()
    real = parts.db.run

    async def away(*_: object, **__: object) -> None:
        raise Transient("the database is away", code="database_unreachable")

    async def pause(seconds: float, stopping: asyncio.Event, *_: object) -> None:
        paused.append(seconds)
        monkeypatch.setattr(parts.db, "run", real)
        if seconds >= parts.settings.worker.lease:  # in which every living run beats
            await real(lambda tx: tx.jobs.beat(job.id, lease="alive", seconds=WAIT, progress=None))
        if len(paused) > 1:
            stopping.set()

    monkeypatch.setattr(parts.db, "run", away)
    monkeypatch.setattr(supervisor, "pause", pause)
    await supervise(reaper, Board(TaskMetrics(parts.registry)), stopping)
    assert len(paused) > 1, "it looked again after the outage"
    async with parts.db.read() as session:
        assert (await session.get_one(Job, job.id)).state == "running"


async def test_published_events_are_forgotten_as_fast_as_a_hundred_a_second_come(parts: Parts, bus: MemoryBus) -> None:
    rounds, each = 3, 3000  # as many as come in 30 seconds, which is how often it runs
    long_ago = datetime.now(UTC) - timedelta(hours=2)

    def rows(**values: Any) -> list[dict[str, Any]]:
        return [{"id": new_id(), "subject": "s", "event_type": "x.v1", "payload": "{}"} | values for _ in range(each)]

    async def add(tx: Any) -> None:
        for _ in range(rounds):
            await tx.session.execute(insert(OutboxRow), rows(created_at=long_ago, sent_at=long_ago))
        await tx.session.execute(insert(OutboxRow), rows(created_at=long_ago, sent_at=None))

    await parts.db.run(add)
    reaper = Reaper(parts.db, bus, parts.settings.worker, parts.registry)
    assert await reaper.purge(asyncio.Event()) == rounds * each
    async with parts.db.read() as session:
        assert await session.scalar(select(func.count()).select_from(OutboxRow)) == each  # what is unsent stays
