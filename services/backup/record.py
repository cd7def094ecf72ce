"""What a run leaves in the database: one transaction, safe to try again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from services.backup.ledger import forget, observed_at
from services.backup.measures import keep_measures
from services.backup.reconcile import freeze, is_sound, note_whole
from services.backup.verify import request_verify
from shared.db.repositories.requests import request_upkeep
from shared.db.repositories.retention import is_good, load_policies
from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive, Repository
from shared.domain.archive import maker
from shared.domain.job import JobState, JobType
from shared.events.archive import ArchiveDeleted
from shared.events.backup import BackupCompleted, BackupFailed

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from services.backup.create import Outcome
    from services.backup.delete import Deleted, DeletePlan
    from services.backup.ports import BackupPlan
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.archive import ArchiveFigures, RepositoryFigures
    from shared.domain.backup_state import Reason
    from shared.runtime.context import Context

_REASONS = 200
"""Of one archive; a backup job has a hundred sources at most."""


async def record_backup(tx: UnitOfWork, ctx: Context, plan: BackupPlan, outcome: Outcome) -> None:
    """Keep the archive's row, the repository's figures and the job's end."""
    verdict, figures = outcome.verdict, outcome.archive
    warnings = [*verdict.sentences, *([outcome.lost.reason] if outcome.lost else [])]
    state = JobState.WARNING if outcome.lost and verdict.state is JobState.SUCCEEDED else verdict.state
    result = {
        "archive": figures.name,
        "files": figures.files,
        "original_size": figures.original_size,
        "deduplicated_size": figures.deduplicated_size,
        "reasons": [reason.to_json() for reason in verdict.reasons[:_REASONS]],
    }
    if not await ctx.finish(tx, state, error=verdict.error, warnings=warnings, result=result):
        return
    archive = await _keep(tx, plan, figures, verdict.state, verdict.reasons)
    archive.job_id, archive.backup_job_id = plan.job_id, plan.backup_job_id
    archive.trusted = verdict.trusted
    archive.evidence = outcome.evidence.model_dump(mode="json")
    await forget(tx, plan.job_id, told=verdict.error is None)
    for found in outcome.found:
        row = await _keep(tx, plan, found.archive, JobState.WARNING, (found.reason,))
        row.job_id, row.backup_job_id = found.job_id, found.backup_job_id
        row.evidence = found.evidence.model_dump(mode="json")
        _, run = maker(found.archive.name) or (found.job_id, 0)
        if (at := await observed_at(tx, found.job_id, run)) is not None:
            row.created_at = at
        await forget(tx, found.job_id)
    await tx.session.flush()
    await request_verify(tx, archive)
    repository = await refresh_figures(tx, plan.repository.id, outcome.repository)
    if outcome.lost is not None:
        await freeze(tx, ctx, plan.repository.id, outcome.lost)
    if outcome.whole is not None:
        await note_whole(tx, plan.repository.id, outcome.whole)
    # After a doubtful run nothing goes by itself: what it should have held may be in an older archive only.
    prunes = repository.prune_after_backup and is_sound(repository) and is_good(archive)
    if prunes and await load_policies(tx.session, repository):
        key = f"prune-after:{plan.job_id}:{plan.run}"
        await request_upkeep(tx, JobType.REPOSITORY_PRUNE, repository.id, request_key=key)
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


async def _keep(
    tx: UnitOfWork, plan: BackupPlan, figures: ArchiveFigures, state: JobState, reasons: Sequence[Reason]
) -> Archive:
    """Put an archive on record, or bring its record up to date: it is the same archive by repository and borg's id."""
    ours = (Archive.repository_id == plan.repository.id, Archive.borg_id == figures.borg_id)
    archive = await tx.session.scalar(select(Archive).where(*ours))
    if archive is None:
        archive = Archive(repository_id=plan.repository.id, server_id=plan.repository.server_id)
        tx.session.add(archive)
    for name, value in figures.model_dump().items():
        setattr(archive, name, value)
    archive.state = state.value
    archive.reasons = [reason.to_json() for reason in reasons[:_REASONS]]
    return archive


async def record_deletion(tx: UnitOfWork, ctx: Context, plan: DeletePlan, deleted: Deleted) -> None:
    """Drop the archive's row, keep the repository's new figures and the job's end."""
    warnings = (f"not compacted: {deleted.lost.reason}",) if deleted.lost else ()
    state = JobState.WARNING if warnings else JobState.SUCCEEDED
    size = deleted.figures.deduplicated_size if deleted.figures else None
    result = {"archive": plan.name, "deduplicated_size": size}
    if not await ctx.finish(tx, state, warnings=warnings, result=result):
        return
    await keep_measures(tx, [plan.archive_id])
    await tx.session.execute(delete(Archive).where(Archive.id == plan.archive_id))
    await refresh_figures(tx, plan.repository.id, deleted.figures)
    if deleted.lost is not None:
        await freeze(tx, ctx, plan.repository.id, deleted.lost)
    if deleted.whole is not None:
        await note_whole(tx, plan.repository.id, deleted.whole)
    if ctx.job is not None:
        tx.emit(
            ArchiveDeleted(
                job_id=ctx.job.id,
                correlation_id=ctx.correlation_id,
                archive_id=plan.archive_id,
                repository_id=plan.repository.id,
            )
        )


async def refresh_figures(tx: UnitOfWork, repository_id: uuid.UUID, figures: RepositoryFigures | None) -> Repository:
    """Keep a repository's sizes, and how many archives it has."""
    repository = await tx.session.get_one(Repository, repository_id)
    count = (
        select(func.count()).select_from(Archive).where(Archive.repository_id == repository_id, Archive.lost.is_(False))
    )
    repository.archive_count = await tx.session.scalar(count) or 0
    if figures is not None:
        repository.original_size = figures.original_size
        repository.compressed_size = figures.compressed_size
        repository.deduplicated_size = figures.deduplicated_size
        repository.refreshed_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - a SQL expression is assignable
    return repository
