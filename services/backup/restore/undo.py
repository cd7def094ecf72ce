"""Undoes a restore with mode `swap`: what it placed is set aside, and what was there gets its name back.

Nothing is removed: afterwards what was restored stands beside it, as a restore with mode `beside` leaves it. The
restore's own row holds which names were changed, and by what each thing is known again: so the next run goes on in
whatever state one that was cut short left the names.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from services.backup.create.shielded import to_its_end
from services.backup.plan import reach_server
from services.backup.restore.server import Swapped
from services.backup.restore.tar import shown
from shared.db.clock import read_now
from shared.db.stores.requests import request_undo, requested_before, swap_noted
from shared.db.stores.secrets import FLEET_KEY
from shared.db.tables.job import Job
from shared.db.tables.server import Server
from shared.domain.job import JobState
from shared.domain.messages.backups import (
    UNDO_CHANGED,
    UNDO_GONE,
    UNDO_NOTHING,
    UNDO_OTHER,
    UNDO_PARENT,
    UNDO_REFUSED,
    UNDO_SERVER_GONE,
    UNDO_TAKEN,
    UNDO_TOO_LONG,
)
from shared.domain.restoring import RestoreAsked
from shared.errors import Conflict, Permanent
from shared.runtime.context import Abort
from shared.runtime.crashpoint import crashpoint
from shared.ssh.port import Credentials

if TYPE_CHECKING:
    from services.backup.restore.server import RestoreServers
    from shared.db.unit_of_work import UnitOfWork
    from shared.events.archive import RestoreUndo
    from shared.runtime.context import Context

_WRONG = {
    "gone": UNDO_GONE, "other": UNDO_OTHER, "taken": UNDO_TAKEN, "parent": UNDO_PARENT,
    "name_too_long": UNDO_TOO_LONG, "aside_gone": UNDO_GONE, "aside_other": UNDO_OTHER, "aside_changed": UNDO_CHANGED,
}  # fmt: skip
_NO_WAY = ("staging_gone", "parent_symlink", "target_refused")
"""What the server's script says where it cannot enter the directory."""
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What one undo needs, read in one transaction."""

    restore_id: uuid.UUID
    swapped: Swapped


async def undo_restore(event: RestoreUndo, ctx: Context, *, servers: RestoreServers) -> None:
    """Claim the job, rename back, record it; an outside request is first made a job."""
    if event.job_id is None:
        await _accept(event, ctx)
        return
    job = await ctx.claim(event.job_id)
    if job is None:
        return

    plan = await ctx.run(lambda tx: load_undo(tx, job))
    ctx.progress("connecting")
    if ctx.abort is not None:
        raise asyncio.CancelledError
    # A cancellation amid the renames comes too late: half of it would stand there.
    await to_its_end(_undone(plan, ctx, servers), give_up=lambda: ctx.abort is not Abort.CANCELLED)


async def load_undo(tx: UnitOfWork, job: Job) -> UndoPlan:
    """Read what the restore noted, and its server; Permanent where there is nothing to undo any more."""
    restore = await tx.session.get(Job, uuid.UUID(str(job.params.get("restore_id"))))
    if restore is None:
        raise Permanent(UNDO_NOTHING())
    try:
        noted = swap_noted(restore)
    except Conflict as error:
        raise Permanent(error.said) from error
    if not noted.get("possible"):
        raise Permanent(UNDO_NOTHING())
    asked = RestoreAsked.model_validate(restore.params)
    server = await tx.session.get(Server, asked.target_server_id or restore.server_id)
    if server is None:
        raise Permanent(UNDO_SERVER_GONE())
    below = [path[len(asked.top) + 1 :] if asked.top else path for path in asked.paths]
    return UndoPlan(
        restore_id=restore.id,
        swapped=Swapped(
            job_id=job.id,
            target=reach_server(server),
            credentials=Credentials(private_key=await tx.secrets.get(FLEET_KEY)),
            parent=posixpath.join("/", os.fsdecode(asked.top)),
            stamp=str((restore.result or {}).get("stamp")),
            items=[(below[number], new, old) for number, new, old in noted["items"]],
        ),
    )


async def _accept(event: RestoreUndo, ctx: Context) -> None:
    async def place(tx: UnitOfWork) -> None:
        if await requested_before(tx, ctx.key):
            return
        restore = await tx.session.get(Job, event.restore_id) if event.restore_id else None
        if restore is None:
            raise Permanent(UNDO_NOTHING())
        try:
            await request_undo(tx, restore, request_key=ctx.key)
        except Conflict as error:
            raise Permanent(error.said) from error

    await ctx.run(place)


async def _undone(plan: UndoPlan, ctx: Context, servers: RestoreServers) -> None:
    ctx.progress("putting back")
    crashpoint("undo_asked")
    try:
        told = await servers.undo(plan.swapped)
    except Permanent as error:
        if error.code not in _NO_WAY:
            raise
        where = plan.swapped.parent
        raise Permanent(UNDO_PARENT(path=where, server=plan.swapped.target.name, more=None)) from error
    if told["wrong"]:
        path, why = told["wrong"][0]
        full = posixpath.join(plan.swapped.parent, shown(os.fsencode(path)))
        full += f".before-restore-{plan.swapped.stamp}" if why.startswith("aside_") else ""
        full += f".restored-{plan.swapped.stamp}" if why == "taken" else ""
        more = told["wrong_count"] - 1 or None
        raise Permanent(_WRONG[why](path=full, server=plan.swapped.target.name, more=more))
    crashpoint("undo_renamed")
    await ctx.run(lambda tx: record_undo(tx, ctx, plan, told["refused"]))


async def record_undo(tx: UnitOfWork, ctx: Context, plan: UndoPlan, refused: list[list[str]]) -> None:
    """End the job, and say on the restore that it is undone; where something was refused it can be undone again."""
    swapped = plan.swapped
    listed = [{"path": shown(os.fsencode(path)), "code": code} for path, code in refused]
    stayed = {path for path, _ in refused}
    done = [(new, old) for path, new, old in swapped.items if os.fsdecode(path) not in stayed]
    result = {
        "restore_id": str(plan.restore_id), "server": swapped.target.name, "place": swapped.parent,
        "stamp": swapped.stamp, "put_back": sum(old is not None for _, old in done),
        "set_aside": sum(bool(new) for new, _ in done), "refused": listed[:_SHOWN], "refused_count": len(listed),
    }  # fmt: skip
    paths = [f"{one['path']} ({one['code']})" for one in listed]
    state = JobState.WARNING if listed else JobState.SUCCEEDED
    if not await ctx.finish(tx, state, warnings=[UNDO_REFUSED(paths=paths)] if paths else [], result=result):
        return
    restore = await tx.session.scalar(select(Job).where(Job.id == plan.restore_id).with_for_update())
    if restore is not None and not listed and ctx.job is not None:
        at = (await read_now(tx.session)).isoformat()
        restore.result = restore.result | {"undo": {"possible": False, "job_id": str(ctx.job.id), "at": at}}
        tx.jobs.changes.add(restore.id)
