"""`/api/backups`: archives, as people call them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query
from sqlalchemy import Select, select

from services.api.features.backups.guarded import delete, hold, hold_command
from services.api.features.backups.schemas import AcceptIn, BackupOut, HoldIn
from services.api.kernel.dependencies import Asking, Caller, PageBounds, Parts
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.job import JobOut
from services.api.kernel.pages import newest_first, require
from services.api.kernel.schemas import Page
from shared.db.clock import read_now
from shared.db.queries.retention import doubtful_archives, good_archives, is_doubtful, is_good, refuse_to_accept
from shared.db.tables.server import Server
from shared.db.tables.storage import Archive, Repository
from shared.domain.four_eyes import Command, Guarded
from shared.domain.permissions import Permission
from shared.events.archive import ArchiveAccepted

if TYPE_CHECKING:
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["backups"], route_class=GuardedRoute)
_TRUST = {"good": good_archives, "doubtful": doubtful_archives}


@router.get("/api/backups", dependencies=[Allow(Permission.BACKUPS_READ)])
async def list_backups(
    parts: Parts,
    bounds: PageBounds,
    server_id: Annotated[uuid.UUID | None, Query()] = None,
    backup_job_id: Annotated[uuid.UUID | None, Query()] = None,
    trust: Annotated[
        Literal["good", "doubtful"] | None,
        Query(description="Only those that can be relied on, or those that wait for a person's word."),
    ] = None,
) -> Page[BackupOut]:
    """List the backups, newest first."""
    query = _backups()
    query = query.where(Archive.server_id == server_id) if server_id else query
    query = query.where(Archive.backup_job_id == backup_job_id) if backup_job_id else query
    query = query.where(_TRUST[trust]()) if trust else query
    async with parts.db.read() as session:
        cut = await newest_first(session, query, (Archive.created_at, Archive.id), bounds)
    return cut.page([_shown(*row) for row in cut.rows])


@router.get("/api/backups/{backup_id}", dependencies=[Allow(Permission.BACKUPS_READ)])
async def get_backup(backup_id: uuid.UUID, parts: Parts) -> BackupOut:
    """Return one backup."""
    return await parts.db.run(lambda tx: _read(tx, backup_id))


@router.delete("/api/backups/{backup_id}", dependencies=[Allow(Permission.BACKUPS_DELETE)], status_code=202)
async def delete_backup(backup_id: uuid.UUID, parts: Parts, asking: Asking) -> JobOut:
    """Queue the deletion of a backup; it cannot be undone. A held one refuses.

    With four eyes the answer is the approval that waits for another person.
    """
    command = Command(Guarded.DELETE_BACKUP, str(backup_id))
    return JobOut.model_validate(await parts.db.run(lambda tx: delete(tx, asking, command)))


@router.post("/api/backups/{backup_id}/accept", dependencies=[Allow(Permission.BACKUPS_ACCEPT)])
async def accept_backup(backup_id: uuid.UUID, body: AcceptIn, parts: Parts, caller: Caller) -> BackupOut:
    """Accept a doubtful backup: it counts as good from now on, and later runs are compared with it.

    Who, when and why is kept. One that was accepted before stays as it is.
    """

    async def accept(tx: UnitOfWork) -> BackupOut:
        archive = require(await tx.session.get(Archive, backup_id, with_for_update=True), "backup")
        if archive.accepted_at is None:
            refuse_to_accept(archive)
            archive.accepted_at = await read_now(tx.session)
            archive.accepted_by, archive.accepted_reason = caller, body.reason
            accepted = ArchiveAccepted(
                archive_id=archive.id,
                repository_id=archive.repository_id,
                backup_job_id=archive.backup_job_id,
                accepted_by=caller,
                reason=body.reason,
            )
            tx.emit(accepted)
            await tx.session.flush()
        return await _read(tx, backup_id)

    return await parts.db.run(accept)


@router.put("/api/backups/{backup_id}/hold", dependencies=[Allow(Permission.BACKUPS_HOLD)])
async def hold_backup(backup_id: uuid.UUID, body: HoldIn, parts: Parts, asking: Asking) -> BackupOut:
    """Hold a backup: nothing deletes it until it is released or the time is over.

    With four eyes an earlier end than it has waits for another person (202).
    """
    return await _hold(parts, asking, hold_command(backup_id, body.reason, body.until))


@router.delete("/api/backups/{backup_id}/hold", dependencies=[Allow(Permission.BACKUPS_HOLD)])
async def release_backup(backup_id: uuid.UUID, parts: Parts, asking: Asking) -> BackupOut:
    """Release a held backup; with four eyes that waits for another person (202)."""
    return await _hold(parts, asking, hold_command(backup_id, None, None))


async def _hold(parts: Parts, asking: Asking, command: Command) -> BackupOut:
    async def work(tx: UnitOfWork) -> BackupOut:
        archive = await hold(tx, asking, command)
        await tx.session.flush()
        return await _read(tx, archive.id)

    return await parts.db.run(work)


async def _read(tx: UnitOfWork, backup_id: uuid.UUID) -> BackupOut:
    query = _backups().where(Archive.id == backup_id).execution_options(populate_existing=True)
    return _shown(*require((await tx.session.execute(query)).one_or_none(), "backup"))


def _backups() -> Select[Archive, str, str]:
    return (
        select(Archive, Server.name, Repository.name)
        .join(Server, Server.id == Archive.server_id)
        .join(Repository, Repository.id == Archive.repository_id)
    )


def _shown(archive: Archive, server: str, repository: str) -> BackupOut:
    names = {"server": server, "repository": repository, "title": f"{server} - {repository}"}
    trust = {"good": is_good(archive), "doubtful": is_doubtful(archive)}
    return BackupOut.model_validate({**vars(archive), **names, **trust})
