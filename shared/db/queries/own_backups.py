"""The backups of Borgfleet itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from shared.db.tables.job import Job
from shared.domain.job import JobState, JobType

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

_GOOD = (JobState.SUCCEEDED.value, JobState.WARNING.value)


async def last_own_backup(session: AsyncSession) -> datetime | None:
    """Return when the newest one was proven to be there; None if there is none."""
    good = select(func.max(Job.finished_at)).where(Job.type == JobType.SELF_BACKUP.value, Job.state.in_(_GOOD))
    found: datetime | None = await session.scalar(good)
    return found
