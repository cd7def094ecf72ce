"""What the backup service does with each message: claim, act, record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.backup.create import run_backup
from services.backup.delete import load_delete, run_delete
from services.backup.plan import backup_job_named, load_plan
from services.backup.record import record_backup, record_deletion
from shared.db.repositories.requests import request_backup, request_delete, requested_before
from shared.db.tables.storage import Archive
from shared.domain.job import JobState
from shared.errors import Permanent
from shared.events.backup import BackupFailed, BackupStarted
from shared.runtime.crashpoint import crashpoint

if TYPE_CHECKING:
    import uuid

    from services.backup.ports import Servers, Storage
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.errors import AppError
    from shared.events.archive import ArchiveDelete
    from shared.events.backup import BackupRequested
    from shared.events.base import Command
    from shared.runtime.context import Context


async def make_backup(event: BackupRequested, ctx: Context, *, storage: Storage, servers: Servers) -> None:
    """Claim the job, run borg, record the archive; a second delivery finds no claim."""
    job = await ctx.claim(_job_id(event))
    if job is None:
        return

    plan = await ctx.run(lambda tx: load_plan(tx, job))
    repository = plan.repository
    epoch = await ctx.hold(repository.lease, repository.shown_as, on_beat=lambda e: storage.permit(repository, e))
    await ctx.run(lambda tx: _announce(tx, job))
    async with storage.open(repository, epoch) as grant:
        outcome = await run_backup(plan, grant, ctx, storage=storage, servers=servers)

    crashpoint("after_borg_before_commit")
    await ctx.run(lambda tx: record_backup(tx, ctx, plan, outcome))


async def delete_archive(event: ArchiveDelete, ctx: Context, *, storage: Storage) -> None:
    """Claim the job, delete and compact, bring the records up to date; absent is success."""
    job = await ctx.claim(_job_id(event))
    if job is None:
        return

    plan = await ctx.run(lambda tx: load_delete(tx, job))
    if plan is None:
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED, result={"absent": True}))
        return
    repository = plan.repository
    epoch = await ctx.hold(repository.lease, repository.shown_as, on_beat=lambda e: storage.permit(repository, e))
    async with storage.open(repository, epoch) as grant:
        deleted = await run_delete(plan, grant, ctx, storage=storage)

    crashpoint("after_delete_before_commit")
    await ctx.run(lambda tx: record_deletion(tx, ctx, plan, deleted))


async def place_backup(event: BackupRequested, ctx: Context) -> None:
    """Make a job of an outside request, for the node that holds the repository; once per message."""

    async def place(tx: UnitOfWork) -> None:
        if not await requested_before(tx, ctx.key):
            definition = await backup_job_named(tx, event.backup_job)
            await request_backup(tx, definition, request_key=ctx.key)

    await ctx.run(place)


async def place_delete(event: ArchiveDelete, ctx: Context) -> None:
    """Make a job of an outside request to delete; once per message."""

    async def place(tx: UnitOfWork) -> None:
        if await requested_before(tx, ctx.key):
            return
        archive = await tx.session.get(Archive, event.archive_id) if event.archive_id else None
        if archive is None:
            message = f"no backup with the id {event.archive_id}"
            raise Permanent(message, code="archive_unknown", remedy="give `archive_id` as GET /api/backups shows it")
        await request_delete(tx, archive, request_key=ctx.key)

    await ctx.run(place)


async def announce_failure(tx: UnitOfWork, job: Job, error: AppError) -> None:
    """Tell the world that a run made no trustworthy archive."""
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


def _job_id(event: Command) -> uuid.UUID:
    if event.job_id is None:
        message = "a message for a backup node names its job"
        raise Permanent(
            message, code="job_missing", remedy="publish without the node: `backup.requested` with `backup_job`"
        )
    return event.job_id


async def _announce(tx: UnitOfWork, job: Job) -> None:
    if job.backup_job_id and job.server_id:
        tx.emit(
            BackupStarted(
                job_id=job.id,
                correlation_id=job.correlation_id,
                backup_job_id=job.backup_job_id,
                server_id=job.server_id,
            )
        )
