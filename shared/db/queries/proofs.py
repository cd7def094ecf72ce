"""When backups were last proven to be restorable: the newest good proof of servers, repositories and backup jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, or_
from sqlalchemy.orm import aliased

from shared.db.queries.latest import Latest
from shared.db.tables.proof import RestoreProof
from shared.domain.proofs import ProofState

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

_GOOD = RestoreProof.state == ProofState.GOOD.value
_OF_SERVERS = Latest(RestoreProof.server_id, RestoreProof.ended_at, (), _GOOD, 1)
_OF_REPOSITORIES = Latest(
    RestoreProof.repository_id, RestoreProof.ended_at, (RestoreProof.full_restore_seconds,), _GOOD, 1
)
_OF_BACKUP_JOBS = Latest(
    RestoreProof.backup_job_id, RestoreProof.ended_at, (RestoreProof.full_restore_seconds,), _GOOD, 1
)


def is_superseded() -> ColumnElement[bool]:
    """Select what may be forgotten: all but the newest good proof of each repository and backup job."""
    newer = aliased(RestoreProof)
    same = and_(
        newer.repository_id == RestoreProof.repository_id,
        newer.backup_job_id.is_not_distinct_from(RestoreProof.backup_job_id),
        newer.state == ProofState.GOOD.value,
        newer.ended_at > RestoreProof.ended_at,
    )
    return or_(RestoreProof.state != ProofState.GOOD.value, exists().where(same))


async def servers_proven(session: AsyncSession, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, datetime]:
    """Return when something of each server's backups was last proven, where anything ever was."""
    return {key: rows[0].at for key, rows in (await _OF_SERVERS.of(session, ids)).items()}


async def repositories_proven(
    session: AsyncSession, ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, tuple[datetime, float | None]]:
    """Return the same of repositories, with about how many seconds a full restore takes, where that is known."""
    found = await _OF_REPOSITORIES.of(session, ids)
    return {key: (rows[0].at, rows[0].full_restore_seconds) for key, rows in found.items()}


async def backup_jobs_proven(
    session: AsyncSession, ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, tuple[datetime, float | None]]:
    """Return the same of backup jobs."""
    found = await _OF_BACKUP_JOBS.of(session, ids)
    return {key: (rows[0].at, rows[0].full_restore_seconds) for key, rows in found.items()}
