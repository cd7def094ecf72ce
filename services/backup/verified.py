"""What a verification leaves in the database: how far it came, what is proven, what garbage hits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from services.backup.fence import HOSTILE
from services.backup.reconcile import quarantine
from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive, Repository
from shared.domain.job import JobState
from shared.errors import Permanent
from shared.events.repository import RepositoryVerified

if TYPE_CHECKING:
    import uuid

    from services.backup.ports import Stretch
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context

_NAMED = 3


@dataclass(slots=True)
class Verified:
    """What was found so far."""

    reached: int
    objects: int = 0
    garbage: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    damaged: list[str] = field(default_factory=list[str])
    proven: int = 0


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


async def note_stretch(tx: UnitOfWork, ctx: Context, repository_id: uuid.UUID, found: Stretch) -> int:
    """Keep how far it came, mark what garbage hits, and return how many archives are proven by it."""
    await ctx.fence(tx)
    repository = await tx.session.get_one(Repository, repository_id)
    if repository.verified_segment is not None:
        repository.verified_segment = max(repository.verified_segment, found.reached)
    if found.damaged:
        repository.segments_damage = "; ".join(found.damaged[:_NAMED])
    for segment in sorted({segment for _, segment in found.garbage}):
        await _mark(tx, repository.id, segment)
    if found.garbage and ctx.job is not None:
        repository.archives_damage = _garbage(found.garbage)
        before = min(segment for _, segment in found.garbage) - 1
        known = repository.rewritten_after
        repository.rewritten_after = before if known is None else min(before, known)
        await quarantine(tx, ctx.job, repository.id, _garbage(found.garbage), code=HOSTILE)
    ours = (Archive.repository_id == repository.id, Archive.segment <= found.reached)
    fresh = (*ours, Archive.proven_at.is_(None), Archive.damage == "")
    count = await tx.session.scalar(select(func.count()).select_from(Archive).where(*fresh))
    await tx.session.execute(update(Archive).where(*fresh).values(proven_at=db_now()))
    return count or 0


async def _mark(tx: UnitOfWork, repository_id: uuid.UUID, segment: int) -> None:
    """Mark the archive whose run stored garbage: the first one that ended after it."""
    query = select(Archive).where(Archive.repository_id == repository_id, Archive.segment >= segment)
    archive = await tx.session.scalar(query.order_by(Archive.segment).limit(1))
    if archive is not None and not archive.damage:
        archive.damage = f"its run stored objects that are none of borg's, in segment {segment}"


def _error(verified: Verified) -> Permanent | None:
    if verified.garbage:
        remedy = "treat the server as taken over, see docs/operations/security.md; then check this repository's data"
        return Permanent(_garbage(verified.garbage), code=HOSTILE, remedy=remedy)
    if verified.damaged:
        message = f"the repository is damaged: {'; '.join(verified.damaged[:_NAMED])}"
        remedy = "nothing was repaired: look at the disk, then at docs/operations/verification.md"
        return Permanent(message, code="repository_damaged", remedy=remedy)
    return None


def _garbage(found: list[tuple[str, int]] | tuple[tuple[str, int], ...]) -> str:
    shown = ", ".join(f"{borg_id[:12]} in segment {segment}" for borg_id, segment in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"the server stored objects that cannot be decrypted or belong to another id: {shown}{more}"
