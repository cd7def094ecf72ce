"""`/api/backups/{id}/restores`."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from fastapi import APIRouter

from services.api.features.backups.schemas import RestoreIn
from services.api.kernel.dependencies import Asking, Gateway, Parts
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.job import JobOut
from services.api.kernel.pages import require
from services.api.kernel.scope import require_for
from shared.db.clock import read_now
from shared.db.stores.requests import request_restore
from shared.db.tables.job import Job
from shared.db.tables.server import Server
from shared.db.tables.storage import Archive
from shared.domain.job import JobState, JobType
from shared.domain.messages.backups import CONFIRM_NEEDED, CONFIRM_STALE
from shared.domain.permissions import Permission
from shared.domain.restoring import CONFIRMED, RestoreAsked
from shared.errors import Conflict

if TYPE_CHECKING:
    from shared.db.unit_of_work import UnitOfWork

_MINUTES = 15

router = APIRouter(tags=["backups"], route_class=GuardedRoute)


@router.post("/api/backups/{backup_id}/restores", dependencies=[Allow(Permission.BACKUPS_RESTORE)], status_code=202)
async def restore_backup(backup_id: uuid.UUID, body: RestoreIn, parts: Parts, asking: Asking) -> JobOut:
    """Queue a restore of a backup, or of what is chosen of it, into a directory that is empty or does not exist yet.

    What arrives is counted and compared before it is placed; nothing that is on the server is overwritten. What a swap
    or a merge takes the place of is set aside, and its task's result says where.
    """
    return await _queued(backup_id, body, parts, asking, preview=False)


@router.post(
    "/api/backups/{backup_id}/restores/preview", dependencies=[Allow(Permission.BACKUPS_RESTORE)], status_code=202
)
async def preview_restore(backup_id: uuid.UUID, body: RestoreIn, parts: Parts, asking: Asking) -> JobOut:
    """Queue a look at what a restore would do; its task's result tells it, and nothing is written."""
    return await _queued(backup_id, body, parts, asking, preview=True)


async def _queued(backup_id: uuid.UUID, body: RestoreIn, parts: Gateway, asking: Asking, *, preview: bool) -> JobOut:
    async def queue(tx: UnitOfWork) -> Job:
        archive = require(await tx.session.get(Archive, backup_id), "backup")
        if body.target_server_id not in (None, archive.server_id):
            elsewhere = Permission.BACKUPS_RESTORE_ELSEWHERE
            require(await tx.session.get(Server, body.target_server_id), "server")
            await require_for(tx.session, asking, elsewhere, body.target_server_id)
        asked = body.asked()
        if asked.mode in CONFIRMED and not preview:
            asked = await _confirmed(tx, archive, asked, body.confirm)
        params = asked.model_copy(update={"preview": preview}).model_dump(mode="json", exclude_none=True)
        job = await request_restore(tx, archive, params)
        job.title += " (preview)" if preview else ""
        await tx.session.flush()
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(queue))


async def _confirmed(tx: UnitOfWork, archive: Archive, asked: RestoreAsked, confirm: uuid.UUID | None) -> RestoreAsked:
    """Hold what is asked for against the preview that was looked at; what that showed has to be there still."""
    if confirm is None:
        raise Conflict(CONFIRM_NEEDED(mode=asked.mode), field="confirm")
    job = await tx.session.get(Job, confirm)
    stale = Conflict(CONFIRM_STALE(confirm=confirm, minutes=_MINUTES), field="confirm")
    if job is None or job.archive_id != archive.id or job.state != JobState.SUCCEEDED.value or not job.result:
        raise stale
    wanted = asked.model_copy(update={"preview": True}).model_dump(mode="json", exclude_none=True)
    too_old = job.finished_at is None or await read_now(tx.session) - job.finished_at > timedelta(minutes=_MINUTES)
    if job.type != JobType.ARCHIVE_RESTORE.value or job.params != wanted or too_old:
        raise stale
    return asked.model_copy(update={"shown": job.result["shown"]})
