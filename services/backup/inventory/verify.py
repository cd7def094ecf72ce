"""Verifying what is new: every object that runs added is read and decrypted, so that no garbage outlives its night.

No lease is taken, so that no backup waits: committed segments do not change. See ADR 32.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.backup.inventory.verified import Verified, prove_archives, record_stretch
from services.backup.node.pools import require_place
from services.backup.plan import load_repository
from shared.db.stores.requests import request_maintenance, requested_before
from shared.db.stores.secrets import repository_key
from shared.db.tables.storage import Archive, Repository
from shared.domain.job import JobType
from shared.errors import Permanent

if TYPE_CHECKING:
    from services.backup.ports import RepositoryPlace, Storage
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context

_BUDGET = 3600
_STRETCH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class VerifyPlan:
    """A repository, its key as recorded, and the segments that nobody has read yet."""

    repository: RepositoryPlace
    key: str | None
    after: int
    upto: int
    budget_seconds: float


async def queue_verify(tx: UnitOfWork, repository: Repository) -> None:
    """Queue that what stands in a repository up to now is verified; once for each transaction."""
    key = f"verify-to:{repository.id}:{repository.proven_transaction}"
    if not await requested_before(tx, key):
        await request_maintenance(tx, JobType.REPOSITORY_VERIFY, repository.id, request_key=key)


async def request_verify(tx: UnitOfWork, archive: Archive) -> None:
    """Keep where an archive's run began and ended, and queue that what it added is verified."""
    repository = await tx.session.get_one(Repository, archive.repository_id)
    archive.segment = repository.proven_transaction
    if archive.segment is None:
        return
    if archive.job_id is not None and archive.job_id == repository.session_job:
        archive.began_segment = repository.session_began
    began, verified = archive.began_segment, repository.verified_segment
    if began is not None and verified is not None and verified > began:
        # The verification was quicker than this record: what it found could be laid at no archive's door.
        repository.verified_segment = began
        key = f"verify-after:{archive.job_id}:{archive.borg_id}"  # a retry of the job makes another archive
        await request_maintenance(tx, JobType.REPOSITORY_VERIFY, repository.id, request_key=key)
    else:
        await queue_verify(tx, repository)


async def place_to_verify(tx: UnitOfWork, job: Job) -> RepositoryPlace:
    """Return where the repository lies."""
    repository = await tx.session.get(Repository, job.repository_id)
    if repository is None:
        message = "the repository was forgotten while this verification was queued"
        raise Permanent(message, code="repository_missing", remedy="nothing to do")
    return replace(await load_repository(tx, repository.id), to_server=False)


async def load_verify(tx: UnitOfWork, job: Job, place: RepositoryPlace) -> VerifyPlan | None:
    """Read what is still to be verified; None where nothing is."""
    repository = await tx.session.get_one(Repository, place.id)
    after, upto = repository.verified_segment, repository.proven_transaction
    if after is None or upto is None or after >= upto:
        await prove_archives(tx, repository)
        return None
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
        if stretch.missing or stretch.damaged:
            await require_place(ctx, storage, plan.repository)  # what is missing because a disk went away is no damage
        verified.objects += stretch.objects
        verified.garbage += stretch.garbage
        verified.damaged += stretch.damaged
        noted = await ctx.run(lambda tx, found=stretch: record_stretch(tx, ctx, plan.repository.id, found, verified))
        verified.proven, verified.missing, verified.hole = noted.proven, noted.missing, noted.hole
        if stretch.reached <= verified.reached:
            break  # not even one segment within the time: the next job has more of it
        verified.reached = stretch.reached
    return verified
