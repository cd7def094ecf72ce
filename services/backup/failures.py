"""What the world hears of a run that failed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.backup.inventory.reconcile import quarantine
from services.backup.window import MISSED
from shared.borg.exit_codes import ROLLED_BACK
from shared.db.stores.missed import record_missed
from shared.domain.asked import Asked
from shared.events.backup import BackupFailed

if TYPE_CHECKING:
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.errors import AppError

_WHY_MISSED = {MISSED: "window", "server_unreachable": "unreachable"}
"""Why a run failed -> why it was missed."""


async def announce_failure(tx: UnitOfWork, job: Job, error: AppError) -> None:
    """Tell the world that a run made no trustworthy archive, and that a scheduled one had no chance to begin.

    A repository that is older than its borg remembers is frozen: what it holds now is not what we left in it.
    """
    scheduled = Asked.or_nothing(job.params).scheduled
    if scheduled and error.code in _WHY_MISSED:
        record_missed(tx, job, scheduled, code=_WHY_MISSED[error.code], said=error.said)
    if error.code == ROLLED_BACK and job.repository_id:
        await quarantine(tx, job, job.repository_id, error.said, code=error.code)
    if job.backup_job_id and job.server_id:
        tx.emit(
            BackupFailed(
                job_id=job.id,
                correlation_id=job.correlation_id,
                backup_job_id=job.backup_job_id,
                server_id=job.server_id,
                code=error.code,
                reason=error.message,
            )
        )
