"""Deleting one archive: by what the repository itself lists, never by a name that might be empty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import delete

from services.backup.inventory.figures import refresh_figures
from services.backup.inventory.reconcile import (
    Inventory,
    MissingArchives,
    compact_sound,
    delete_meant,
    freeze,
    intend,
    last_inventory,
    list_repository,
    missing_archives,
    missing_ids,
    record_inventory,
    recorded_archives,
    refuse_unsound,
)
from services.backup.plan import load_repository
from services.backup.ports import RepositoryPlace
from services.backup.truth.measures import keep_measures
from shared.db.clock import read_now
from shared.db.tables.storage import Archive, Repository, is_held
from shared.domain.job import JobState
from shared.errors import Conflict
from shared.events.archive import ArchiveDeleted

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from services.backup.ports import Storage
    from shared.borg.node import Grant
    from shared.borg.output import Listed
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.archive import RepositoryFigures
    from shared.runtime.context import Context


@dataclass(frozen=True, slots=True)
class DeletePlan:
    """The archive to go, and those that ought to stay."""

    archive_id: uuid.UUID
    borg_id: str | None
    name: str
    repository: RepositoryPlace
    others: dict[str, str]
    """Borg id -> name."""
    inventory: Inventory | None
    """As it was last seen."""
    expected: bool = False
    """It ought to be there: no earlier attempt of ours took it, and nobody was told that it is missing."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """The repository after the deletion."""

    figures: RepositoryFigures | None
    """None where something is missing: what cannot be measured must not hide that."""
    archive_count: int
    inventory: Inventory | None = None
    missing: MissingArchives | None = None


async def place_of(tx: UnitOfWork, job: Job) -> RepositoryPlace | None:
    """Return where the archive lies; None if its row is gone already; a held archive and a frozen repository refuse."""
    archive = await tx.session.get(Archive, job.archive_id)
    if archive is None:
        return None
    if is_held(archive, await read_now(tx.session)):
        message = f"the archive {archive.name} is held: {archive.held_reason}"
        raise Conflict(message, code="archive_held", remedy="release the hold first")
    refuse_unsound(await tx.session.get_one(Repository, archive.repository_id))
    return replace(await load_repository(tx, archive.repository_id), to_server=False)


async def load_delete(tx: UnitOfWork, job: Job, place: RepositoryPlace) -> DeletePlan:
    """Read what is to go and what is to stay; once the repository is ours, so that neither changes any more."""
    refuse_unsound(await tx.session.get_one(Repository, place.id))  # the proof may just have frozen it
    archive = await tx.session.get(Archive, job.archive_id)
    others = await recorded_archives(tx, place.id)
    inventory = await last_inventory(tx, place.id)
    if archive is None:  # another deletion was first: there is nothing to look for
        return DeletePlan(job.archive_id or job.id, None, "", place, others, inventory)
    others.pop(archive.borg_id or "", None)
    expected = not (archive.deleting or archive.missing)
    return DeletePlan(archive.id, archive.borg_id, archive.name, place, others, inventory, expected)


async def run_delete(plan: DeletePlan, grant: Grant, ctx: Context, storage: Storage) -> Deleted:
    """Delete, compare the rest with the records, compact only if nothing else is missing, measure."""
    ctx.progress("looking", step=1, steps=4)
    # The name on record may be broken: what is to go is known by its id, and the name that it gives itself is compared.
    own = {plan.borg_id} if plan.borg_id else set[str]()
    whole, listed = await list_repository(ctx, plan.repository, grant, storage, plan.others, own=own)
    found = _found(plan, listed)
    if not await ctx.run(lambda tx: intend(tx, ctx, plan.repository.id, [plan.archive_id])) and found is not None:
        message = f"the archive {plan.name} has been held meanwhile"
        raise Conflict(message, code="archive_held", remedy="release the hold first")
    if found is None and plan.expected:
        gone_before = f"the archive {plan.name} was not in the repository any more: another hand deleted it before"
        ctx.warn("archive_gone", gone_before)
    elif found is None:
        ctx.log("info", "kernel", "the archive is not in the repository: nothing to delete")
    else:
        ctx.progress("deleting", step=2, steps=4)
        await delete_meant(ctx, plan.repository, grant, storage, found)
        whole, listed = await list_repository(ctx, plan.repository, grant, storage, plan.others)
    gone = missing_ids(plan.others, listed)
    if not gone:
        ctx.progress("compacting", step=3, steps=4)
        await compact_sound(ctx, plan.repository, grant, storage)
        whole, listed = await list_repository(ctx, plan.repository, grant, storage, plan.others)
        gone = missing_ids(plan.others, listed)
    if gone:  # kept before anything is measured: what cannot be measured must not hide it
        missing = missing_archives({borg_id: plan.others[borg_id] for borg_id in gone}, plan.inventory)
        ctx.log("error", "kernel", missing.reason, code="archives_missing")
        return Deleted(None, len(listed), None, missing)
    ctx.progress("measuring", step=4, steps=4)
    return Deleted(await storage.figures(plan.repository, grant), len(listed), whole)


def _found(plan: DeletePlan, listed: Sequence[Listed]) -> Listed | None:
    """Find the archive by its id; by name only where no id was ever recorded."""
    if plan.borg_id is not None:
        return next((archive for archive in listed if archive.borg_id == plan.borg_id), None)
    return next((archive for archive in listed if plan.name and archive.name == plan.name), None)


async def record_deletion(tx: UnitOfWork, ctx: Context, plan: DeletePlan, deleted: Deleted) -> None:
    """Drop the archive's row, keep the repository's new figures and the job's end."""
    warnings = (deleted.missing.said,) if deleted.missing else ()
    state = JobState.WARNING if warnings else JobState.SUCCEEDED
    size = deleted.figures.deduplicated_size if deleted.figures else None
    result = {"archive": plan.name, "deduplicated_size": size}
    if not await ctx.finish(tx, state, warnings=warnings, result=result):
        return
    await keep_measures(tx, [plan.archive_id])
    await tx.session.execute(delete(Archive).where(Archive.id == plan.archive_id))
    await refresh_figures(tx, plan.repository.id, deleted.figures)
    if deleted.missing is not None:
        await freeze(tx, ctx, plan.repository.id, deleted.missing)
    if deleted.inventory is not None:
        await record_inventory(tx, plan.repository.id, deleted.inventory)
    if ctx.job is not None:
        tx.emit(
            ArchiveDeleted(
                job_id=ctx.job.id,
                correlation_id=ctx.correlation_id,
                archive_id=plan.archive_id,
                repository_id=plan.repository.id,
            )
        )
