"""Runs that were due and were not made: kept, and told to the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.db.tables.schedule import MissedRun
from shared.events.backup import BackupMissed
from shared.events.repository import UpkeepMissed

if TYPE_CHECKING:
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.scheduled import Scheduled


def note_missed(tx: UnitOfWork, job: Job, scheduled: Scheduled, *, code: str, reason: str) -> None:
    """Keep that a run was missed; `job` is the run, whether it was queued or not."""
    tx.session.add(
        MissedRun(
            schedule_id=scheduled.schedule_id,
            backup_job_id=job.backup_job_id,
            repository_id=None if job.backup_job_id else job.repository_id,
            task=job.type,
            due_at=scheduled.due_at,
            code=code,
            reason=reason,
        )
    )
    if job.backup_job_id and job.server_id:
        tx.emit(
            BackupMissed(
                backup_job_id=job.backup_job_id,
                server_id=job.server_id,
                due_at=scheduled.due_at,
                code=code,
                reason=reason,
            )
        )
    elif job.repository_id:
        tx.emit(
            UpkeepMissed(
                repository_id=job.repository_id, task=job.type, due_at=scheduled.due_at, code=code, reason=reason
            )
        )
