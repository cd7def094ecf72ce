"""A server, its repository and its backup job, on fakes."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from services.backup.handlers import CHECK, COMPACT, DELETE, PRUNE, RECOVER, VERIFY, make_backup
from services.backup.work import work_on
from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.stores.requests import request_backup, request_maintenance
from shared.db.stores.secrets import FLEET_KEY
from shared.db.tables import BackupJob, BackupNode, Job, Repository, Server, StoragePool
from shared.domain.job import JobType
from shared.errors import AppError
from shared.events.archive import ArchiveDelete
from shared.events.backup import BackupRequested
from shared.events.repository import (
    RepositoryCheck,
    RepositoryCompact,
    RepositoryPrune,
    RepositoryRecover,
    RepositoryVerify,
)
from shared.runtime.context import Context
from tests.unit.services.backup.fakes import FakeServer, FakeStorage

_UPKEEP: dict[JobType, tuple[Any, Any]] = {
    JobType.REPOSITORY_PRUNE: (RepositoryPrune, PRUNE),
    JobType.REPOSITORY_COMPACT: (RepositoryCompact, COMPACT),
    JobType.REPOSITORY_CHECK: (RepositoryCheck, CHECK),
    JobType.REPOSITORY_VERIFY: (RepositoryVerify, VERIFY),
    JobType.REPOSITORY_RECOVER: (RepositoryRecover, RECOVER),
}


class World:
    def __init__(self, db: Database, bus: MemoryBus) -> None:
        self.db, self.bus = db, bus
        self.storage = FakeStorage()
        self.server = FakeServer(self.storage)
        self.definition: BackupJob

    async def build(self, **values: Any) -> World:
        async def add(tx: Any) -> BackupJob:
            server = Server(
                name="web1", host="h", facts={"privilege": "sudo"}, host_key="ssh-ed25519 AAAA", state="ready"
            )
            pool = StoragePool(name="main", node="node1", path="/pool")
            node = BackupNode(name="node1", endpoint_host="n", endpoint_port=22, endpoint_user="borg")
            tx.session.add_all([server, pool, node])
            await tx.session.flush()
            repository = Repository(name="system", server_id=server.id, pool_id=pool.id, path="/pool/web1/system")
            tx.session.add(repository)
            await tx.session.flush()
            definition = BackupJob(
                **{"name": "web1-system", "server_id": server.id, "repository_id": repository.id, "sources": ["/etc"]}
                | values
            )
            tx.session.add(definition)
            await tx.secrets.put(FLEET_KEY, "key")
            limits = await tx.admission.limits()
            limits.per_server = None  # runs that a test lets fail are not ended here, and keep their places
            await tx.session.flush()
            return definition

        self.definition = await self.db.run(add)
        return self

    async def request(self) -> Job:
        return await self.db.run(lambda tx: request_backup(tx, self.definition))

    async def backup(self, job: Job) -> Context:
        ctx = Context(self.db, self.bus, key="k", lease_seconds=30)
        try:
            await make_backup(BackupRequested(job_id=job.id), ctx, storage=self.storage, servers=self.server)
        finally:
            await self.db.run(ctx.release)
        return ctx

    async def refused(self, job: Job) -> AppError:
        ctx = Context(self.db, self.bus, key="k", lease_seconds=30)
        with pytest.raises(AppError) as caught:
            await make_backup(BackupRequested(job_id=job.id), ctx, storage=self.storage, servers=self.server)
        await self.db.run(ctx.release)
        return caught.value

    async def delete(self, job: Job) -> None:
        ctx = Context(self.db, self.bus, key="k", lease_seconds=30)
        try:
            await work_on(ArchiveDelete(job_id=job.id), ctx, work=DELETE, storage=self.storage)
        finally:
            await self.db.run(ctx.release)

    async def keep(self, **policy: int) -> None:
        await self.db.run(
            lambda tx: tx.session.execute(update(Repository).values(retention=policy, prune_after_backup=False))
        )

    async def prune(self, **options: Any) -> Job:
        return await self.maintain(JobType.REPOSITORY_PRUNE, **options)

    async def maintain(self, kind: JobType, **options: Any) -> Job:
        repository = (await self.rows(Repository))[0].id
        job = await self.db.run(lambda tx: request_maintenance(tx, kind, repository, **options))
        ctx = Context(self.db, self.bus, key="k", lease_seconds=30)
        event, work = _UPKEEP[kind]
        try:
            await work_on(event(job_id=job.id), ctx, work=work, storage=self.storage)
        finally:
            await self.db.run(ctx.release)
        return await self.job(job)

    async def rows(self, kind: Any) -> list[Any]:
        async with self.db.read() as session:
            return list((await session.scalars(select(kind))).all())

    async def job(self, job: Job) -> Job:
        async with self.db.read() as session:
            return await session.get_one(Job, job.id)
