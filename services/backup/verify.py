"""Verifying what is new: every object that runs added is read and decrypted, so that no garbage outlives its night.

No lease is taken, so that no backup waits: committed segments do not change. See ADR 32.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from services.backup.plan import load_repository
from services.backup.reconcile import quarantine
from shared.db.repositories.requests import request_upkeep
from shared.db.repositories.secrets import repository_key
from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive, Repository
from shared.domain.job import JobState, JobType
from shared.errors import Permanent
from shared.events.repository import RepositoryVerified

if TYPE_CHECKING:
    import uuid

    from services.backup.ports import RepositoryPlace, Storage, Stretch
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context

GARBAGE = "hostile_client"
_BUDGET = 3600
_STRETCH_SECONDS = 30.0
_NAMED = 3


@dataclass(frozen=True, slots=True)
class VerifyPlan:
    """A repository, its key as recorded, and the segments that nobody has read yet."""

    repository: RepositoryPlace
    key: str | None
    after: int
    upto: int
    budget_seconds: float


@dataclass(slots=True)
class Verified:
    """What was found so far."""

    reached: int
    objects: int = 0
    garbage: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    damaged: list[str] = field(default_factory=list[str])
    proven: int = 0


async def request_verify(tx: UnitOfWork, archive: Archive) -> None:
    """Keep where an archive's run ended, and queue that what it added is verified."""
    repository = await tx.session.get_one(Repository, archive.repository_id)
    archive.segment = repository.proven_transaction
    if archive.segment is not None:
        await request_upkeep(tx, JobType.REPOSITORY_VERIFY, repository.id, request_key=f"verify-after:{archive.job_id}")


async def load_verify(tx: UnitOfWork, job: Job) -> VerifyPlan | None:
    """Read what is still to be verified; None where nothing is."""
    repository = await tx.session.get(Repository, job.repository_id)
    if repository is None:
        message = "the repository was forgotten while this verification was queued"
        raise Permanent(message, code="repository_missing", remedy="nothing to do")
    after, upto = repository.verified_segment, repository.proven_transaction
    if after is None or upto is None or after >= upto:
        return None
    place = replace(await load_repository(tx, repository.id), to_server=False)
    key = await tx.secrets.find(repository_key(repository.id))
    return VerifyPlan(place, key, after, upto, float(job.params.get("budget_seconds") or _BUDGET))


async def run_verify(plan: VerifyPlan, ctx: Context, *, storage: Storage) -> Verified:
    """Read in stretches of half a minute; what each one found is kept at once, and the next job goes on from there."""
    until = time.monotonic() + plan.budget_seconds
    verified = Verified(plan.after)
    while verified.reached < plan.upto and (left := until - time.monotonic()) > 0:
        ctx.progress(f"reading segment {verified.reached + 1} of {plan.upto}")
        stretch = await storage.verify(
            plan.repository, plan.key, after=verified.reached, upto=plan.upto, seconds=min(left, _STRETCH_SECONDS)
        )
        verified.objects += stretch.objects
        verified.garbage += stretch.garbage
        verified.damaged += stretch.damaged
        verified.proven += await ctx.run(lambda tx, found=stretch: _note(tx, ctx, plan, found))
        if stretch.reached <= verified.reached:
            break  # not even one segment within the time: the next job has more of it
        verified.reached = stretch.reached
    return verified


async def record_verify(tx: UnitOfWork, ctx: Context, plan: VerifyPlan, verified: Verified) -> None:
    """Keep the job's end: red if anything is garbage or damaged."""
    finished = verified.reached >= plan.upto
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
                repository_id=plan.repository.id,
                finished=finished,
                objects=verified.objects,
                garbage=len(verified.garbage),
                proven=verified.proven,
            )
        )


async def _note(tx: UnitOfWork, ctx: Context, plan: VerifyPlan, found: Stretch) -> int:
    """Keep how far it came, mark what garbage hits, and return how many archives are proven by it."""
    await ctx.fence(tx)
    repository = await tx.session.get_one(Repository, plan.repository.id)
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
        await quarantine(tx, ctx.job, repository.id, _garbage(found.garbage), code=GARBAGE)
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
        return Permanent(_garbage(verified.garbage), code=GARBAGE, remedy=remedy)
    if verified.damaged:
        message = f"the repository is damaged: {'; '.join(verified.damaged[:_NAMED])}"
        remedy = "nothing was repaired: look at the disk, then at docs/operations/verification.md"
        return Permanent(message, code="repository_damaged", remedy=remedy)
    return None


def _garbage(found: list[tuple[str, int]] | tuple[tuple[str, int], ...]) -> str:
    shown = ", ".join(f"{borg_id[:12]} in segment {segment}" for borg_id, segment in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"the server stored objects that cannot be decrypted or belong to another id: {shown}{more}"
