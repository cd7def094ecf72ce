"""Records what came of a restore, and tells it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.db.tables.proof import RestoreProof
from shared.domain.job import JobState
from shared.domain.proofs import ProofState
from shared.events.archive import ArchiveRestored

if TYPE_CHECKING:
    from services.backup.restore.plan import RestorePlan
    from services.backup.restore.run import Restored
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context


async def record_restore(
    tx: UnitOfWork, ctx: Context, plan: RestorePlan, restored: Restored, *, kept_days: float
) -> None:
    """End the job; green only if nothing of what was asked for is missing or lost."""
    state = JobState.WARNING if restored.warnings else JobState.SUCCEEDED
    result = restored.result
    if result.get("undo") and ctx.job is not None:
        until = ctx.job.created_at + timedelta(days=kept_days)  # with the job goes what an undo goes by
        result = result | {"undo": result["undo"] | {"until": until.isoformat()}}
    if not await ctx.finish(tx, state, warnings=restored.warnings, result=result) or plan.asked.preview:
        return
    if state is JobState.SUCCEEDED and int(result["verified"]["hashed"]) and ctx.job is not None:
        tx.session.add(_proof(plan, ctx.job, result))
    tx.emit(
        ArchiveRestored(
            job_id=plan.job_id,
            correlation_id=ctx.correlation_id,
            archive_id=plan.archive_id,
            repository_id=plan.repository.id,
            server_id=plan.server_id,
            state=state.value,
            files=int(restored.result["files"]),
            original_size=int(restored.result["original_size"]),
            target=plan.told,
        )
    )


def _proof(plan: RestorePlan, job: Job, result: dict[str, Any]) -> RestoreProof:
    """Return what a restore proves of which nothing is missing, and hashes on the server were compared."""
    files = int(result["files"])
    return RestoreProof(
        job_id=job.id, archive_id=plan.archive_id, repository_id=plan.repository.id,
        server_id=plan.repository.server_id, backup_job_id=plan.backup_job_id, kind="restore",
        state=ProofState.GOOD.value, chosen=files, files=files, bytes=int(result["bytes"]),
        hashed=int(result["verified"]["hashed"]), started_at=job.started_at or job.created_at,
    )  # fmt: skip
