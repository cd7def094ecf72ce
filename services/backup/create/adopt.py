"""Archives of ours on no record: of an earlier attempt of this run, or of runs that ended without recording."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from services.backup.create.hooks import HookRunner
from services.backup.create.ledger import evidence_of
from services.backup.create.making import result_of
from services.backup.create.shielded import to_its_end
from services.backup.inventory.reconcile import FORGED, HOSTILE, list_repository, recorded_archives
from services.backup.truth.evidence import ArchiveEvidence, RunEvidence
from shared.db.tables.job import Job
from shared.db.tables.storage import Archive, Repository
from shared.domain.archive import made_by, maker
from shared.domain.backup_state import Reason, doubt
from shared.domain.job import TERMINAL, JobType
from shared.domain.messages.run_reasons import FOUND_HOSTILE, FOUND_LATER
from shared.errors import AppError, LeaseLost
from shared.runtime.context import Abort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.backup.create.ledger import Ledger
    from services.backup.ports import BackupPlan, Servers, Storage
    from shared.borg.node import Grant
    from shared.borg.output import Listed
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.archive import ArchiveFigures
    from shared.runtime.context import Context

_AT_ONCE = 10
"""Each costs the node a call of borg; the others are found by the next runs."""


@dataclass(frozen=True, slots=True)
class Found:
    """An archive of ours that is on no record, and the run that made it."""

    archive: ArchiveFigures
    job_id: uuid.UUID
    backup_job_id: uuid.UUID
    evidence: ArchiveEvidence
    hostile: str = ""
    """Why whoever made it is taken for hostile."""

    @property
    def reason(self) -> Reason:
        """Why it is not good."""
        return doubt(FOUND_HOSTILE(why=self.hostile) if self.hostile else FOUND_LATER())


async def find_made(
    plan: BackupPlan, grant: Grant, ctx: Context, storage: Storage, servers: Servers, ledger: Ledger
) -> ArchiveFigures | None:
    """Look for what an earlier attempt of this very run made: a worker may have died after borg was done."""
    if ledger.found is None and (ctx.job is None or ctx.job.attempt <= 1):
        return None
    _, listed = await list_repository(
        ctx, plan.repository, grant, storage, await ctx.run(lambda tx: recorded_archives(tx, plan.repository.id))
    )
    recorded = await ctx.run(lambda tx: on_record(tx, plan.repository.id))
    ours = [one for one in listed if made_by(one.name, plan.job_id, plan.run) and one.borg_id not in recorded]
    if not ours:
        return None
    name = ours[-1].name
    ctx.log("info", "kernel", f"an earlier attempt made {name}: it is recorded, not made again")
    if ledger.found is None or name not in ledger.found.archives[-1:]:
        ledger.evidence = RunEvidence(archives=(name,))
    await _complete(plan, ctx, servers, ledger)
    return ledger.evidence.report or await storage.archive(plan.repository, grant, name)


async def _complete(plan: BackupPlan, ctx: Context, servers: Servers, ledger: Ledger) -> None:
    """Look at the sources if nobody did, and run the post-hook if it did not run; what fails is a doubt, no more."""
    hook = ledger.evidence.post_hook
    hook_due = bool(plan.hooks.after) and (hook is None or not hook.ran)
    # What a pre-hook made may be gone by now; without one the sources are what they are.
    look_due = ledger.evidence.looked_after is None and not plan.hooks.before
    if ledger.evidence.looked is not None and not hook_due and not look_due:
        return
    try:
        async with servers.session(plan, gentle=lambda: ctx.abort is Abort.SHUTDOWN) as server:
            if ledger.evidence.looked is None:
                await ledger.note(looked=await server.probe_sources())
            if look_due:
                await ledger.note(looked_after=await server.probe_sources())
            if hook_due:
                ended, archive = ledger.evidence.ended, ledger.evidence.archives[-1]
                runner = HookRunner(plan, ctx, servers, ledger)
                paying = runner.after(server, result_of(ended), ended.status if ended else None, archive)
                _, stopped = await to_its_end(paying)
                if stopped:
                    raise asyncio.CancelledError
    except LeaseLost:
        raise
    except AppError as error:
        ctx.log("warning", "kernel", f"what an earlier attempt left undone is still so: {error.message}")


async def unrecorded_archives(
    plan: BackupPlan, grant: Grant, ctx: Context, storage: Storage, listed: Sequence[Listed]
) -> list[Found]:
    """Find archives whose names say that a run of ours made them, which has ended and left no record of them."""
    recorded = await ctx.run(lambda tx: on_record(tx, plan.repository.id))
    named = {one.name: made for one in listed if one.borg_id not in recorded and (made := maker(one.name))}
    if not named:
        return []
    ids = {job_id for job_id, _ in named.values()} - {plan.job_id}
    ended = await ctx.run(lambda tx: _ended(tx, plan.repository.id, ids))
    frozen = await ctx.run(lambda tx: hostile_for(tx, plan.repository.id))
    found: list[Found] = []
    for name, (job_id, run) in named.items():
        if job_id in ended and len(found) < _AT_ONCE:
            archive = await storage.archive(plan.repository, grant, name)
            known = await ctx.run(lambda tx, job_id=job_id, run=run: evidence_of(tx, job_id, run))
            ctx.log("warning", "kernel", f"{name} was made by a run of ours and is on no record: recorded as doubtful")
            backup_job_id, hostile = ended[job_id]
            evidence = ArchiveEvidence.of(known or RunEvidence())
            found.append(Found(archive, job_id, backup_job_id, evidence, hostile or frozen))
    return found


async def on_record(tx: UnitOfWork, repository_id: uuid.UUID) -> frozenset[str]:
    """Return the ids of all archives that have a record, also of those that are lost or about to be deleted."""
    rows = await tx.session.scalars(select(Archive.borg_id).where(Archive.repository_id == repository_id))
    return frozenset(borg_id for borg_id in rows if borg_id)


async def hostile_for(tx: UnitOfWork, repository_id: uuid.UUID) -> str:
    """Return why the repository's server is taken for hostile; empty where it is not: any name may be a lie then."""
    causes = (await tx.session.get_one(Repository, repository_id)).frozen_for
    return next((one["reason"] for one in causes if one["code"] in (HOSTILE, FORGED)), "")


async def _ended(
    tx: UnitOfWork, repository_id: uuid.UUID, ids: set[uuid.UUID]
) -> dict[uuid.UUID, tuple[uuid.UUID, str]]:
    """Return those of the jobs that have ended: their backup jobs, and for what they were taken for hostile."""
    query = select(Job.id, Job.backup_job_id, Job.code, Job.reason).where(
        Job.id.in_(ids),
        Job.repository_id == repository_id,
        Job.type == JobType.BACKUP_CREATE.value,
        Job.state.in_([state.value for state in TERMINAL]),
    )
    return {
        job_id: (backup_job_id, (reason or code) if code in (HOSTILE, FORGED) else "")
        for job_id, backup_job_id, code, reason in await tx.session.execute(query)
        if backup_job_id
    }
