"""What schedules are for: backup jobs and repositories, with all that their runs need to be queued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import or_, select

from shared.db.stores.requests import retries_of
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.job import Job
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository, StoragePool
from shared.domain.job import JobState, JobType
from shared.domain.schedule import maintenance_name
from shared.domain.scheduled import Scheduled

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from services.scheduler.due import Verdict
    from shared.db.tables.schedule import Schedule
    from shared.db.unit_of_work import UnitOfWork

_UNDER_WAY = (JobState.QUEUED.value, JobState.RUNNING.value)
Key: TypeAlias = "tuple[str, uuid.UUID | None]"
"""What is done, and to which backup job or repository: of each there is one run at a time."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a schedule is for."""

    server: str
    repository: Repository
    node: str
    backup_job: BackupJob | None = None

    def name(self, task: str) -> str:
        """What people call it; its jitter comes from this."""
        return self.backup_job.name if self.backup_job else maintenance_name(self.server, self.repository.name, task)

    @property
    def enabled(self) -> bool:
        """Whether anything scheduled is to run."""
        return self.backup_job is None or self.backup_job.enabled

    def run(self, row: Schedule, verdict: Verdict) -> Job:
        """Return the run that is due, to be queued; its request key is what makes it once."""
        retries = retries_of(self.backup_job) if self.backup_job else {}
        return Job(
            type=row.task,
            title=f"{self.server} - {self.repository.name}",
            node=self.node,
            server_id=self.repository.server_id,
            repository_id=self.repository.id,
            backup_job_id=row.backup_job_id,
            request_key=f"schedule:{row.id.hex}:{row.due_at.isoformat()}",
            priority=self.backup_job.priority if self.backup_job else 0,
            params=retries | (row.params or {}) | scheduled_as(row, verdict).params(),
        )


def scheduled_as(row: Schedule, verdict: Verdict) -> Scheduled:
    """Return what a run has to know of its schedule."""
    return Scheduled(schedule_id=row.id, due_at=row.due_at, begin_by=verdict.begin_by, stop=row.stop_at_end)


def key_of(row: Schedule) -> Key:
    """Return what a schedule's runs do, and to what."""
    return row.task, row.backup_job_id or row.repository_id


async def targets_of(tx: UnitOfWork, rows: Sequence[Schedule]) -> dict[Key, Target]:
    """Return what schedules are for; nothing for what was deleted in this moment."""
    where = {row.backup_job_id for row in rows if row.backup_job_id}
    backups = (
        select(BackupJob, Server.name, Repository, StoragePool.node)
        .join(Server, Server.id == BackupJob.server_id)
        .join(Repository, Repository.id == BackupJob.repository_id)
        .join(StoragePool, StoragePool.id == Repository.pool_id)
        .where(BackupJob.id.in_(where))
    )
    maintenance = (
        select(Repository, Server.name, StoragePool.node)
        .join(Server, Server.id == Repository.server_id)
        .join(StoragePool, StoragePool.id == Repository.pool_id)
        .where(Repository.id.in_({row.repository_id for row in rows if row.repository_id}))
    )
    jobs = {
        job.id: Target(server, repository, node, job)
        for job, server, repository, node in await tx.session.execute(backups)
    }
    repositories = {
        repository.id: Target(server, repository, node)
        for repository, server, node in await tx.session.execute(maintenance)
    }
    found = {key_of(row): jobs.get(row.backup_job_id) if row.backup_job_id else None for row in rows}
    found |= {key_of(row): repositories.get(row.repository_id) for row in rows if row.repository_id}
    return {key: target for key, target in found.items() if target is not None}


async def under_way(tx: UnitOfWork, keys: Sequence[Key]) -> set[Key]:
    """Return of which of these a run is queued or running."""
    ids = [of for _, of in keys]
    query = select(Job.type, Job.backup_job_id, Job.repository_id).where(
        Job.state.in_(_UNDER_WAY), or_(Job.backup_job_id.in_(ids), Job.repository_id.in_(ids))
    )
    return {
        (kind, backup_job_id if kind == JobType.BACKUP_CREATE else repository_id)
        for kind, backup_job_id, repository_id in await tx.session.execute(query)
    }
