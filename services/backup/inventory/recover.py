"""Recovering: what was changed without our doing is put back, and what was cured freezes the repository no longer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from services.backup.inventory.figures import refresh_figures
from services.backup.inventory.proof import KEY_CHANGED, REWRITTEN, WRITTEN_OUTSIDE
from services.backup.inventory.reconcile import (
    ARCHIVES_MISSING,
    FORGED,
    RECOVERY,
    Inventory,
    MissingArchives,
    freeze,
    list_repository,
    missing_ids,
    record_inventory,
    record_present,
)
from services.backup.plan import load_repository
from services.backup.ports import Recovery, Wanted
from shared.db.stores.requests import request_maintenance
from shared.db.stores.secrets import repository_key
from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive, Repository
from shared.domain.job import JobState, JobType
from shared.domain.messages import read
from shared.domain.messages.frozen import ARCHIVES_NOT_RECOVERED
from shared.domain.scheduled import asked_for
from shared.domain.verification import Depth
from shared.errors import Permanent
from shared.events.repository import RepositoryRecovered

if TYPE_CHECKING:
    from services.backup.ports import RepositoryPlace, Storage
    from shared.borg.node import Grant
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context

_NAMED = 10


@dataclass(frozen=True, slots=True)
class RecoverPlan:
    """A repository, and what it ought to hold."""

    repository: RepositoryPlace
    recorded: dict[str, str]
    """Every archive that we did not delete, those that are lost too: borg id -> name."""
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came of it."""

    recovery: Recovery
    inventory: Inventory
    gone: dict[str, str]
    """What could not be brought back: borg id -> name."""


async def place_to_recover(tx: UnitOfWork, job: Job) -> RepositoryPlace:
    """Return where the repository lies; a sound one is recovered too: nothing is put back that is there."""
    repository = await tx.session.get(Repository, job.repository_id)
    if repository is None:
        message = "the repository was forgotten while this recovery was queued"
        raise Permanent(message, code="repository_missing", remedy="nothing to do")
    return replace(await load_repository(tx, repository.id), to_server=False)


async def load_recover(tx: UnitOfWork, _job: Job, place: RepositoryPlace) -> RecoverPlan:
    """Read what a repository ought to hold; once it is ours, so that this does not change any more."""
    repository = await tx.session.get_one(Repository, place.id)
    query = select(Archive.borg_id, Archive.name).where(Archive.repository_id == place.id, Archive.deleting.is_(False))
    recorded = {borg_id: name for borg_id, name in await tx.session.execute(query) if borg_id}
    key = await tx.secrets.find(repository_key(place.id))
    return RecoverPlan(place, recorded, Wanted(key, recorded, repository.rewritten_after))


async def run_recover(plan: RecoverPlan, grant: Grant, ctx: Context, storage: Storage) -> Recovered:
    """Put back, and look whether every archive is there."""
    ctx.progress("putting back", step=1, steps=2)
    recovery = await storage.recover(plan.repository, grant, plan.wanted)
    objects = f"{recovery.put_back} objects were put back, {recovery.removed} that were garbage removed"
    ctx.log("info", "kernel", f"{objects}; the manifest names {recovery.archives} archives")
    if recovery.key:
        ctx.log("info", "kernel", "the recorded key was put back")
    ctx.progress("looking", step=2, steps=2)
    whole, listed = await list_repository(ctx, plan.repository, grant, storage, plan.recorded)
    gone = {borg_id: plan.recorded[borg_id] for borg_id in missing_ids(plan.recorded, listed)}
    return Recovered(recovery, whole, gone)


async def record_recover(tx: UnitOfWork, ctx: Context, plan: RecoverPlan, recovered: Recovered) -> None:
    """Keep the job's end; take away the causes that were cured, and leave the others."""
    recovery, gone = recovered.recovery, recovered.gone
    repository = await tx.session.get_one(Repository, plan.repository.id, with_for_update=True)
    remaining = _remaining(repository, recovered)
    result = {
        "archives": len(plan.recorded) - len(gone), "put_back": recovery.put_back, "lost": recovery.lost,
        "removed": recovery.removed,
        "key": recovery.key,
    }  # fmt: skip
    loss = _loss(gone) if gone else None
    warnings = [*([loss.said] if loss else ()), *(read(one.get("message")) or one["reason"] for one in remaining)]
    state = JobState.WARNING if warnings else JobState.SUCCEEDED
    if not await ctx.finish(tx, state, warnings=warnings, result=result):
        return
    await _thaw(tx, ctx, repository, remaining)
    # A verification may have found garbage meanwhile, which this recovery knew nothing of: the next one removes it.
    if not recovery.lost and repository.rewritten_after == plan.wanted.rewritten_after:
        repository.rewritten_after = None
    if (recovery.removed or recovery.lost) and ctx.job is not None:  # archives of then may need what is not there now
        key = f"check-after:{ctx.job.id}:{ctx.job.run}"
        depth = {"depth": Depth.ARCHIVES.value}
        await request_maintenance(tx, JobType.REPOSITORY_CHECK, repository.id, request_key=key, **depth)
    if loss is not None:
        await freeze(tx, ctx, repository.id, loss)
        await record_present(tx, repository.id, recovered.inventory)
    else:
        await record_inventory(tx, repository.id, recovered.inventory)
    await refresh_figures(tx, repository.id, None)
    if ctx.job is not None:
        tx.emit(
            RepositoryRecovered(
                job_id=ctx.job.id,
                correlation_id=ctx.correlation_id,
                repository_id=repository.id,
                archives=len(plan.recorded) - len(gone),
                put_back=recovery.put_back,
                key=recovery.key,
                remaining=repository.frozen_reason,
            )
        )


def _remaining(repository: Repository, recovered: Recovered) -> list[dict[str, Any]]:
    """Return the causes that a recovery does not cure, or did not this time."""
    cured = {KEY_CHANGED, WRITTEN_OUTSIDE, ARCHIVES_MISSING, FORGED}  # what is missing still is a cause of its own
    if not recovered.recovery.lost:
        cured.add(REWRITTEN)
    # What was frozen before causes had codes was frozen for its archives.
    causes = repository.frozen_for or [{"code": ARCHIVES_MISSING, "reason": repository.frozen_reason}]
    return [one for one in causes if one["code"] not in cured and one.get("cured_by") != RECOVERY and one["reason"]]


def _loss(gone: dict[str, str]) -> MissingArchives:
    names = sorted(gone.values())
    more = max(0, len(names) - _NAMED) or None
    return MissingArchives(tuple(gone), ARCHIVES_NOT_RECOVERED(count=len(names), names=names[:_NAMED], more=more))


async def _thaw(tx: UnitOfWork, ctx: Context, repository: Repository, remaining: list[dict[str, Any]]) -> None:
    if not repository.frozen_reason or ctx.job is None:
        return
    asked = asked_for(ctx.job.params)
    repository.frozen_for, repository.frozen_reason = remaining, "; then ".join(one["reason"] for one in remaining)
    repository.unfrozen_by = str(asked.get("by", ""))[:63]
    repository.unfrozen_reason = f"recovered: {asked.get('reason', '')}"
    repository.unfrozen_at = await tx.session.scalar(select(db_now()))
    if not remaining:
        repository.frozen_at = None
