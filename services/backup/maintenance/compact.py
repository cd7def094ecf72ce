"""Compacting: what deleted archives held is freed, unless anything is missing without our doing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.backup.inventory.figures import refresh_figures
from services.backup.inventory.reconcile import (
    compact_sound,
    freeze,
    last_inventory,
    list_repository,
    missing_archives,
    missing_ids,
    record_inventory,
    recorded_archives,
    refuse_unsound,
)
from services.backup.plan import load_repository
from shared.db.tables.base import db_now
from shared.db.tables.storage import Repository
from shared.domain.job import JobState
from shared.errors import Permanent
from shared.events.repository import RepositoryCompacted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.backup.inventory.reconcile import Inventory, MissingArchives
    from services.backup.ports import RepositoryPlace, Storage
    from shared.borg.node import Grant
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.archive import RepositoryFigures
    from shared.runtime.context import Context


@dataclass(frozen=True, slots=True)
class CompactPlan:
    """A repository, and what it must hold: borg id -> name."""

    repository: RepositoryPlace
    recorded: Mapping[str, str]
    inventory: Inventory | None
    """As it was last seen."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """The repository afterwards; untouched, where something was missing before."""

    figures: RepositoryFigures | None = None
    inventory: Inventory | None = None
    missing: MissingArchives | None = None


async def place_to_compact(tx: UnitOfWork, job: Job) -> RepositoryPlace:
    """Return where the repository lies; a frozen or damaged one refuses."""
    repository = await tx.session.get(Repository, job.repository_id)
    if repository is None:
        message = "the repository was forgotten while this compaction was queued"
        raise Permanent(message, code="repository_missing", remedy="nothing to do")
    refuse_unsound(repository)
    return replace(await load_repository(tx, repository.id), to_server=False)


async def load_compact(tx: UnitOfWork, _job: Job, place: RepositoryPlace) -> CompactPlan:
    """Read what a repository should hold; once it is ours, so that this does not change any more."""
    refuse_unsound(await tx.session.get_one(Repository, place.id))  # the proof may just have frozen it
    return CompactPlan(place, await recorded_archives(tx, place.id), await last_inventory(tx, place.id))


async def run_compact(plan: CompactPlan, grant: Grant, ctx: Context, storage: Storage) -> Compacted:
    """Compare, compact, compare again, measure."""
    _, listed = await list_repository(ctx, plan.repository, grant, storage, plan.recorded)
    if gone := missing_ids(plan.recorded, listed):
        return Compacted(missing=_missing(plan, gone, plan.inventory))
    ctx.progress("compacting")
    await compact_sound(ctx, plan.repository, grant, storage)
    ctx.progress("measuring")
    whole, listed = await list_repository(ctx, plan.repository, grant, storage, plan.recorded)
    if gone := missing_ids(plan.recorded, listed):
        return Compacted(missing=_missing(plan, gone, None))
    return Compacted(await storage.figures(plan.repository, grant), whole)


async def record_compact(tx: UnitOfWork, ctx: Context, plan: CompactPlan, compacted: Compacted) -> None:
    """Keep the new figures and the job's end; freeze the repository if anything is missing."""
    warnings = (compacted.missing.said,) if compacted.missing else ()
    size = compacted.figures.deduplicated_size if compacted.figures else None
    state = JobState.WARNING if warnings else JobState.SUCCEEDED
    if not await ctx.finish(tx, state, warnings=warnings, result={"deduplicated_size": size}):
        return
    await record_compaction(tx, ctx, plan.repository, compacted)
    if ctx.job is not None and size is not None:
        tx.emit(
            RepositoryCompacted(
                job_id=ctx.job.id,
                correlation_id=ctx.correlation_id,
                repository_id=plan.repository.id,
                deduplicated_size=size,
            )
        )


async def record_compaction(tx: UnitOfWork, ctx: Context, place: RepositoryPlace, compacted: Compacted) -> Repository:
    """Keep what a compaction left behind."""
    repository = await refresh_figures(tx, place.id, compacted.figures)
    if compacted.figures is not None:
        repository.compacted_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - a SQL expression is assignable
    if compacted.inventory is not None:
        await record_inventory(tx, place.id, compacted.inventory)
    if compacted.missing is not None:
        await freeze(tx, ctx, place.id, compacted.missing)
    return repository


def _missing(plan: CompactPlan, gone: frozenset[str], inventory: Inventory | None) -> MissingArchives:
    return missing_archives({borg_id: plan.recorded[borg_id] for borg_id in gone}, inventory)
