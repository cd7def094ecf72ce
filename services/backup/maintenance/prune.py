"""Pruning: what the repository's retention does not keep goes, unless the repository is not as expected."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from services.backup.inventory.past import restored_lately
from services.backup.inventory.reconcile import (
    Inventory,
    delete_meant,
    intend,
    last_inventory,
    list_repository,
    missing_archives,
    missing_ids,
    recorded_archives,
    refuse_unsound,
    unknown,
)
from services.backup.maintenance.compact import Compacted, CompactPlan, record_compaction, run_compact
from services.backup.plan import load_repository
from services.backup.truth.measures import keep_measures
from shared.db.clock import read_now
from shared.db.queries.retention import is_good, judge_archives, load_policies, mark_pruned
from shared.db.stores.requests import AFTER_BACKUP
from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive, Repository
from shared.domain.archive import superseded
from shared.domain.job import JobState
from shared.domain.messages.repositories import PRUNE_AFTER_RESTORE
from shared.domain.retention import refuse_wrong_clock
from shared.domain.scheduled import scheduled_of
from shared.errors import Conflict, Permanent
from shared.events.repository import RepositoryPruned

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Sequence

    from services.backup.ports import RepositoryPlace, Storage
    from shared.borg.node import Grant
    from shared.borg.output import Listed
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """A repository, and what it must hold."""

    repository: RepositoryPlace
    recorded: dict[str, str]
    """What must be there: borg id -> name."""
    archives: dict[str, Archive]
    """Every row by its borg id, those that are lost or half deleted too: what is really there is judged."""
    now: datetime
    override_deletion_limit: bool
    inventory: Inventory | None
    """As it was last seen."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of it."""

    deleted: tuple[uuid.UUID, ...] = ()
    kept: int = 0
    warnings: tuple[str, ...] = ()
    compacted: Compacted = field(default_factory=Compacted)


async def place_to_prune(tx: UnitOfWork, job: Job) -> RepositoryPlace:
    """Return where the repository lies; one without a retention, or a frozen one, refuses."""
    repository = await _prunable(tx, job)
    return replace(await load_repository(tx, repository.id), to_server=False)


async def load_prune(tx: UnitOfWork, job: Job, place: RepositoryPlace) -> PrunePlan:
    """Read what a repository should hold; once it is ours.

    What of it goes is judged when it is known what is there: what people said of it may change until then.
    """
    repository = await _prunable(tx, job)
    if _by_itself(job) and await restored_lately(tx, repository):
        raise Conflict(PRUNE_AFTER_RESTORE())
    query = select(Archive).where(Archive.repository_id == place.id)
    archives = {row.borg_id: row for row in await tx.session.scalars(query) if row.borg_id}
    plan = PrunePlan(
        repository=place,
        recorded=await recorded_archives(tx, place.id),
        archives=archives,
        now=await read_now(tx.session),
        override_deletion_limit=any(job.params.get(name) for name in ("override_deletion_limit", "past_the_brake")),
        inventory=await last_inventory(tx, place.id),
    )
    tx.session.expunge_all()
    refuse_wrong_clock(plan.now, datetime.now(UTC))
    return plan


def _by_itself(job: Job) -> bool:
    """Tell whether nobody asked for this prune: a schedule did, or a backup that was good."""
    return scheduled_of(job.params) is not None or (job.request_key or "").startswith(AFTER_BACKUP)


async def _prunable(tx: UnitOfWork, job: Job) -> Repository:
    repository = await tx.session.get(Repository, job.repository_id)
    if repository is None:
        message = "the repository was forgotten while this prune was queued"
        raise Permanent(message, code="repository_missing", remedy="nothing to do")
    refuse_unsound(repository)
    if not await load_policies(tx.session, repository):
        message = "this repository has no retention: nothing says what to keep"
        raise Permanent(message, code="retention_missing", remedy="set one: PUT /api/repositories/{id}")
    return repository


async def run_prune(plan: PrunePlan, grant: Grant, ctx: Context, storage: Storage) -> Pruned:
    """Compare, judge what is really there, delete, compare again, compact; an unexplained loss ends it at once."""
    ctx.progress("looking", step=1, steps=4)
    seen, listed = await list_repository(ctx, plan.repository, grant, storage, plan.recorded)
    if gone := missing_ids(plan.recorded, listed):
        names = {borg_id: plan.recorded[borg_id] for borg_id in gone}
        return Pruned(compacted=Compacted(missing=missing_archives(names, plan.inventory)))
    warnings = _unknown_archives(plan, listed, ctx)
    there = [plan.archives[one.borg_id] for one in listed if one.borg_id in plan.archives]
    going, stopped = await ctx.run(lambda tx: _choose(tx, ctx, plan, {row.id for row in there}))
    if stopped:
        return Pruned(kept=len(there), warnings=(*warnings, stopped))

    await _delete(plan, [one for one in listed if _row_id(plan, one) in going], grant, ctx, storage)
    await _delete_checkpoints(plan, seen, listed, grant, ctx, storage)
    rest = {borg_id: name for borg_id, name in plan.recorded.items() if plan.archives[borg_id].id not in going}
    broken_off = {row.id for row in plan.archives.values() if row.deleting and row not in there}
    result = Pruned((*going, *broken_off), len(there) - len(going), warnings)
    after = CompactPlan(plan.repository, rest, plan.inventory)
    return replace(result, compacted=await run_compact(after, grant, ctx, storage=storage))


async def _choose(
    tx: UnitOfWork, ctx: Context, plan: PrunePlan, there: Collection[uuid.UUID]
) -> tuple[frozenset[uuid.UUID], str]:
    """Judge what is there, and note in the same transaction what goes; or return why nothing does.

    By what is on record now, and not when the job began: meanwhile a person may have held or accepted an archive,
    or have changed what is kept. Whoever accepts one now waits, and is then told that it is being deleted.
    """
    await ctx.fence(tx)
    repository = await tx.session.get_one(Repository, plan.repository.id, with_for_update=True)
    query = select(Archive).where(Archive.repository_id == repository.id).with_for_update()
    rows = [row for row in await tx.session.scalars(query) if row.id in there]
    verdicts = judge_archives(await load_policies(tx.session, repository), rows, plan.now)
    dropped = {archive_id for verdict in verdicts for archive_id in verdict.dropped}
    if any(verdict.deletion_limit_reached for verdict in verdicts) and not plan.override_deletion_limit:
        count = f"{len(dropped)} archives would be deleted at once"
        return frozenset(), f"nothing was pruned: {count}, more than the deletion limit allows"
    return await intend(tx, ctx, repository.id, [row.id for row in rows if row.id in dropped]), ""


async def _delete(plan: PrunePlan, going: Sequence[Listed], grant: Grant, ctx: Context, storage: Storage) -> None:
    for number, archive in enumerate(going, 1):
        ctx.progress(f"deleting {number} of {len(going)}", step=2, steps=4)
        ctx.log("info", "kernel", f"delete {archive.name}")
        await delete_meant(ctx, plan.repository, grant, storage, archive)


async def _delete_checkpoints(
    plan: PrunePlan, seen: Inventory, listed: Sequence[Listed], grant: Grant, ctx: Context, storage: Storage
) -> None:
    """Delete what interrupted runs left behind, where a later run of the same backup job made a good archive.

    A doubtful one may hold less than the checkpoint does.
    """
    rows = [plan.archives[one.borg_id] for one in listed if one.borg_id in plan.recorded]
    good = [row.name for row in rows if is_good(row)]
    left = {one.name: one for one in seen.checkpoints if one.borg_id not in plan.archives}
    for name in superseded(left, good, plan.now):
        ctx.log("info", "kernel", f"delete {name}: a later run came to its end")
        await delete_meant(ctx, plan.repository, grant, storage, left[name])


def _unknown_archives(plan: PrunePlan, listed: Sequence[Listed], ctx: Context) -> tuple[str, ...]:
    unknown_archives = unknown(plan.archives, listed)
    for archive in unknown_archives:
        ctx.log("warning", "kernel", f"unknown archive {archive.name}", code="archive_unknown")
    if not unknown_archives:
        return ()
    return (f"{len(unknown_archives)} archives are in the repository that no run of ours made: they are left alone",)


def _row_id(plan: PrunePlan, archive: Listed) -> uuid.UUID | None:
    row = plan.archives.get(archive.borg_id)
    return row.id if row else None


async def record_prune(tx: UnitOfWork, ctx: Context, plan: PrunePlan, pruned: Pruned) -> None:
    """Forget what went, keep the new figures; freeze the repository if anything else is missing."""
    missing = pruned.compacted.missing
    warnings = (*pruned.warnings, missing.said) if missing else pruned.warnings
    result = {"deleted": len(pruned.deleted), "kept": pruned.kept}
    if not await ctx.finish(tx, JobState.WARNING if warnings else JobState.SUCCEEDED, warnings=warnings, result=result):
        return
    await _forget(tx, pruned.deleted)
    repository = await record_compaction(tx, ctx, plan.repository, pruned.compacted)
    if pruned.compacted.figures is not None:
        mark_pruned(repository, plan.archives.values(), pruned.deleted, plan.now)
        repository.pruned_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - a SQL expression is assignable
    if ctx.job is not None:
        tx.emit(
            RepositoryPruned(
                job_id=ctx.job.id,
                correlation_id=ctx.correlation_id,
                repository_id=plan.repository.id,
                deleted=len(pruned.deleted),
                kept=pruned.kept,
            )
        )


async def _forget(tx: UnitOfWork, ids: Sequence[uuid.UUID]) -> None:
    if ids:
        await keep_measures(tx, ids)
        await tx.session.execute(delete(Archive).where(Archive.id.in_(ids)))
