"""Deleting a backup, and holding it for less time: what may need a second person."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING

from services.api.kernel.errors import Outdated
from services.api.kernel.pages import require
from services.api.security.approvals import agreed
from shared.db.clock import read_now
from shared.db.stores.requests import request_delete
from shared.db.tables.storage import Archive, is_held
from shared.domain.four_eyes import About, Command, Guarded
from shared.domain.messages.approvals import APPROVAL_HOLD_CHANGED
from shared.domain.messages.backups import ARCHIVE_HELD, ARCHIVE_LEAVING
from shared.errors import Conflict

if TYPE_CHECKING:
    from services.api.kernel.principal import Principal
    from services.api.security.approvals import Actions
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork


async def delete(tx: UnitOfWork, asking: Principal, command: Command) -> Job:
    """Queue the deletion of a backup; Conflict of one that is held."""
    archive = require(await tx.session.get(Archive, uuid.UUID(command.target), with_for_update=True), "backup")
    if is_held(archive, await read_now(tx.session)):
        raise Conflict(ARCHIVE_HELD(reason=archive.held_reason))
    await agreed(tx, asking, command, _about(archive))
    job = await request_delete(tx, archive)
    await tx.session.refresh(job)
    return job


def hold_command(backup_id: uuid.UUID, reason: str | None, until: datetime | None) -> Command:
    """Return what gives a backup this hold instead of the one there is; no reason: none at all."""
    fields = {"reason": reason, "until": until.isoformat() if until else None}
    return Command(Guarded.RELEASE_BACKUP, str(backup_id), fields)


async def hold(tx: UnitOfWork, asking: Principal, command: Command) -> Archive:
    """Give a backup a hold, or none; one that ends earlier than that there is may need a second person."""
    archive = require(await tx.session.get(Archive, uuid.UUID(command.target), with_for_update=True), "backup")
    reason, until = command.fields["reason"], _moment(command.fields["until"])
    if reason is not None and archive.deleting:
        raise Conflict(ARCHIVE_LEAVING(archive=archive.name))
    seen = {"held_reason": archive.held_reason, "held_until": _text(archive.held_until)}
    if asking.approval is not None and command.fields.get("seen") != seen:
        raise Outdated(APPROVAL_HOLD_CHANGED())
    if is_held(archive, await read_now(tx.session)) and (reason is None or _earlier(until, archive.held_until)):
        fields = {**command.fields, "seen": seen}
        await agreed(tx, asking, Command(command.kind, command.target, fields), _about(archive))
    archive.held_reason, archive.held_until = reason, until
    return archive


def _earlier(until: datetime | None, before: datetime | None) -> bool:
    """Tell whether a hold would end before the one there is does; None: it has no end."""
    return until is not None and (before is None or until < before)


def _about(archive: Archive) -> About:
    return About("backups", archive.name, archive.server_id)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


GUARDED: Actions = {Guarded.DELETE_BACKUP: delete, Guarded.RELEASE_BACKUP: hold}
"""What is done once another person has agreed."""
