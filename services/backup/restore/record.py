"""Records what came of a restore, and tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.domain.job import JobState
from shared.events.archive import ArchiveRestored

if TYPE_CHECKING:
    from services.backup.restore.plan import RestorePlan
    from services.backup.restore.run import Restored
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context


async def record_restore(tx: UnitOfWork, ctx: Context, plan: RestorePlan, restored: Restored) -> None:
    """End the job; green only if nothing of what was asked for is missing or lost."""
    state = JobState.WARNING if restored.warnings else JobState.SUCCEEDED
    if not await ctx.finish(tx, state, warnings=restored.warnings, result=restored.result) or plan.asked.preview:
        return
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
