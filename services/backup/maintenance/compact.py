"""Compacting: what deleted archives held is freed, unless anything is missing without our doing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.backup.inventory.figures import refresh_figures
from services.backup.inventory.reconcile import (
    freeze,
    intend,
    last_seen_whole,
    look,
    loss,
    missing,
    note_whole,
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

    from services.backup.inventory.reconcile import Loss, Whole
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
    whole: Whole | None
    """As it was last seen."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """The repository afterwards; untouched, where something was missing before."""

    figures: RepositoryFigures | None = None
    whole: Whole | None = None
    lost: Loss | None = None


async def place_to_compact(tx: UnitOfWork, job: Job) -> RepositoryPlace:
    """Return where the repository lies; a frozen or damaged one refuses."""
    repository = await tx.session.get(Repository, job.repository_id)
    if repository is None:
        message = "the repository was forgotten while this compaction was queued"
        raise Permanent(message, code="repository_missing", remedy="nothing to do")
    refuse_unsound(repository)
    return replace(await load_repository(tx, repository.id), to_server=False)


async def load_compact(tx: UnitOfWork, place: RepositoryPlace) -> CompactPlan:
    """Read what a repository should hold; once it is ours, so that this does not change any more."""
    refuse_unsound(await tx.session.get_one(Repository, place.id))  # the proof may just have frozen it
    return CompactPlan(place, await recorded_archives(tx, place.id), await last_seen_whole(tx, place.id))


async def run_compact(plan: CompactPlan, grant: Grant, ctx: Context, *, storage: Storage) -> Compacted:
    """Compare, compact, compare again, measure."""
    _, listed = await look(ctx, plan.repository, grant, storage, plan.recorded)
    if gone := missing(plan.recorded, listed):
        return Compacted(lost=_loss(plan, gone, plan.whole))
    await ctx.run(lambda tx: intend(tx, ctx, plan.repository.id, ()))
    ctx.progress("compacting")
    await storage.compact(plan.repository, grant)
    ctx.progress("measuring")
    whole, listed = await look(ctx, plan.repository, grant, storage, plan.recorded)
    if gone := missing(plan.recorded, listed):
        return Compacted(lost=_loss(plan, gone, None))
    return Compacted(await storage.figures(plan.repository, grant), whole)


async def record_compact(tx: UnitOfWork, ctx: Context, plan: CompactPlan, compacted: Compacted) -> None:
    """Keep the new figures and the job's end; freeze the repository if anything is missing."""
    warnings = (compacted.lost.reason,) if compacted.lost else ()
    size = compacted.figures.deduplicated_size if compacted.figures else None
    state = JobState.WARNING if warnings else JobState.SUCCEEDED
    if not await ctx.finish(tx, state, warnings=warnings, result={"deduplicated_size": size}):
        return
    await note_compacted(tx, ctx, plan.repository, compacted)
    if ctx.job is not None and size is not None:
        tx.emit(
            RepositoryCompacted(
                job_id=ctx.job.id,
                correlation_id=ctx.correlation_id,
                repository_id=plan.repository.id,
                deduplicated_size=size,
            )
        )


async def note_compacted(tx: UnitOfWork, ctx: Context, place: RepositoryPlace, compacted: Compacted) -> Repository:
    """Keep what a compaction left behind."""
    repository = await refresh_figures(tx, place.id, compacted.figures)
    if compacted.figures is not None:
        repository.compacted_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - a SQL expression is assignable
    if compacted.whole is not None:
        await note_whole(tx, place.id, compacted.whole)
    if compacted.lost is not None:
        await freeze(tx, ctx, place.id, compacted.lost)
    return repository


def _loss(plan: CompactPlan, gone: frozenset[str], whole: Whole | None) -> Loss:
    return loss({borg_id: plan.recorded[borg_id] for borg_id in gone}, whole)
