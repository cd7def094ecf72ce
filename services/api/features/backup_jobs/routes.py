"""`/api/backup-jobs`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from sqlalchemy import Select, select

from services.api.features.backup_jobs.guarded import define, definition_command, delete
from services.api.features.backup_jobs.places import check_place
from services.api.features.backup_jobs.schemas import BackupJobIn, BackupJobOut, BackupJobPatch, BackupJobPut
from services.api.kernel.dependencies import Asking, PageBounds, Parts
from services.api.kernel.etag import IfMatch, meant_for, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.job import JobOut
from services.api.kernel.pages import by_text, require
from services.api.kernel.patches import MERGES, documented, merged
from services.api.kernel.scheduling import Owner, replace_schedules, schedules_of
from services.api.kernel.scheduling import to_schema as schedule_shown
from services.api.kernel.schemas import Page
from services.api.kernel.versions import claimed
from shared.db.queries.proofs import backup_jobs_proven
from shared.db.queries.retention import last_good
from shared.db.stores.requests import request_backup
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository
from shared.domain.four_eyes import Command, Guarded
from shared.domain.messages.backups import BACKUP_JOB_DISABLED
from shared.domain.permissions import Permission
from shared.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.tables.job import Job
    from shared.db.tables.schedule import Schedule
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["backup jobs"], route_class=GuardedRoute)


@router.get("/api/backup-jobs", dependencies=[Allow(Permission.BACKUP_JOBS_READ)])
async def list_backup_jobs(parts: Parts, bounds: PageBounds) -> Page[BackupJobOut]:
    """List the backup jobs by name."""
    async with parts.db.read() as session:
        cut = await by_text(session, _backup_jobs(), BackupJob.name, bounds)
        ids = [row[0].id for row in cut.rows]
        schedules, since = await schedules_of(session, ids), await _since(session, ids)
    return cut.page([_shown(row, schedules[row[0].id], since[row[0].id]) for row in cut.rows])


@router.post("/api/backup-jobs", dependencies=[Allow(Permission.BACKUP_JOBS_WRITE)], status_code=201)
async def add_backup_job(body: BackupJobIn, parts: Parts, response: Response) -> BackupJobOut:
    """Add a backup job; nothing runs before it is asked to."""

    async def add(tx: UnitOfWork) -> BackupJobOut:
        await check_place(tx, body)
        definition = BackupJob(**body.model_dump(exclude={"schedules"}))
        tx.session.add(definition)
        await tx.session.flush()
        await replace_schedules(tx, _owner(definition), body.schedules or [])
        return await _read(tx, definition.id)

    return tagged(response, await parts.db.run(add))


@router.get("/api/backup-jobs/{backup_job_id}", dependencies=[Allow(Permission.BACKUP_JOBS_READ)])
async def get_backup_job(backup_job_id: uuid.UUID, parts: Parts, response: Response) -> BackupJobOut:
    """Return one backup job."""
    return tagged(response, await parts.db.run(lambda tx: _read(tx, backup_job_id)))


@router.put("/api/backup-jobs/{backup_job_id}", dependencies=[Allow(Permission.BACKUP_JOBS_WRITE)])
async def change_backup_job(
    backup_job_id: uuid.UUID,
    body: BackupJobPut,
    parts: Parts,
    asking: Asking,
    if_match: IfMatch,
    response: Response,
) -> BackupJobOut:
    """Replace a backup job's definition; runs that began keep the old one.

    With four eyes a retention that keeps less waits for another person (202).
    """

    async def change(tx: UnitOfWork) -> BackupJobOut:
        command = definition_command(backup_job_id, body)
        await define(tx, asking, command, meant_for(if_match, body.version))
        return await _read(tx, backup_job_id)

    return tagged(response, await parts.db.run(change))


@router.patch(
    "/api/backup-jobs/{backup_job_id}",
    dependencies=[Allow(Permission.BACKUP_JOBS_WRITE), MERGES],
    openapi_extra=documented(BackupJobPatch),
)
async def patch_backup_job(
    backup_job_id: uuid.UUID,
    body: BackupJobPatch,
    parts: Parts,
    asking: Asking,
    if_match: IfMatch,
    response: Response,
) -> BackupJobOut:
    """Change what is named of a backup job's definition; null takes the default again, and all schedules away.

    With four eyes a retention that keeps less waits for another person (202).
    """

    async def change(tx: UnitOfWork) -> BackupJobOut:
        definition = await claimed(tx, BackupJob, backup_job_id, "backup job", if_match)
        present = {name: getattr(definition, name) for name in BackupJob.DEFINITION}
        command = definition_command(backup_job_id, merged(BackupJobIn, present, body, schedules=[]))
        await define(tx, asking, command, if_match)
        return await _read(tx, backup_job_id)

    return tagged(response, await parts.db.run(change))


@router.delete("/api/backup-jobs/{backup_job_id}", dependencies=[Allow(Permission.BACKUP_JOBS_WRITE)], status_code=204)
async def delete_backup_job(backup_job_id: uuid.UUID, parts: Parts, asking: Asking, if_match: IfMatch) -> None:
    """Delete a backup job; its backups stay, and are kept as their repository says.

    With four eyes it waits for another person (202) where that is less.
    """
    command = Command(Guarded.DELETE_JOB, str(backup_job_id))
    await parts.db.run(lambda tx: delete(tx, asking, command, if_match))


@router.post("/api/backup-jobs/{backup_job_id}/run", dependencies=[Allow(Permission.BACKUP_JOBS_RUN)], status_code=202)
async def run_backup_job(backup_job_id: uuid.UUID, parts: Parts) -> JobOut:
    """Queue a run now."""

    async def queue(tx: UnitOfWork) -> Job:
        definition = require(await tx.session.get(BackupJob, backup_job_id), "backup job")
        if not definition.enabled:
            raise Conflict(BACKUP_JOB_DISABLED(backup_job=definition.name))
        job = await request_backup(tx, definition)
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(queue))


@router.post("/api/backup-jobs/{backup_job_id}/toggle", dependencies=[Allow(Permission.BACKUP_JOBS_WRITE)])
async def toggle_backup_job(
    backup_job_id: uuid.UUID, parts: Parts, if_match: IfMatch, response: Response
) -> BackupJobOut:
    """Switch a backup job off or on."""

    async def toggle(tx: UnitOfWork) -> BackupJobOut:
        definition = await claimed(tx, BackupJob, backup_job_id, "backup job", if_match)
        definition.enabled = not definition.enabled
        await tx.session.flush()
        return await _read(tx, backup_job_id)

    return tagged(response, await parts.db.run(toggle))


async def _read(tx: UnitOfWork, backup_job_id: uuid.UUID) -> BackupJobOut:
    query = _backup_jobs().where(BackupJob.id == backup_job_id).execution_options(populate_existing=True)
    row = require((await tx.session.execute(query)).one_or_none(), "backup job")
    schedules = (await schedules_of(tx.session, [backup_job_id]))[backup_job_id]
    return _shown(row, schedules, (await _since(tx.session, [backup_job_id]))[backup_job_id])


async def _since(session: AsyncSession, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, dict[str, Any]]:
    """Return when each one's last good backup was made, and when its backups were last proven."""
    good, proven = await last_good(session, ids), await backup_jobs_proven(session, ids)
    since: dict[uuid.UUID, dict[str, Any]] = {one: {"last_good_at": good.get(one)} for one in ids}
    for one, (at, full) in proven.items():
        since[one] |= {"restore_proven_at": at, "full_restore_seconds": full}
    return since


def _owner(definition: BackupJob) -> Owner:
    return Owner(backup_job_id=definition.id, name=definition.name)


def _backup_jobs() -> Select[BackupJob, str, Repository]:
    return (
        select(BackupJob, Server.name, Repository)
        .join(Server, Server.id == BackupJob.server_id)
        .join(Repository, Repository.id == BackupJob.repository_id)
    )


def _shown(row: Row[BackupJob, str, Repository], schedules: Sequence[Schedule], since: dict[str, Any]) -> BackupJobOut:
    definition, server, repository = row
    names = {"server": server, "repository": repository.name, **since}
    names |= {"checked_at": repository.checked_at, "compacted_at": repository.compacted_at}
    listed = [schedule_shown(one, _owner(definition)) for one in schedules]
    return BackupJobOut.model_validate({**vars(definition), **names, "schedules": listed})
