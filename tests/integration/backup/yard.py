"""One server with its backup jobs, driven by the real handler as a worker would drive it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from sqlalchemy import select, update

from services.backup.create.remote import RemoteServers
from services.backup.failures import announce_failure
from services.backup.handlers import DELETE, PRUNE, make_backup
from services.backup.node.storage import NodeStorage
from services.backup.work import work_on
from shared.borg.node import BorgNode
from shared.bus.memory import MemoryBus
from shared.config.settings import SshSettings
from shared.db.session import Database
from shared.db.stores.requests import request_backup, request_delete, request_maintenance
from shared.db.stores.secrets import FLEET_KEY
from shared.db.tables import Archive, BackupJob, BackupNode, Job, JobLog, Repository, Server, StoragePool, db_now
from shared.domain.job import JobType
from shared.events.archive import ArchiveDelete
from shared.events.backup import BackupRequested
from shared.events.repository import RepositoryPrune
from shared.runtime.context import Abort, Context
from shared.runtime.disposition import Verdict, decide, dispose
from shared.ssh.asyncssh import AsyncSsh
from shared.testing.sshd import PrivateSshd, login_user
from tests.harness.patience import WAIT

NODES_BORG = str(Path(sys.executable).parent / "borg")
SERVERS_BORG = "/usr/bin/borg"


class Yard:
    """Everything of a run but the message kernel."""

    def __init__(self, directory: Path, db: Database, bus: MemoryBus, sshd: PrivateSshd, tools: Path) -> None:
        self.directory, self.db, self.bus, self.sshd, self.tools = directory, db, bus, sshd, tools
        self.ssh = AsyncSsh(SshSettings(connect_timeout=WAIT, login_timeout=WAIT, keepalive_interval=WAIT))
        self.node = BorgNode(NODES_BORG, directory / "state")
        self.storage = NodeStorage(self.node, 600)
        self.servers = RemoteServers(self.ssh, self.node, WAIT)
        self.pool = directory / "pool"
        self.server_id: Any = None
        self.pool_id: Any = None

    async def build(self, private_key: str) -> None:
        self.pool.mkdir()
        host_key = await self.ssh.host_key("127.0.0.1", self.sshd.port)

        async def add(tx: Any) -> tuple[Any, Any]:
            server = Server(name="web1", host="127.0.0.1", port=self.sshd.port, username=login_user(), host_key=host_key,
                            state="ready", facts={"privilege": "root"})  # fmt: skip
            pool = StoragePool(name="main", node="node1", path=str(self.pool))
            tx.session.add_all(
                [server, pool, BackupNode(name="node1", endpoint_host="n", endpoint_port=22, endpoint_user="borg")]
            )
            await tx.secrets.put(FLEET_KEY, private_key)
            limits = await tx.admission.limits()
            limits.fleet = limits.per_server = limits.per_pool = None
            await tx.session.flush()
            return server.id, pool.id

        self.server_id, self.pool_id = await self.db.run(add)

    async def backup_job(self, *sources: Path | str, name: str = "job", **values: Any) -> BackupJob:
        """Make a backup job with a repository of its own."""

        async def add(tx: Any) -> BackupJob:
            path = str(self.pool / "web1" / name)
            repository = Repository(name=name, server_id=self.server_id, pool_id=self.pool_id, path=path,
                                    retention=values.pop("retention", None))  # fmt: skip
            tx.session.add(repository)
            await tx.session.flush()
            usual: dict[str, Any] = {"sources": [str(source) for source in sources], "compression": "none"}
            definition = BackupJob(name=name, server_id=self.server_id, repository_id=values.pop(
                "repository_id", repository.id), **usual | values)  # fmt: skip
            tx.session.add(definition)
            await tx.session.flush()
            return definition

        return await self.db.run(add)

    async def request(self, definition: BackupJob) -> Job:
        return await self.db.run(lambda tx: request_backup(tx, definition))

    def start(self, job: Job) -> tuple[Context, asyncio.Task[None]]:
        """Begin an attempt."""
        ctx = Context(self.db, self.bus, key="k", lease_seconds=600)
        run = make_backup(BackupRequested(job_id=job.id), ctx, storage=self.storage, servers=self.servers)
        return ctx, asyncio.create_task(run)

    async def attempt(self, job: Job) -> BaseException | None:
        """Run an attempt to its end, and dispose of it as the kernel does."""
        ctx, task = self.start(job)
        return await self.dispose(ctx, task, job)

    async def dispose(self, ctx: Context, task: asyncio.Task[None], job: Job) -> BaseException | None:
        """Await an attempt's end and do with its job what the kernel does; a run that is put back is due at once."""
        done, _ = await asyncio.wait({task}, timeout=3 * WAIT)
        assert done, await self.log(job)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        decision = replace(decide(error, ctx, max_failures=3), delay=0.0)
        if decision.verdict is Verdict.LOST:
            lost = update(Job).where(Job.id == job.id).values(state="queued", lease=None, lease_until=None)
            await self.db.run(lambda tx: tx.session.execute(lost))
            await self.db.run(ctx.release)
        else:
            await dispose(decision, cast("Any", _Delivery()), ctx, self.bus, announce_failure)
        due = update(Job).where(Job.id == job.id, Job.state == "queued").values(sent_at=db_now(), waiting_for=None)
        await self.db.run(lambda tx: tx.session.execute(due))
        return error

    async def run(self, definition: BackupJob, *states: str, job: Job | None = None) -> Job:
        """Run a backup job to its end, in as many attempts as it takes; it must end in one of these states."""
        job = job or await self.request(definition)
        error: BaseException | None = None
        while (await self.job(job)).state == "queued":
            error = await self.attempt(job)
        ended = await self.job(job)
        said = f"{ended.state} {ended.code} {ended.warnings} {error!r}\n{await self.log(job)}"
        assert not states or ended.state in states, said
        return ended

    async def prune(self, definition: BackupJob) -> Job:
        """Prune a backup job's repository by its retention."""
        job = await self.db.run(lambda tx: request_maintenance(tx, JobType.REPOSITORY_PRUNE, definition.repository_id))
        ctx = Context(self.db, self.bus, key="k", lease_seconds=600)
        await work_on(RepositoryPrune(job_id=job.id), ctx, work=PRUNE, storage=self.storage)
        return await self.job(job)

    async def delete(self, archive: Archive) -> Job:
        """Delete an archive, as a person asks for."""
        job = await self.db.run(lambda tx: request_delete(tx, archive))
        ctx = Context(self.db, self.bus, key="k", lease_seconds=600)
        await work_on(ArchiveDelete(job_id=job.id), ctx, work=DELETE, storage=self.storage)
        return await self.job(job)

    async def job(self, job: Job) -> Job:
        async with self.db.read() as session:
            return await session.get_one(Job, job.id)

    async def log(self, job: Job) -> str:
        async with self.db.read() as session:
            lines = await session.scalars(select(JobLog).where(JobLog.job_id == job.id).order_by(JobLog.seq))
            return "\n".join(f"{line.level} {line.source} {line.message}" for line in lines)

    async def archives(self, definition: BackupJob) -> list[Archive]:
        """Return a backup job's archives on record, the oldest first."""
        mine = select(Archive).where(Archive.backup_job_id == definition.id).order_by(Archive.created_at)
        async with self.db.read() as session:
            return list(await session.scalars(mine))

    async def accept(self, archive: Archive) -> None:
        """Accept a doubtful archive, as a person would."""
        said = update(Archive).where(Archive.id == archive.id).values(accepted_at=db_now(), accepted_reason="right so")
        await self.db.run(lambda tx: tx.session.execute(said))

    async def retry(self, job: Job) -> Job:
        """Retry an ended job."""
        ended = await self.job(job)
        assert await self.db.run(lambda tx: tx.jobs.retry(ended))
        due = update(Job).where(Job.id == job.id).values(sent_at=db_now(), waiting_for=None)
        await self.db.run(lambda tx: tx.session.execute(due))
        return ended

    def cancel(self, ctx: Context, task: asyncio.Task[None], reason: Abort = Abort.CANCELLED) -> None:
        """Stop a run as the kernel does."""
        ctx.abort = reason
        task.cancel()

    async def until(self, path: Path) -> None:
        """Wait until a file is there."""
        async with asyncio.timeout(WAIT):
            while not path.exists():
                await asyncio.sleep(0.02)

    def wrap_borg(self, script: str) -> None:
        """Put a script in the place of the server's borg; `$BORG` is the real one. Without one the real one is back."""
        borg = self.tools / "borg"
        borg.unlink()
        if script:
            borg.write_text(f"#!/bin/sh\nBORG={SERVERS_BORG}\n{script}\n")
            borg.chmod(0o755)
        else:
            borg.symlink_to(SERVERS_BORG)


class _Delivery:
    """A message that is done with, one way or another."""

    async def ack(self) -> None:
        return

    async def nak(self, delay: float = 0.0) -> None:
        return

    async def term(self) -> None:
        return


def files(directory: Path, count: int, size: int = 100) -> Path:
    """Fill a directory with random files."""
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (directory / f"f{number:03}").write_bytes(os.urandom(size))
    return directory


def emptied(directory: Path) -> None:
    """Leave a directory without anything in it, as an unmounted one is."""
    subprocess.run(["rm", "-r", str(directory)], check=True)
    directory.mkdir()
