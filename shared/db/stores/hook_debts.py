"""Post-hooks that are owed: said with each run that ends so, and counted until one succeeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select, update

from shared.db.tables.backup_job import BackupJob
from shared.db.tables.evidence import RunEvidenceRow
from shared.db.tables.job import Job
from shared.domain.messages import stored
from shared.domain.messages.backups import POST_HOOK_OWED

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

_OWED = POST_HOOK_OWED()


async def tell_owed(connection: AsyncConnection, job_ids: Sequence[uuid.UUID]) -> None:
    """Warn with those of these ended runs whose backup job owes a post-hook: whoever ended them may not know of it."""
    if not job_ids:
        return
    owing = select(RunEvidenceRow.backup_job_id).where(RunEvidenceRow.hook_owed.is_(True))
    silent = select(Job.id, Job.warnings, Job.warning_messages).where(Job.id.in_(job_ids), Job.backup_job_id.in_(owing))
    for job_id, warnings, messages in (await connection.execute(silent)).all():
        if _OWED.text not in warnings:
            entries = (messages or []) + [None] * (len(warnings) - len(messages or []))
            told = {"warnings": [*warnings, _OWED.text], "warning_messages": [*entries, stored(_OWED)]}
            await connection.execute(update(Job).where(Job.id == job_id).values(**told))


async def owed_per_backup_job(session: AsyncSession) -> dict[uuid.UUID, int]:
    """Count the ended runs that owe a post-hook; one that is under way runs its own at its end."""
    query = (
        select(RunEvidenceRow.backup_job_id, func.count())
        .join(Job, Job.id == RunEvidenceRow.job_id)
        .where(RunEvidenceRow.hook_owed.is_(True), Job.finished_at.is_not(None))
        .group_by(RunEvidenceRow.backup_job_id)
    )
    return {row[0]: row[1] for row in await session.execute(query)}


def owes_nothing() -> ColumnElement[bool]:
    """Select the jobs that no post-hook is owed for, or only one of a backup job that is gone."""
    living = RunEvidenceRow.backup_job_id.in_(select(BackupJob.id))
    return Job.id.not_in(select(RunEvidenceRow.job_id).where(and_(RunEvidenceRow.hook_owed.is_(True), living)))
