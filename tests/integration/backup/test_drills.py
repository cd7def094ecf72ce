"""Restore tests on real repositories: what can be read proves something, and whatever cannot never does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import select

from services.backup.handlers import drill_in
from services.backup.work import work_on
from shared.db.stores.requests import request_maintenance
from shared.db.tables import BackupJob, Job, RestoreProof
from shared.domain.job import JobType
from shared.events.repository import RestoreTest
from shared.runtime.context import Context
from tests.integration.backup.yard import Yard, files


class Drills:
    """Restore tests of one backup job's repository."""

    def __init__(self, yard: Yard, definition: BackupJob) -> None:
        self.yard, self.definition = yard, definition

    async def request(self, **asked: Any) -> Job:
        return await self.yard.db.run(
            lambda tx: request_maintenance(tx, JobType.RESTORE_TEST, self.definition.repository_id, **asked)
        )

    def start(self, job: Job) -> tuple[Context, asyncio.Task[None]]:
        ctx = Context(self.yard.db, self.yard.bus, key="k", lease_seconds=600)
        work = drill_in(self.yard.directory / "catalogue", self.yard.ssh)
        return ctx, asyncio.create_task(work_on(RestoreTest(job_id=job.id), ctx, work=work, storage=self.yard.storage))

    async def end(self, job: Job) -> Job:
        while (ended := await self.yard.job(job)).state == "queued":
            ctx, task = self.start(job)
            await self.yard.dispose(ctx, task, job)
        return ended

    async def run(self, state: str = "succeeded", **asked: Any) -> Job:
        job = await self.end(await self.request(**asked))
        assert job.state == state, f"{job.state} {job.code} {job.reason} {job.warnings}\n{await self.yard.log(job)}"
        return job

    async def proofs(self) -> list[RestoreProof]:
        async with self.yard.db.read() as session:
            return list(await session.scalars(select(RestoreProof).order_by(RestoreProof.ended_at)))


async def test_a_sample_of_a_sound_backup_is_a_proof(yard: Yard, tmp_path: Path) -> None:
    definition = await yard.backup_job(files(tmp_path / "src", 60, 1000))
    await yard.run(definition, "succeeded", "warning")
    drills = Drills(yard, definition)
    job = await drills.run()
    assert (job.result["proof"], job.result["files"], job.result["chosen"]) == ("good", 50, 50)
    assert job.result["source"] == {"compared": 50, "problem": "", "differing": []}
    (proof,) = await drills.proofs()
    assert (proof.state, proof.kind, proof.files, proof.bytes) == ("good", "sample", 50, 50_000)
    assert (proof.backup_job_id, proof.damaged, proof.unread) == (definition.id, 0, 0)
