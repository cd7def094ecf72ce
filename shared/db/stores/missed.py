"""Runs that were due and were not made: kept, and told to the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.db.tables.schedule import MissedRun
from shared.domain.messages import stored
from shared.events.backup import BackupMissed
from shared.events.repository import MaintenanceMissed

if TYPE_CHECKING:
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.message import Said
    from shared.domain.scheduled import Scheduled


def record_missed(tx: UnitOfWork, job: Job, scheduled: Scheduled, *, code: str, said: Said) -> None:
    """Keep that a run was missed; `job` is the run, whether it was queued or not."""
    tx.session.add(
        MissedRun(
            schedule_id=scheduled.schedule_id,
            backup_job_id=job.backup_job_id,
            repository_id=None if job.backup_job_id else job.repository_id,
            task=job.type,
            due_at=scheduled.due_at,
            code=code,
            reason=said.text,
            message=stored(said),
        )
    )
    if job.backup_job_id and job.server_id:
        tx.emit(
            BackupMissed(
                backup_job_id=job.backup_job_id,
                server_id=job.server_id,
                due_at=scheduled.due_at,
                code=code,
                reason=said.text,
            )
        )
    elif job.repository_id:
        tx.emit(
            MaintenanceMissed(
                repository_id=job.repository_id, task=job.type, due_at=scheduled.due_at, code=code, reason=said.text
            )
        )
