"""What the backup service does with each message: claim, act, record."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from services.backup.create.record import record_backup, remember_made
from services.backup.create.run import run_backup
from services.backup.create.shielded import to_its_end
from services.backup.inventory.fence import judged, shut_out_at_last
from services.backup.inventory.past import catch_up, journaled
from services.backup.inventory.proof import Manner, proven, remember_whole, told_of_its_pool
from services.backup.inventory.reconcile import quarantine
from services.backup.inventory.recover import load_recover, place_to_recover, record_recover, run_recover
from services.backup.inventory.verified import record_verify
from services.backup.inventory.verify import load_verify, place_to_verify, run_verify
from services.backup.maintenance.check import load_check, place_to_check, record_check, run_check
from services.backup.maintenance.compact import load_compact, place_to_compact, record_compact, run_compact
from services.backup.maintenance.delete import load_delete, place_of, record_deletion, run_delete
from services.backup.maintenance.prune import load_prune, place_to_prune, record_prune, run_prune
from services.backup.node.pools import require_place
from services.backup.plan import backup_job_named, load_plan
from services.backup.window import MISSED, in_its_window
from shared.borg.exit_codes import ROLLED_BACK
from shared.db.stores.missed import note_missed
from shared.db.stores.requests import request_backup, request_delete, request_upkeep, requested_before
from shared.db.tables.storage import Archive, Repository
from shared.domain.asked import Asked
from shared.domain.job import JobState, JobType
from shared.errors import Permanent
from shared.events.backup import BackupFailed, BackupStarted
from shared.runtime.context import Abort
from shared.runtime.crashpoint import crashpoint

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncGenerator

    from services.backup.ports import RepositoryPlace, Servers, Storage
    from shared.borg.node import Grant
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.errors import AppError
    from shared.events.archive import ArchiveDelete
    from shared.events.backup import BackupRequested
    from shared.events.base import Command
    from shared.events.repository import (
        RepositoryCheck,
        RepositoryCompact,
        RepositoryPrune,
        RepositoryRecover,
        RepositoryVerify,
        Upkeep,
    )
    from shared.runtime.context import Context


_WHY_MISSED = {MISSED: "window", "server_unreachable": "unreachable"}
"""Why a run failed -> why it was missed."""


async def make_backup(event: BackupRequested, ctx: Context, *, storage: Storage, servers: Servers) -> None:
    """Claim the job, run borg, record the archive; a second delivery finds no claim."""
    job = await ctx.claim(_job_id(event))
    if job is None:
        return

    plan = await ctx.run(lambda tx: load_plan(tx, job))
    judged_now = asyncio.Event()

    async def run() -> None:
        async with _ours(ctx, storage, plan.repository) as grant:
            await ctx.run(lambda tx: _announce(tx, job))
            outcome = await run_backup(plan, grant, ctx, storage=storage, servers=servers)
            judged_now.set()
            await remember_whole(ctx, storage, plan.repository, outcome.whole)
            await remember_made(ctx, storage, plan, outcome)

        crashpoint("after_borg_before_commit")
        await ctx.run(lambda tx: record_backup(tx, ctx, plan, outcome))

    # A cancellation between the verdict and the record comes too late: the archive would be on nobody's list.
    await to_its_end(run(), give_up=lambda: not judged_now.is_set() or ctx.abort is not Abort.CANCELLED)


async def delete_archive(event: ArchiveDelete, ctx: Context, *, storage: Storage) -> None:
    """Claim the job, delete and compact, bring the records up to date; absent is success."""
    job = await ctx.claim(_job_id(event))
    if job is None:
        return

    place = await ctx.run(lambda tx: place_of(tx, job))
    if place is None:
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED, result={"absent": True}))
        return
    async with _ours(ctx, storage, place) as grant:
        plan = await ctx.run(lambda tx: load_delete(tx, job, place))
        deleted = await run_delete(plan, grant, ctx, storage=storage)

    crashpoint("after_delete_before_commit")
    await ctx.run(lambda tx: record_deletion(tx, ctx, plan, deleted))


async def prune_repository(event: RepositoryPrune, ctx: Context, *, storage: Storage) -> None:
    """Claim the job, delete what retention drops, compact, bring the records up to date; a loss freezes it."""
    job = await ctx.claim(_job_id(event))
    if job is None:
        return

    place = await ctx.run(lambda tx: place_to_prune(tx, job))
    async with in_its_window(ctx, job), _ours(ctx, storage, place) as grant:
        plan = await ctx.run(lambda tx: load_prune(tx, job, place))
        pruned = await run_prune(plan, grant, ctx, storage=storage)

    crashpoint("after_delete_before_commit")
    await ctx.run(lambda tx: record_prune(tx, ctx, plan, pruned))


async def compact_repository(event: RepositoryCompact, ctx: Context, *, storage: Storage) -> None:
    """Claim the job, free what deleted archives held, bring the records up to date; a loss freezes it."""
    job = await ctx.claim(_job_id(event))
    if job is None:
        return

    place = await ctx.run(lambda tx: place_to_compact(tx, job))
    async with in_its_window(ctx, job), _ours(ctx, storage, place) as grant:
        plan = await ctx.run(lambda tx: load_compact(tx, place))
        compacted = await run_compact(plan, grant, ctx, storage=storage)
    await ctx.run(lambda tx: record_compact(tx, ctx, plan, compacted))


async def check_repository(event: RepositoryCheck, ctx: Context, *, storage: Storage) -> None:
    """Claim the job, look whether all is sound, mark what is not; a loss freezes it."""
    job = await ctx.claim(_job_id(event))
    if job is None:
        return

    place, manner = await ctx.run(lambda tx: place_to_check(tx, job)), Manner(examines=True)
    async with _ours(ctx, storage, place, manner) as grant:
        plan = await ctx.run(lambda tx: load_check(tx, job, place))
        checked = await run_check(plan, grant, ctx, storage=storage)
    checked = checked.and_damaged(manner.damage)
    await ctx.run(lambda tx: record_check(tx, ctx, plan, checked))


async def verify_repository(event: RepositoryVerify, ctx: Context, *, storage: Storage) -> None:
    """Claim the job, read and decrypt what is new, mark what is garbage; no lease is taken, and no backup waits."""
    job = await ctx.claim(_job_id(event))
    if job is None:
        return

    place = await ctx.run(lambda tx: place_to_verify(tx, job))
    await catch_up(ctx, storage, place)  # what our own compaction took since is no damage
    plan = await ctx.run(lambda tx: load_verify(tx, job, place))
    if plan is None:
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED, result={"finished": True, "objects": 0}))
        return
    await require_place(ctx, storage, plan.repository)
    async with told_of_its_pool(ctx, storage, plan.repository):
        verified = await run_verify(plan, ctx, storage=storage)
    finished = verified.reached >= plan.upto
    await ctx.run(lambda tx: record_verify(tx, ctx, plan.repository.id, verified, finished=finished))


async def recover_repository(event: RepositoryRecover, ctx: Context, *, storage: Storage) -> None:
    """Claim the job, put back what was changed without our doing, let go what was cured."""
    job = await ctx.claim(_job_id(event))
    if job is None:
        return

    place = await ctx.run(lambda tx: place_to_recover(tx, job))
    async with _ours(ctx, storage, place, Manner(told=False, examines=True, anew=True)) as grant:
        plan = await ctx.run(lambda tx: load_recover(tx, place))
        recovered = await run_recover(plan, grant, ctx, storage=storage)
    await ctx.run(lambda tx: record_recover(tx, ctx, plan, recovered))


async def place_upkeep(event: Upkeep, ctx: Context, *, kind: JobType) -> None:
    """Make a job of an outside request to prune, compact or check; once per message."""
    params = event.model_dump(mode="json", include={"depth", "budget_seconds"})

    async def place(tx: UnitOfWork) -> None:
        if await requested_before(tx, ctx.key):
            return
        if event.repository_id is None or await tx.session.get(Repository, event.repository_id) is None:
            message = f"no repository with the id {event.repository_id}"
            remedy = "give `repository_id` as GET /api/repositories shows it"
            raise Permanent(message, code="repository_unknown", remedy=remedy)
        await request_upkeep(tx, kind, event.repository_id, request_key=ctx.key, **params)

    await ctx.run(place)


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
    """Tell the world that a run made no trustworthy archive, and that a scheduled one had no chance to begin.

    A repository that is older than its borg remembers is frozen: what it holds now is not what we left in it.
    """
    scheduled = Asked.or_nothing(job.params).scheduled
    if scheduled and error.code in _WHY_MISSED:
        note_missed(tx, job, scheduled, code=_WHY_MISSED[error.code], reason=error.message)
    if error.code == ROLLED_BACK and job.repository_id:
        await quarantine(tx, job, job.repository_id, error.message, code=error.code)
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


@contextlib.asynccontextmanager
async def _ours(
    ctx: Context, storage: Storage, place: RepositoryPlace, manner: Manner | None = None
) -> AsyncGenerator[Grant]:
    """Be the one writer to a repository, across the fleet, for as long as this lasts."""
    epoch = await ctx.hold(place.lease, place.shown_as, on_beat=lambda e: storage.permit(place, e))
    await require_place(ctx, storage, place)
    async with (
        told_of_its_pool(ctx, storage, place),
        storage.open(place, epoch) as grant,
        journaled(ctx, storage, place),
        judged(ctx, storage, place, grant),
        proven(ctx, storage, place, manner),
        shut_out_at_last(storage, place, grant),
    ):
        yield grant


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
