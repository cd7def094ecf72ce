"""What schedules are for: backup jobs and repositories, with all that their runs need to be queued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import or_, select

from shared.db.repositories.requests import retries_of
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.job import Job
from shared.db.tables.schedule import MissedRun
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository, StoragePool
from shared.domain.job import JobState, JobType
from shared.domain.schedule import upkeep_name
from shared.events.backup import BackupMissed
from shared.events.repository import UpkeepMissed

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from datetime import datetime

    from services.scheduler.due import Verdict
    from shared.db.tables.schedule import Schedule
    from shared.db.unit_of_work import UnitOfWork

_UNDER_WAY = (JobState.QUEUED.value, JobState.RUNNING.value)
_SHORTEST_BUDGET = 60
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
        return self.backup_job.name if self.backup_job else upkeep_name(self.server, self.repository.name, task)

    @property
    def enabled(self) -> bool:
        """Whether anything scheduled is to run."""
        return self.backup_job is None or self.backup_job.enabled

    def run(self, row: Schedule, verdict: Verdict, now: datetime) -> Job:
        """Return the run that is due, to be queued; its request key is what makes it once."""
        return Job(
            type=row.task,
            title=f"{self.server} - {self.repository.name}",
            node=self.node,
            server_id=self.repository.server_id,
            repository_id=self.repository.id,
            backup_job_id=row.backup_job_id,
            request_key=f"schedule:{row.id.hex}:{row.due_at.isoformat()}",
            priority=self.backup_job.priority if self.backup_job else 0,
            params=(retries_of(self.backup_job) if self.backup_job else {}) | _params(row, verdict.stop_at, now),
        )

    def missed(self, row: Schedule, verdict: Verdict) -> tuple[MissedRun, BackupMissed | UpkeepMissed]:
        """Return what is kept of a run that was not made, and what the world is told."""
        why: dict[str, Any] = {"due_at": row.due_at, "code": verdict.missed, "reason": verdict.reason}
        kept = MissedRun(
            schedule_id=row.id,
            backup_job_id=row.backup_job_id,
            repository_id=row.repository_id,
            task=row.task,
            **why,
        )
        if self.backup_job is not None:
            return kept, BackupMissed(backup_job_id=self.backup_job.id, server_id=self.backup_job.server_id, **why)
        return kept, UpkeepMissed(repository_id=self.repository.id, task=row.task, **why)


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
    upkeep = (
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
        repository.id: Target(server, repository, node) for repository, server, node in await tx.session.execute(upkeep)
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


def _params(row: Schedule, stop_at: datetime | None, now: datetime) -> dict[str, Any]:
    """Say what a run is asked for; a window that ends it ends a check by its budget."""
    params = dict(row.params or {})
    if stop_at is not None and row.task == JobType.REPOSITORY_CHECK:
        left = int((stop_at - now).total_seconds())
        params["budget_seconds"] = max(_SHORTEST_BUDGET, min(left, params.get("budget_seconds") or left))
    elif stop_at is not None:
        params["stop_at"] = stop_at.isoformat()
    return params
