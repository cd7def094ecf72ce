"""What a verification leaves in the database: how far it came, what is proven, what garbage hits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from services.backup.inventory.fence import HOSTILE
from services.backup.inventory.reconcile import quarantine
from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive, Repository
from shared.domain.job import JobState
from shared.domain.messages.frozen import GARBAGE_STORED, SEGMENTS_MISSING
from shared.errors import Permanent
from shared.events.repository import RepositoryVerified

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from services.backup.ports import Stretch
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.message import Said
    from shared.runtime.context import Context

DAMAGED = "segments_damaged"
NODE = "node"
"""The session of a repository that is this node's own maintenance."""
_NAMED = 3


@dataclass(slots=True)
class Verified:
    """What was found so far."""

    reached: int
    objects: int = 0
    garbage: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    damaged: list[str] = field(default_factory=list[str])
    proven: int = 0
    missing: tuple[tuple[int, int], ...] = ()
    """Segments that are gone and that no compaction of ours took: first and last of each gap."""
    hole: int | None = None
    """The first segment that is gone or cannot be read: nothing counts as verified from there on."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What a job has found so far, held against the records."""

    proven: int
    missing: tuple[tuple[int, int], ...]
    hole: int | None


async def record_verify(
    tx: UnitOfWork, ctx: Context, repository_id: uuid.UUID, verified: Verified, *, finished: bool
) -> None:
    """Keep the job's end: red if anything is garbage or damaged."""
    result = {
        "finished": finished, "objects": verified.objects, "garbage": len(verified.garbage), "proven": verified.proven,
    }  # fmt: skip
    error = _error(verified)
    if not await ctx.finish(tx, JobState.FAILED if error else JobState.SUCCEEDED, error=error, result=result):
        return
    if ctx.job is not None:
        tx.emit(
            RepositoryVerified(
                job_id=ctx.job.id,
                correlation_id=ctx.correlation_id,
                repository_id=repository_id,
                finished=finished,
                objects=verified.objects,
                garbage=len(verified.garbage),
                proven=verified.proven,
            )
        )


async def record_stretch(
    tx: UnitOfWork, ctx: Context, repository_id: uuid.UUID, found: Stretch, before: Verified
) -> Noted:
    """Keep how far it came, mark what garbage hits, and prove the archives that are whole.

    A gap is forgiven only where maintenance of ours came after: what it takes away, it wrote again further on.
    """
    await ctx.fence(tx)
    repository = await tx.session.get_one(Repository, repository_id, with_for_update=True)
    gone = () if repository.session == NODE else _gaps(found.missing, repository.compacted_segment)
    holes = [*found.damaged_segments, *(first for first, _ in gone), *(() if before.hole is None else (before.hole,))]
    hole = min(holes, default=None)
    if repository.verified_segment is not None:
        reached = found.reached if hole is None else min(found.reached, hole - 1)
        repository.verified_segment = max(repository.verified_segment, reached)
    damage = "; ".join([*found.damaged[:_NAMED], *([_missing(gone).text] if gone else ())])
    if damage:
        repository.segments_damage = damage
    if gone and ctx.job is not None:
        await quarantine(tx, ctx.job, repository.id, _missing(gone), code=DAMAGED)
    for segment in sorted({segment for _, segment in found.garbage}):
        await _mark(tx, repository.id, segment)
    if found.garbage and ctx.job is not None:
        repository.archives_damage = _garbage(found.garbage).text
        first = min(segment for _, segment in found.garbage) - 1
        known = repository.rewritten_after
        repository.rewritten_after = first if known is None else min(first, known)
        await quarantine(tx, ctx.job, repository.id, _garbage(found.garbage), code=HOSTILE)
    return Noted(before.proven + await prove_archives(tx, repository), before.missing + gone, hole)


async def prove_archives(tx: UnitOfWork, repository: Repository) -> int:
    """Mark the archives as proven of which all that their run added was read and is whole; return how many.

    Not those that came after garbage, or after objects were replaced: they may be built on it, until a recovery.
    """
    upto = repository.verified_segment
    if upto is None:
        return 0
    if repository.rewritten_after is not None:
        upto = min(upto, repository.rewritten_after)
    ours = (Archive.repository_id == repository.id, Archive.segment <= upto)
    fresh = (*ours, Archive.proven_at.is_(None), Archive.damage == "")
    count = await tx.session.scalar(select(func.count()).select_from(Archive).where(*fresh))
    await tx.session.execute(update(Archive).where(*fresh).values(proven_at=db_now()))
    return count or 0


def _gaps(missing: Sequence[tuple[int, int]], compacted: int | None) -> tuple[tuple[int, int], ...]:
    """Return what is missing above the last segment that our own maintenance may have taken."""
    above = -1 if compacted is None else compacted
    return tuple((max(first, above + 1), last) for first, last in missing if last > above)


def _missing(gone: Sequence[tuple[int, int]]) -> Said:
    shown = [f"{first}-{last}" if last > first else f"{first}" for first, last in gone[:_NAMED]]
    return SEGMENTS_MISSING(segments=shown, more=max(0, len(gone) - _NAMED) or None)


async def _mark(tx: UnitOfWork, repository_id: uuid.UUID, segment: int) -> None:
    """Mark the archive whose own run stored garbage; what a run without an archive stored is no later one's fault."""
    ours = (Archive.repository_id == repository_id, Archive.damage == "")
    within = (Archive.began_segment < segment, Archive.segment >= segment)
    for archive in await tx.session.scalars(select(Archive).where(*ours, *within)):
        archive.damage = f"its run stored objects that are none of borg's, in segment {segment}"


def _error(verified: Verified) -> Permanent | None:
    if verified.garbage:
        return Permanent(_garbage(verified.garbage))
    if verified.missing:
        return Permanent(_missing(verified.missing))
    if verified.damaged:
        message = f"the repository is damaged: {'; '.join(verified.damaged[:_NAMED])}"
        remedy = "nothing was repaired: look at the disk, then at docs/operations/verification.md"
        return Permanent(message, code="repository_damaged", remedy=remedy)
    return None


def _garbage(found: Sequence[tuple[str, int]]) -> Said:
    shown = [f"{borg_id[:12]} ({segment})" for borg_id, segment in found[:_NAMED]]
    return GARBAGE_STORED(objects=shown, more=max(0, len(found) - _NAMED) or None)
