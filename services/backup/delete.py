"""Deleting one archive: by what the repository itself lists, never by a name that might be empty."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from services.backup.plan import load_repository
from services.backup.ports import RepositoryPlace
from shared.db.tables.storage import Archive
from shared.errors import Conflict

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
    """The archive to go, and the borg ids that ought to stay."""

    archive_id: uuid.UUID
    borg_id: str | None
    name: str
    repository: RepositoryPlace
    others: frozenset[str]


@dataclass(frozen=True, slots=True)
class Deleted:
    """The repository after the deletion."""

    figures: RepositoryFigures
    archive_count: int
    warnings: tuple[str, ...]


async def load_delete(tx: UnitOfWork, job: Job) -> DeletePlan | None:
    """Read what is to go; None if its row is gone already; a held archive refuses."""
    archive = await tx.session.get(Archive, job.archive_id)
    if archive is None:
        return None
    if is_held(archive):
        message = f"the archive {archive.name} is held: {archive.held_reason}"
        raise Conflict(message, code="archive_held", remedy="release the hold first")
    query = select(Archive.borg_id).where(Archive.repository_id == archive.repository_id, Archive.id != archive.id)
    others = frozenset(borg_id for borg_id in await tx.session.scalars(query) if borg_id)
    repository = await load_repository(tx, archive.repository_id)
    return DeletePlan(archive.id, archive.borg_id, archive.name, repository, others)


def is_held(archive: Archive) -> bool:
    """Tell whether an archive is pinned now."""
    if archive.held_reason is None:
        return False
    return archive.held_until is None or archive.held_until > datetime.now(UTC)


async def run_delete(plan: DeletePlan, grant: Grant, ctx: Context, *, storage: Storage) -> Deleted:
    """Delete, compare the rest with the records, compact only if nothing else is missing, measure."""
    ctx.progress("looking", step=1, steps=4)
    listed = await storage.archives(plan.repository, grant)
    name = _name_of(plan, listed)
    if name is None:
        ctx.log("info", "kernel", "the archive is not in the repository: nothing to delete")
    else:
        ctx.progress("deleting", step=2, steps=4)
        await storage.delete(plan.repository, grant, name)
        listed = await storage.archives(plan.repository, grant)
    warnings: tuple[str, ...] = ()
    if lost := plan.others - {archive.borg_id for archive in listed}:
        warnings = (f"not compacted: {len(lost)} recorded archives are missing from the repository without our doing",)
        ctx.log("error", "kernel", warnings[0], code="archives_missing")
    else:
        ctx.progress("compacting", step=3, steps=4)
        await storage.compact(plan.repository, grant)
    ctx.progress("measuring", step=4, steps=4)
    return Deleted(await storage.figures(plan.repository, grant), len(listed), warnings)


def _name_of(plan: DeletePlan, listed: Sequence[Listed]) -> str | None:
    """Find the archive by its id; by name only where no id was ever recorded."""
    if plan.borg_id is not None:
        return next((archive.name for archive in listed if archive.borg_id == plan.borg_id), None)
    return next((archive.name for archive in listed if plan.name and archive.name == plan.name), None)
