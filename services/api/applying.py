"""Does what another person has agreed to, once its cooling time is over: once, or not at all."""

from __future__ import annotations

import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select, update

from services.api.audit.record import Watch
from services.api.kernel.errors import Outdated
from services.api.kernel.scope import require_for, require_permission, servers_for
from services.api.kernel.versions import Versions
from services.api.security.recall import recall
from shared.db.stores.audit import Actor, Deed
from shared.db.tables.approval import Approval
from shared.db.tables.base import db_now
from shared.db.visible import seeing
from shared.domain.four_eyes import OUTSIDE, PERMISSION_OF, Command, Guarded
from shared.domain.messages import stored
from shared.domain.messages.approvals import APPROVAL_ASKER_GONE, APPROVAL_DECIDER_GONE, APPROVAL_UNKNOWN
from shared.domain.permissions import Permission
from shared.errors import AppError, Conflict, Forbidden, NotFound
from shared.runtime.crashpoint import crashpoint
from shared.runtime.outcome import outcome
from shared.runtime.piecemeal import is_nobodys_fault
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    import asyncio

    from services.api.kernel.principal import Principal
    from services.api.security.approvals import Actions
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

_EVERY_SECONDS, _AT_ONCE = 5.0, 50
_log = structlog.get_logger()


class Applying:
    """One gateway's part: each may do it, for what was agreed to is done by who takes its row first."""

    def __init__(self, db: Database, actions: Actions) -> None:
        """Take what does each kind of guarded action."""
        self._db, self._actions = db, actions

    def task(self) -> Periodic:
        """Return the work as a task."""
        return Periodic("approvals", self.round, every=_EVERY_SECONDS, jitter=1.0)

    async def round(self, stopping: asyncio.Event) -> None:
        """Do all that is due, and let go what nobody decided in time."""
        async with self._db.read() as session:
            due = select(Approval.id, Approval.state).where(
                Approval.state.in_(("asked", "approved")), Approval.run_at <= db_now()
            )
            rows = (await session.execute(due.order_by(Approval.run_at).limit(_AT_ONCE))).all()
        for identity, state in rows:
            if stopping.is_set():
                return
            if state == "asked":
                await self._db.run(partial(_expire, identity), repeatable=True)
            else:
                await self._do(identity)

    async def _do(self, identity: uuid.UUID) -> None:
        error = await outcome(self._db.run(partial(self._apply, identity), repeatable=True))
        if error is None:
            return
        if is_nobodys_fault(error):
            raise error
        if not isinstance(error, AppError):
            _log.error("approval_unreadable", approval=str(identity), exc_info=error)
            error = Conflict(APPROVAL_UNKNOWN())
        await self._db.run(partial(_refuse, identity, error), repeatable=True)

    async def _apply(self, identity: uuid.UUID, tx: UnitOfWork) -> None:
        """Do one of them: that it is done commits with what is done, so nobody ever does it again."""
        due = Approval.id == identity, Approval.state == "approved", Approval.run_at <= db_now()
        row = await tx.session.scalar(select(Approval).where(*due).with_for_update())
        if row is None:
            return
        row.state, row.open_key, row.done_at = "done", None, db_now()
        await tx.session.flush()
        crashpoint("approval_taken")
        command = _command(row)
        asker = await _asker(tx, row, PERMISSION_OF[command.kind])
        told = _deed(row)
        tx.jobs.correlation_id = row.id
        watch = Watch()
        Versions().attach(tx.session)
        watch.attach(tx.session)
        servers = await servers_for(self._db, asker, PERMISSION_OF[command.kind]) if told.server_id else None
        with seeing(tx.session, servers):
            await self._actions[command.kind](tx, replace(asker, approval=row.id), command)
            await tx.session.flush()
        after = {key: one for key, one in watch.after.items() if one} | dict(told.after or {})
        before = {key: one for key, one in watch.before.items() if one}
        await tx.audit.add(_actor(row), replace(told, before=before, after=after))
        crashpoint("approval_applied")


def _command(row: Approval) -> Command:
    if row.kind not in set(Guarded):
        raise Conflict(APPROVAL_UNKNOWN())
    return Command(Guarded(row.kind), row.target_id, row.fields, row.target_version)


async def _asker(tx: UnitOfWork, row: Approval, permission: Permission) -> Principal:
    """Return who asked, with what he may by now; Forbidden if he, or who agreed, may not any more.

    A message of a program of others has the rights of who agreed to it.
    """
    decider = await recall(tx.session, f"user:{row.decided_by_id}") if row.decided_by_id else None
    if decider is None or decider.user_id == row.requested_by_id:
        raise Forbidden(APPROVAL_DECIDER_GONE(name=row.decided_by))
    try:
        require_permission(decider, Permission.APPROVALS_DECIDE)
        await require_for(tx.session, decider, permission, row.server_id)
    except Forbidden as error:
        raise Forbidden(APPROVAL_DECIDER_GONE(name=row.decided_by)) from error
    if row.asked_by == OUTSIDE:
        return decider
    asker = await recall(tx.session, row.asked_by)
    if asker is None:
        raise Forbidden(APPROVAL_ASKER_GONE(name=row.requested_by))
    try:
        await require_for(tx.session, asker, permission, row.server_id)
    except Forbidden as error:
        raise Forbidden(APPROVAL_ASKER_GONE(name=row.requested_by)) from error
    return asker


async def _expire(identity: uuid.UUID, tx: UnitOfWork) -> None:
    late = Approval.id == identity, Approval.state == "asked", Approval.run_at <= db_now()
    await tx.session.execute(update(Approval).where(*late).values(state="expired", open_key=None, done_at=db_now()))


async def _refuse(identity: uuid.UUID, error: AppError, tx: UnitOfWork) -> None:
    """Keep why it was not done; another one may have done it meanwhile."""
    mine = select(Approval).where(Approval.id == identity, Approval.state == "approved")
    row = await tx.session.scalar(mine.with_for_update())
    if row is None:
        return
    row.state = "stale" if isinstance(error, (NotFound, Outdated)) else "failed"
    row.open_key, row.done_at, row.code, row.message = None, db_now(), error.code, stored(error.said)
    await tx.session.flush()
    await tx.audit.add(_actor(row), replace(_deed(row), code=error.code))


def _deed(row: Approval) -> Deed:
    who = {"id": str(row.id), "requested_by": row.requested_by, "decided_by": row.decided_by}
    return Deed(row.kind, row.noun, row.target_id, row.target_name, row.server_id, after={"approval": who})


def _actor(row: Approval) -> Actor:
    kind, _, identity = row.asked_by.partition(":")
    if kind == "user":
        return Actor("user", row.requested_by, row.requested_by_id)
    if kind == "token":
        return Actor("token", row.requested_by, row.requested_by_id, uuid.UUID(identity))
    return Actor("outside", row.requested_by)
