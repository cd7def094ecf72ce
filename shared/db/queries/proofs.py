"""When backups were last proven to be restorable: the newest good proof of servers, repositories and backup jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.db.queries.latest import Latest
from shared.db.tables.proof import RestoreProof
from shared.domain.proofs import ProofState

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

_GOOD = RestoreProof.state == ProofState.GOOD.value
_OF_SERVERS = Latest(RestoreProof.server_id, RestoreProof.ended_at, (), _GOOD, 1)
_OF_REPOSITORIES = Latest(
    RestoreProof.repository_id, RestoreProof.ended_at, (RestoreProof.full_restore_seconds,), _GOOD, 1
)
_OF_BACKUP_JOBS = Latest(
    RestoreProof.backup_job_id, RestoreProof.ended_at, (RestoreProof.full_restore_seconds,), _GOOD, 1
)


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
