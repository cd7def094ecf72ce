"""Records what a restore test came to: the job's end, a row for each backup job, and the archives that are damaged."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import update

from services.backup.drills.told import error_of, first, result_of, warnings_of
from shared.db.tables.proof import RestoreProof
from shared.db.tables.storage import Archive
from shared.domain.job import JobState
from shared.domain.proofs import Findings, ProofState, full_restore_seconds
from shared.events.repository import RestoreTested

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from services.backup.drills.plan import DrillPlan
    from services.backup.drills.read import ArchiveTested
    from services.backup.drills.run import Outcome
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context


async def record_test(tx: UnitOfWork, ctx: Context, plan: DrillPlan, outcome: Outcome) -> None:
    """End the job; green only if everything that was chosen was read and agreed."""
    tested, error, warnings = outcome.tested, error_of(outcome), warnings_of(plan, outcome)
    state = JobState.FAILED if error else JobState.WARNING if warnings else JobState.SUCCEEDED
    if not await ctx.finish(tx, state, error=error, warnings=warnings, result=result_of(plan, outcome)):
        return
    for one in outcome.archives:
        if one.tested.damaged:
            damage = f"a restore test could not read it: {first(one.damaged) or one.reason}; {one.reason}"
            hurt = update(Archive).where(Archive.id == one.archive.id)
            await tx.session.execute(hurt.values(damage=damage, proven_at=None))
    _add_rows(tx, plan, outcome)
    if ctx.job is not None:
        tx.emit(
            RestoreTested(
                job_id=ctx.job.id,
                correlation_id=ctx.correlation_id,
                repository_id=plan.repository.id,
                kind=plan.asked.kind,
                state=tested.state.value,
                files=tested.read,
                bytes=tested.bytes,
                damaged=tested.damaged,
            )
        )


def _add_rows(tx: UnitOfWork, plan: DrillPlan, outcome: Outcome) -> None:
    """Add a row for each backup job; of a test that found nothing to read one for what was asked for.

    What the whole run came to stands in each: beside a damaged backup job no other one makes the repository green.
    """
    state = outcome.tested.state
    groups: defaultdict[uuid.UUID | None, list[ArchiveTested]] = defaultdict(list)
    for one in outcome.archives:
        groups[one.archive.backup_job_id].append(one)
    if not groups:
        groups[plan.asked.backup_job_id] = []
    for backup_job_id, archives in groups.items():
        tested, size = Findings(), 0
        for one in archives:
            tested.add(one.tested)
            size = size or one.archive.original_size
        figures = {name: getattr(tested, name) for name in vars_of(tested) if name != "read"}
        came_to = state if tested.state is ProofState.GOOD else tested.state
        tx.session.add(
            RestoreProof(
                job_id=plan.job_id, archive_id=archives[0].archive.id if archives else None,
                repository_id=plan.repository.id, server_id=plan.repository.server_id, backup_job_id=backup_job_id,
                kind=plan.asked.kind, state=came_to.value, archives=len(archives), files=tested.read,
                full_restore_seconds=full_restore_seconds(tested, size), started_at=plan.began_at, **figures,
            )
        )  # fmt: skip


def vars_of(tested: Findings) -> Iterable[str]:
    """Return the names of the figures."""
    return tested.__dataclass_fields__
