"""`/api/backup-jobs`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from fastapi import APIRouter
from sqlalchemy import Select, select

from services.api.dependencies import PageBounds, Parts
from services.api.queries import by_text, found
from services.api.schemas.backup_job import BackupJobIn, BackupJobOut
from services.api.schemas.common import Page
from services.api.schemas.job import JobOut
from shared.db.repositories.requests import request_backup
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository
from shared.errors import Conflict, Invalid

if TYPE_CHECKING:
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["backup jobs"])


@router.get("/api/backup-jobs")
async def list_backup_jobs(parts: Parts, bounds: PageBounds) -> Page[BackupJobOut]:
    """List the backup jobs by name."""
    async with parts.db.read() as session:
        rows, following = await by_text(session, _backup_jobs(), BackupJob.name, bounds)
    return Page(items=[_shown(*row) for row in rows], next=following)


@router.post("/api/backup-jobs", status_code=201)
async def add_backup_job(body: BackupJobIn, parts: Parts) -> BackupJobOut:
    """Add a backup job; nothing runs before it is asked to."""

    async def add(tx: UnitOfWork) -> tuple[BackupJob, str, str]:
        await _check_place(tx, body)
        definition = BackupJob(**body.model_dump())
        tx.session.add(definition)
        await tx.session.flush()
        return await _read(tx, definition.id)

    return _shown(*await parts.db.run(add))


@router.get("/api/backup-jobs/{backup_job_id}")
async def get_backup_job(backup_job_id: uuid.UUID, parts: Parts) -> BackupJobOut:
    """Return one backup job."""
    return _shown(*await parts.db.run(lambda tx: _read(tx, backup_job_id)))


@router.put("/api/backup-jobs/{backup_job_id}")
async def change_backup_job(backup_job_id: uuid.UUID, body: BackupJobIn, parts: Parts) -> BackupJobOut:
    """Replace a backup job's definition; runs that began keep the old one."""

    async def change(tx: UnitOfWork) -> tuple[BackupJob, str, str]:
        definition = found(await tx.session.get(BackupJob, backup_job_id), "backup job")
        await _check_place(tx, body)
        for name, value in body.model_dump().items():
            setattr(definition, name, value)
        await tx.session.flush()
        return await _read(tx, backup_job_id)

    return _shown(*await parts.db.run(change))


@router.delete("/api/backup-jobs/{backup_job_id}", status_code=204)
async def delete_backup_job(backup_job_id: uuid.UUID, parts: Parts) -> None:
    """Delete a backup job; its backups stay."""

    async def forget(tx: UnitOfWork) -> None:
        await tx.session.delete(found(await tx.session.get(BackupJob, backup_job_id), "backup job"))

    await parts.db.run(forget)


@router.post("/api/backup-jobs/{backup_job_id}/run", status_code=202)
async def run_backup_job(backup_job_id: uuid.UUID, parts: Parts) -> JobOut:
    """Queue a run now."""

    async def queue(tx: UnitOfWork) -> Job:
        definition = found(await tx.session.get(BackupJob, backup_job_id), "backup job")
        if not definition.enabled:
            message = f"the backup job {definition.name} is switched off"
            raise Conflict(message, code="backup_job_disabled", remedy="switch it on with POST .../toggle")
        job = await request_backup(tx, definition)
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(queue))


@router.post("/api/backup-jobs/{backup_job_id}/toggle")
async def toggle_backup_job(backup_job_id: uuid.UUID, parts: Parts) -> BackupJobOut:
    """Switch a backup job off or on."""

    async def toggle(tx: UnitOfWork) -> tuple[BackupJob, str, str]:
        definition = found(await tx.session.get(BackupJob, backup_job_id), "backup job")
        definition.enabled = not definition.enabled
        await tx.session.flush()
        return await _read(tx, backup_job_id)

    return _shown(*await parts.db.run(toggle))


async def _check_place(tx: UnitOfWork, body: BackupJobIn) -> None:
    repository = found(await tx.session.get(Repository, body.repository_id), "repository")
    if repository.server_id != body.server_id:
        message = "this repository belongs to another server"
        raise Invalid(message, code="wrong_repository", remedy="choose one of the server's own repositories")


async def _read(tx: UnitOfWork, backup_job_id: uuid.UUID) -> tuple[BackupJob, str, str]:
    query = _backup_jobs().where(BackupJob.id == backup_job_id).execution_options(populate_existing=True)
    row = (await tx.session.execute(query)).one_or_none()
    return found(row, "backup job")


def _backup_jobs() -> Select[BackupJob, str, str]:
    return (
        select(BackupJob, Server.name, Repository.name)
        .join(Server, Server.id == BackupJob.server_id)
        .join(Repository, Repository.id == BackupJob.repository_id)
    )


def _shown(definition: BackupJob, server: str, repository: str) -> BackupJobOut:
    return BackupJobOut.model_validate({**vars(definition), "server": server, "repository": repository})
