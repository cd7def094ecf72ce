"""Reads when backups were last proven to be restorable, and how often they are to be."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import func, select

from shared.db.queries.proofs import backup_jobs_proven, repositories_proven
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.schedule import Schedule
from shared.db.tables.server import Server
from shared.db.tables.storage import Archive, Repository
from shared.domain.job import JobType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

Triple: TypeAlias = "tuple[str, Sequence[str], float | None]"
_NAME = "borgfleet_restore_proof"


async def load_proofs(session: AsyncSession) -> list[Triple]:
    """Return the figures of repositories, with an empty backup job, and of backup jobs."""
    query = select(Repository.id, Server.name, Repository.name).join(Server, Server.id == Repository.server_id)
    names = {row[0]: (row[1], row[2]) for row in await session.execute(query)}
    jobs = {row[0]: (row[1], row[2]) for row in await session.execute(_JOBS)}
    proven: dict[uuid.UUID, Any] = await repositories_proven(session, list(names))
    of_jobs = await backup_jobs_proven(session, list(jobs))
    figures: list[Triple] = []
    labels = {one: (*where, "") for one, where in names.items()}
    labels |= {one: (*names[of], name) for one, (of, name) in jobs.items() if of in names}
    for one, label in labels.items():
        at = (proven.get(one) or of_jobs.get(one) or (None,))[0]
        figures.append((f"{_NAME}_timestamp_seconds", label, at.timestamp() if at else None))
    return figures + await _policies(session, labels)


_JOBS = select(BackupJob.id, BackupJob.repository_id, BackupJob.name)


async def _policies(session: AsyncSession, labels: Mapping[uuid.UUID, tuple[str, ...]]) -> list[Triple]:
    """Return the period of each policy, the shortest where there are several, and since when it holds.

    An archive has to be there before anything can be proven: an empty repository is late with nothing.
    """
    first = select(Archive.repository_id, func.min(Archive.created_at)).group_by(Archive.repository_id)
    begun: dict[uuid.UUID, datetime] = {row[0]: row[1] for row in await session.execute(first)}
    periods: dict[uuid.UUID, tuple[int, float]] = {}
    policies = select(Schedule).where(Schedule.task == JobType.RESTORE_TEST.value)
    for row in await session.scalars(policies):
        repository_id = row.repository_id
        if repository_id is None or repository_id not in begun:
            continue
        about = _about(row.params) or repository_id
        since = max(row.created_at, begun[repository_id]).timestamp()
        period, earlier = periods.get(about, (row.period_seconds, since))
        periods[about] = min(period, row.period_seconds), min(earlier, since)
    figures: list[Triple] = []
    for one, (period, since) in periods.items():
        if (label := labels.get(one)) is not None:
            figures.append((f"{_NAME}_period_seconds", label, period))
            figures.append((f"{_NAME}_expected_timestamp_seconds", label, since))
    return figures


def _about(params: Any) -> uuid.UUID | None:
    """Return the backup job that a policy is for; what cannot be read is for the repository."""
    try:
        return uuid.UUID(params["backup_job_id"])
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
