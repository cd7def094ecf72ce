"""What a run leaves in the database: one transaction, safe to try again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from services.backup.create.ledger import forget, observed_at
from services.backup.inventory.figures import refresh_figures
from services.backup.inventory.past import restored_lately
from services.backup.inventory.proof import remember_inventory
from services.backup.inventory.reconcile import freeze, is_sound, record_inventory
from services.backup.inventory.verify import request_verify
from shared.borg.journal import Entry, Made
from shared.db.clock import read_now
from shared.db.queries.retention import is_good, load_policies
from shared.db.stores.requests import AFTER_BACKUP, request_maintenance
from shared.db.tables.storage import Archive
from shared.domain.archive import maker
from shared.domain.job import JobState, JobType
from shared.errors import AppError, LeaseLost
from shared.events.backup import BackupCompleted, BackupFailed, BackupStarted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.backup.create.run import Outcome
    from services.backup.ports import BackupPlan, Storage
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.archive import ArchiveFigures
    from shared.domain.backup_state import Reason
    from shared.runtime.context import Context

_REASONS = 200
"""Of one archive; a backup job has a hundred sources at most."""


async def record_backup(tx: UnitOfWork, ctx: Context, plan: BackupPlan, outcome: Outcome) -> None:
    """Keep the archive's row, the repository's figures and the job's end."""
    verdict, figures = outcome.verdict, outcome.archive
    warnings = [*verdict.said, *([outcome.missing.said] if outcome.missing else [])]
    state = JobState.WARNING if outcome.missing and verdict.state is JobState.SUCCEEDED else verdict.state
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
    if outcome.missing is not None:
        await freeze(tx, ctx, plan.repository.id, outcome.missing)
    if outcome.inventory is not None:
        await record_inventory(tx, plan.repository.id, outcome.inventory)
    # After a doubtful run nothing goes by itself: what it should have held may be in an older archive only.
    prunes = repository.prune_after_backup and is_sound(repository) and is_good(archive)
    prunes = prunes and not await restored_lately(tx, repository)
    if prunes and await load_policies(tx.session, repository):
        key = f"{AFTER_BACKUP}{plan.job_id}:{plan.run}"
        await request_maintenance(tx, JobType.REPOSITORY_PRUNE, repository.id, request_key=key)
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


async def announce(tx: UnitOfWork, job: Job, plan: BackupPlan) -> BackupPlan:
    """Tell the world that a run begins: its repository is its own now, and its plan is as it was read."""
    if job.backup_job_id and job.server_id:
        tx.emit(
            BackupStarted(
                job_id=job.id,
                correlation_id=job.correlation_id,
                backup_job_id=job.backup_job_id,
                server_id=job.server_id,
            )
        )
    return plan


async def remember(plan: BackupPlan, outcome: Outcome, ctx: Context, storage: Storage) -> None:
    """Keep outside the database what a restored one would not know: the manifest, and the archive that was made."""
    await remember_inventory(ctx, storage, plan.repository, outcome.inventory)
    await remember_made(ctx, storage, plan, outcome)


async def remember_made(ctx: Context, storage: Storage, plan: BackupPlan, outcome: Outcome) -> None:
    """Let the node remember what is about to be put on record: a database restored from a backup does not know it."""
    verdict = outcome.verdict
    at = await ctx.run(lambda tx: read_now(tx.session))
    made = Made(
        figures=outcome.archive, job_id=plan.job_id.hex, backup_job_id=plan.backup_job_id.hex,
        state=verdict.state.value, trusted=verdict.trusted,
        **Made.reasons_of([reason.to_json() for reason in verdict.reasons[:_REASONS]]),
        evidence=outcome.evidence.model_dump(mode="json"), created_at=at,
    )  # fmt: skip
    later = [
        Made(
            figures=one.archive, job_id=one.job_id.hex, backup_job_id=one.backup_job_id.hex,
            state=JobState.WARNING.value, **Made.reasons_of([one.reason.to_json()]),
            evidence=one.evidence.model_dump(mode="json"), created_at=at,
        )
        for one in outcome.found
    ]  # fmt: skip
    try:
        await storage.remember(plan.repository, *(Entry(made=one) for one in (made, *later)))
    except LeaseLost:
        raise
    except AppError as error:  # the archive is whole, and is recorded
        ctx.log("warning", "kernel", f"the node's journal of {plan.repository.label} is behind: {error.message}")


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
