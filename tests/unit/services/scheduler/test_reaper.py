from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from services.scheduler.reaper import Reaper
from services.scheduler.service import build
from shared.bus.memory import MemoryBus
from shared.db.tables import Job
from shared.domain.job import JobType
from shared.events.streams import JOBS
from shared.runtime.relay import Relay
from shared.runtime.service import Parts
from shared.telemetry.metrics import KernelMetrics

SUBJECT = "backup.requested.node1"


async def queue(parts: Parts) -> Job:
    job = Job(type=JobType.BACKUP_CREATE.value, node="node1", title="t")
    await parts.db.run(lambda tx: tx.jobs.enqueue(job))
    return job


async def test_a_dead_workers_job_is_queued_again_with_a_message(parts: Parts, bus: MemoryBus) -> None:
    reaper = Reaper(parts.db, bus, parts.settings.worker, parts.registry)
    relay = Relay(parts.db, bus, KernelMetrics(parts.registry))
    job = await queue(parts)
    await parts.db.run(lambda tx: tx.jobs.claim(job.id, lease="dead", seconds=0.05))
    await asyncio.sleep(0.1)
    await reaper.tick()
    await relay.publish_all()
    async with parts.db.read() as session:
        assert (await session.get_one(Job, job.id)).state == "queued"
    assert await bus.count(JOBS, SUBJECT) == 2


async def test_a_wiped_bus_gets_its_streams_and_its_messages_back(parts: Parts, bus: MemoryBus) -> None:
    reaper = Reaper(parts.db, bus, parts.settings.worker, parts.registry)
    relay = Relay(parts.db, bus, KernelMetrics(parts.registry))
    for _ in range(3):
        await queue(parts)
    await relay.publish_all()
    bus.wipe()
    patient = parts.settings.worker.model_copy(update={"lost_after": 60.0})
    await Reaper(parts.db, bus, patient, CollectorRegistry()).tick()
    assert await relay.publish_all() == 0  # not yet: they may just be on their way
    await asyncio.sleep(0.2)
    await reaper.tick()
    await relay.publish_all()
    assert await bus.count(JOBS, SUBJECT) == 3
    await reaper.tick()
    assert await relay.publish_all() == 0


async def test_trouble_stalls_the_reaper_and_does_not_end_it(parts: Parts, bus: MemoryBus) -> None:
    (_, run), *_rest = build(parts).tasks
    stopping = asyncio.Event()
    bus.down = True
    task = asyncio.create_task(run(stopping))
    await asyncio.sleep(0.2)
    assert not task.done()
    bus.down = False
    await asyncio.sleep(0.2)
    stopping.set()
    await asyncio.wait_for(task, 5)
