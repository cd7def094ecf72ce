"""A worker and a relay on any bus and database, with runs that a test lets go on and watches."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import select

from shared.db.tables import Job
from shared.domain.job import JobState, JobType
from shared.events.backup import BackupRequested
from shared.runtime.context import Context
from shared.runtime.relay import Relay
from shared.runtime.service import Parts, Route
from shared.runtime.worker import Worker
from shared.telemetry.metrics import KernelMetrics
from tests.harness.patience import WAIT

Handler = Callable[[Any, Context], Awaitable[None]]


class Kernel:
    """One route's worker with its relay."""

    def __init__(self, parts: Parts, node: str = "node1") -> None:
        self.parts = parts
        self.node = node
        self.subject = f"{BackupRequested.subject}.{node}"
        self.metrics = KernelMetrics(parts.registry)

    async def queue(self, **values: Any) -> Job:
        job = Job(type=JobType.BACKUP_CREATE.value, node=self.node, title="t", **values)
        await self.parts.db.run(lambda tx: tx.jobs.enqueue(job))
        return job

    async def row(self, job: Job) -> Job:
        async with self.parts.db.read() as session:
            return await session.get_one(Job, job.id)

    async def rows(self) -> list[Job]:
        async with self.parts.db.read() as session:
            return list(await session.scalars(select(Job).where(Job.node == self.node)))

    async def until(self, job: Job, probe: Callable[[Job], bool]) -> Job:
        async with asyncio.timeout(WAIT):
            while not probe(found := await self.row(job)):
                await asyncio.sleep(0.02)
            return found

    @asynccontextmanager
    async def working(self, handler: Handler, **route: Any) -> AsyncIterator[asyncio.Event]:
        stopping = asyncio.Event()
        settings = self.parts.settings.worker
        made = Route(BackupRequested, handler, node=self.node, **route)
        worker = Worker(made, self.parts.db, self.parts.bus, settings, self.metrics)
        relay = Relay(self.parts.db, self.parts.bus, self.metrics)
        tasks = [asyncio.create_task(worker.run(stopping)), asyncio.create_task(relay.run(stopping))]
        try:
            yield stopping
        finally:
            stopping.set()
            async with asyncio.timeout(WAIT):
                await asyncio.gather(*tasks)


def ended(job: Job) -> bool:
    return job.finished_at is not None


class Runs:
    """A handler whose runs last until they are let go; it knows how often each job was begun, and that never twice at once."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun: Counter[uuid.UUID] = Counter()
        self.active: Counter[uuid.UUID] = Counter()
        self.together: set[uuid.UUID] = set()
        self.aborts: list[tuple[uuid.UUID, Any]] = []

    async def __call__(self, event: BackupRequested, ctx: Context) -> None:
        assert event.job_id is not None
        job = await ctx.claim(event.job_id)
        if job is None:
            return
        self.begun[job.id] += 1
        self.active[job.id] += 1
        if self.active[job.id] > 1:
            self.together.add(job.id)
        try:
            ctx.log("info", "test", f"run {self.begun[job.id]}")
            await self.go.wait()
        finally:
            self.active[job.id] -= 1
            self.aborts += [(job.id, ctx.abort)] if ctx.abort else []
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED))
