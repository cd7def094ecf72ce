"""Requests from outside: each makes a job, once a message, on the node that holds the repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.backup.plan import backup_job_named
from shared.db.stores.approvals import Asker, ask, asked_before, four_eyes
from shared.db.stores.requests import (
    request_backup,
    request_delete,
    request_maintenance,
    request_restore,
    requested_before,
)
from shared.db.tables.storage import Archive, Repository
from shared.domain.four_eyes import About, Command, Guarded
from shared.errors import Permanent

if TYPE_CHECKING:
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.job import JobType
    from shared.events.archive import ArchiveDelete, ArchiveRestore
    from shared.events.backup import BackupRequested
    from shared.events.repository import Maintenance
    from shared.runtime.context import Context


async def accept_maintenance_request(event: Maintenance, ctx: Context, *, kind: JobType) -> None:
    """Make a job of an outside request for maintenance of a repository."""
    params = event.model_dump(mode="json", include={"depth", "budget_seconds", "rebuild"})

    async def place(tx: UnitOfWork) -> None:
        if await requested_before(tx, ctx.key):
            return
        if event.repository_id is None or await tx.session.get(Repository, event.repository_id) is None:
            message = f"no repository with the id {event.repository_id}"
            remedy = "give `repository_id` as GET /api/repositories shows it"
            raise Permanent(message, code="repository_unknown", remedy=remedy)
        await request_maintenance(tx, kind, event.repository_id, request_key=ctx.key, **params)

    await ctx.run(place)


async def accept_backup_request(event: BackupRequested, ctx: Context) -> None:
    """Make a job of an outside request for a run of a backup job."""

    async def place(tx: UnitOfWork) -> None:
        if not await requested_before(tx, ctx.key):
            definition = await backup_job_named(tx, event.backup_job)
            await request_backup(tx, definition, request_key=ctx.key)

    await ctx.run(place)


async def accept_delete_request(event: ArchiveDelete, ctx: Context) -> None:
    """Make a job of an outside request to delete; with four eyes an approval that waits for a person instead."""

    async def place(tx: UnitOfWork) -> None:
        if await requested_before(tx, ctx.key) or await asked_before(tx.session, ctx.key):
            return
        archive = await _archive(tx, event)
        if (await four_eyes(tx.session)).enabled:
            command = Command(Guarded.DELETE_BACKUP, str(archive.id))
            about = About("backups", archive.name, archive.server_id)
            await ask(tx.session, command, Asker(), about, request_key=ctx.key)
            return
        await request_delete(tx, archive, request_key=ctx.key)

    await ctx.run(place)


async def accept_restore_request(event: ArchiveRestore, ctx: Context) -> None:
    """Make a job of an outside request to restore: all of the archive, to the server that it was made of."""

    async def place(tx: UnitOfWork) -> None:
        if not await requested_before(tx, ctx.key):
            await request_restore(tx, await _archive(tx, event), request_key=ctx.key)

    await ctx.run(place)


async def _archive(tx: UnitOfWork, event: ArchiveDelete | ArchiveRestore) -> Archive:
    archive = await tx.session.get(Archive, event.archive_id) if event.archive_id else None
    if archive is None:
        message = f"no backup with the id {event.archive_id}"
        raise Permanent(message, code="archive_unknown", remedy="give `archive_id` as GET /api/backups shows it")
    return archive
