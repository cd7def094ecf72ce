"""`/api/repositories/{id}/restore-tests` and `/api/proofs`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from sqlalchemy import Select, select

from services.api.features.proofs.schemas import ProofOut, RestoreTestIn
from services.api.kernel.dependencies import PageBounds, Parts
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.job import JobOut
from services.api.kernel.pages import newest_first, require
from services.api.kernel.schemas import Page
from shared.db.stores.requests import request_maintenance
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.proof import RestoreProof
from shared.db.tables.server import Server
from shared.db.tables.storage import Archive, Repository
from shared.domain.job import JobType
from shared.domain.permissions import Permission
from shared.domain.proofs import ProofState

if TYPE_CHECKING:
    from sqlalchemy import Row

    from services.api.kernel.dependencies import Bounds, Gateway
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["restore tests"], route_class=GuardedRoute)
State = Annotated[ProofState | None, Query(description="Only those that came to this.")]


@router.post(
    "/api/repositories/{repository_id}/restore-tests",
    dependencies=[Allow(Permission.REPOSITORIES_RESTORE_TEST)],
    status_code=202,
)
async def test_restore(repository_id: uuid.UUID, body: RestoreTestIn, parts: Parts) -> JobOut:
    """Queue a restore test: files of backups are read as a restore would, compared, and thrown away.

    It runs beside backups. Its task's result says what was read; `GET .../restore-tests` what it proved.
    """

    async def queue(tx: UnitOfWork) -> Job:
        repository = require(await tx.session.get(Repository, repository_id), "repository")
        mine = Archive.repository_id == repository.id
        if body.archive_id is not None:
            wanted = select(Archive.id).where(mine, Archive.id == body.archive_id)
            require(await tx.session.scalar(wanted), "backup")
        if body.backup_job_id is not None:
            here = BackupJob.id == body.backup_job_id, BackupJob.repository_id == repository.id
            made = select(Archive.id).where(mine, Archive.backup_job_id == body.backup_job_id).limit(1)
            defined = await tx.session.scalar(select(BackupJob.id).where(*here))
            require(defined or await tx.session.scalar(made), "backup job")
        asked = body.model_dump(mode="json", exclude_none=True)
        job = await request_maintenance(tx, JobType.RESTORE_TEST, repository.id, **asked)
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(queue))


@router.get("/api/repositories/{repository_id}/restore-tests", dependencies=[Allow(Permission.REPOSITORIES_READ)])
async def list_of_repository(
    repository_id: uuid.UUID, parts: Parts, bounds: PageBounds, state: State = None
) -> Page[ProofOut]:
    """List what restore tests and restores have shown of a repository's backups, newest first."""
    async with parts.db.read() as session:
        require(await session.get(Repository, repository_id), "repository")
    return await _page(parts, _proofs(state).where(RestoreProof.repository_id == repository_id), bounds)


@router.get("/api/proofs", dependencies=[Allow(Permission.REPOSITORIES_READ)])
async def list_proofs(
    parts: Parts,
    bounds: PageBounds,
    server_id: Annotated[uuid.UUID | None, Query()] = None,
    backup_job_id: Annotated[uuid.UUID | None, Query()] = None,
    state: State = None,
) -> Page[ProofOut]:
    """List what restore tests and restores have shown, newest first."""
    query = _proofs(state)
    query = query.where(RestoreProof.server_id == server_id) if server_id else query
    query = query.where(RestoreProof.backup_job_id == backup_job_id) if backup_job_id else query
    return await _page(parts, query, bounds)


def _proofs(state: ProofState | None) -> Select[RestoreProof, str, str, str]:
    query = (
        select(RestoreProof, Server.name, Repository.name, BackupJob.name)
        .join(Server, Server.id == RestoreProof.server_id)
        .join(Repository, Repository.id == RestoreProof.repository_id)
        .outerjoin(BackupJob, BackupJob.id == RestoreProof.backup_job_id)
    )
    return query if state is None else query.where(RestoreProof.state == state.value)


async def _page(parts: Gateway, query: Select[RestoreProof, str, str, str], bounds: Bounds) -> Page[ProofOut]:
    async with parts.db.read() as session:
        cut = await newest_first(session, query, (RestoreProof.ended_at, RestoreProof.id), bounds)
    return cut.page([_shown(row) for row in cut.rows])


def _shown(row: Row[RestoreProof, str, str, str]) -> ProofOut:
    proof, server, repository, backup_job = row
    names = {"server": server, "repository": repository, "backup_job": backup_job, "backup_id": proof.archive_id}
    return ProofOut.model_validate({**vars(proof), **names})
