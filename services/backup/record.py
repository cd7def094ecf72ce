"""What a run leaves in the database: one transaction, safe to try again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive, Repository
from shared.domain.job import JobState
from shared.events.archive import ArchiveDeleted
from shared.events.backup import BackupCompleted, BackupFailed

if TYPE_CHECKING:
    import uuid

    from services.backup.create import Outcome
    from services.backup.delete import Deleted, DeletePlan
    from services.backup.ports import BackupPlan
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.archive import RepositoryFigures
    from shared.runtime.context import Context


async def record_backup(tx: UnitOfWork, ctx: Context, plan: BackupPlan, outcome: Outcome) -> None:
    """Keep the archive's row, the repository's figures and the job's end."""
    verdict, figures = outcome.verdict, outcome.archive
    archive = Archive(
        repository_id=plan.repository.id,
        server_id=plan.repository.server_id,
        backup_job_id=plan.backup_job_id,
        job_id=plan.job_id,
        state=verdict.state.value,
        **figures.model_dump(),
    )
    result = {
        "archive": figures.name,
        "files": figures.files,
        "original_size": figures.original_size,
        "deduplicated_size": figures.deduplicated_size,
    }
    if not await ctx.finish(tx, verdict.state, error=verdict.error, warnings=verdict.reasons, result=result):
        return
    tx.session.add(archive)
    await tx.session.flush()
    await _refresh(tx, plan.repository.id, outcome.repository)
    base = {
        "job_id": plan.job_id,
        "correlation_id": ctx.correlation_id,
        "backup_job_id": plan.backup_job_id,
        "server_id": plan.repository.server_id,
    }
    if verdict.error:
        tx.emit(BackupFailed(**base, code=verdict.error.code, reason=verdict.error.message))
        return
    tx.emit(
        BackupCompleted(
            **base,
            archive_id=archive.id,
            state=verdict.state.value,
            files=figures.files,
            original_size=figures.original_size,
            deduplicated_size=figures.deduplicated_size,
        )
    )


async def record_deletion(tx: UnitOfWork, ctx: Context, plan: DeletePlan, deleted: Deleted) -> None:
    """Drop the archive's row, keep the repository's new figures and the job's end."""
    state = JobState.WARNING if deleted.warnings else JobState.SUCCEEDED
    result = {"archive": plan.name, "deduplicated_size": deleted.figures.deduplicated_size}
    if not await ctx.finish(tx, state, warnings=deleted.warnings, result=result):
        return
    await tx.session.execute(delete(Archive).where(Archive.id == plan.archive_id))
    await _refresh(tx, plan.repository.id, deleted.figures)
    if ctx.job is not None:
        tx.emit(
            ArchiveDeleted(
                job_id=ctx.job.id,
                correlation_id=ctx.correlation_id,
                archive_id=plan.archive_id,
                repository_id=plan.repository.id,
            )
        )


async def _refresh(tx: UnitOfWork, repository_id: uuid.UUID, figures: RepositoryFigures | None) -> None:
    repository = await tx.session.get_one(Repository, repository_id)
    count = select(func.count()).select_from(Archive).where(Archive.repository_id == repository_id)
    repository.archive_count = await tx.session.scalar(count) or 0
    if figures is not None:
        repository.original_size = figures.original_size
        repository.compressed_size = figures.compressed_size
        repository.deduplicated_size = figures.deduplicated_size
        repository.refreshed_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - a SQL expression is assignable
