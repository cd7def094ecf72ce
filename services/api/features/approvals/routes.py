"""`/api/approvals`: what waits for a second person, and what he says of it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query
from sqlalchemy import or_, select

from services.api.features.approvals.schemas import DecisionIn
from services.api.kernel.approval import ApprovalOut, shown
from services.api.kernel.dependencies import Asking, PageBounds, Parts
from services.api.kernel.guard import Allow, GuardedRoute, Open
from services.api.kernel.pages import newest_first, require
from services.api.kernel.schemas import Page
from services.api.kernel.scope import require_for
from services.api.security.strong import STRONG
from shared.db.stores.approvals import four_eyes
from shared.db.tables.account import User
from shared.db.tables.approval import Approval
from shared.db.tables.base import db_now
from shared.domain.four_eyes import PERMISSION_OF, Guarded
from shared.domain.messages.approvals import (
    APPROVAL_BY_TOKEN,
    APPROVAL_DECIDED,
    APPROVAL_NEEDS_FACTOR,
    APPROVAL_NOT_YOURS,
    APPROVAL_OWN,
    APPROVAL_UNKNOWN,
)
from shared.domain.permissions import Permission
from shared.errors import Conflict, Forbidden

if TYPE_CHECKING:
    from sqlalchemy import Select

    from services.api.kernel.principal import Principal
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["four eyes"], route_class=GuardedRoute)
State = Literal["asked", "approved", "rejected", "withdrawn", "expired", "done", "stale", "failed"]
_OPEN = ("asked", "approved")
DECIDE = Allow(Permission.APPROVALS_DECIDE)


@router.get("/api/approvals", dependencies=[Allow(Open.ACCOUNT)])
async def list_approvals(
    parts: Parts, bounds: PageBounds, asking: Asking, state: Annotated[State | None, Query()] = None
) -> Page[ApprovalOut]:
    """List what was asked for, newest first: one's own, or all with `approvals:read`."""
    chosen = _visible(asking)
    chosen = chosen.where(Approval.state == state) if state else chosen
    async with parts.db.read() as session:
        cut = await newest_first(session, chosen, (Approval.requested_at, Approval.id), bounds)
    return cut.page([ApprovalOut.model_validate(shown(row[0])) for row in cut.rows])


@router.get("/api/approvals/{approval_id}", dependencies=[Allow(Open.ACCOUNT)])
async def get_approval(approval_id: uuid.UUID, parts: Parts, asking: Asking) -> ApprovalOut:
    """Return one of them."""
    async with parts.db.read() as session:
        row = await session.scalar(_visible(asking).where(Approval.id == approval_id))
        return ApprovalOut.model_validate(shown(require(row, "approval")))


@router.post("/api/approvals/{approval_id}/approve", dependencies=[DECIDE, STRONG])
async def approve(approval_id: uuid.UUID, body: DecisionIn, parts: Parts, asking: Asking) -> ApprovalOut:
    """Agree to what another one asked for: it is done after the cooling time, unless somebody stops it.

    By a session with a fresh proof, of a person with a second factor who may do it himself; never by a token.
    """

    async def decide(tx: UnitOfWork) -> ApprovalOut:
        settings = await four_eyes(tx.session)
        row = await _to_decide(tx, asking, approval_id)
        if row.state != "asked":
            raise Conflict(APPROVAL_DECIDED(state=row.state))
        if await tx.session.scalar(select(Approval.id).where(Approval.id == row.id, Approval.run_at <= db_now())):
            raise Conflict(APPROVAL_DECIDED(state="expired"))
        row.state, row.run_at = "approved", db_now(settings.cooling_seconds)
        return await _decided(tx, asking, row, body.note)

    return await parts.db.run(decide)


@router.post("/api/approvals/{approval_id}/reject", dependencies=[DECIDE, STRONG])
async def reject(approval_id: uuid.UUID, body: DecisionIn, parts: Parts, asking: Asking) -> ApprovalOut:
    """Refuse what another one asked for, also after it was agreed to, as long as it was not done."""

    async def decide(tx: UnitOfWork) -> ApprovalOut:
        row = await _to_decide(tx, asking, approval_id)
        if row.state not in _OPEN:
            raise Conflict(APPROVAL_DECIDED(state=row.state))
        row.state, row.open_key = "rejected", None
        return await _decided(tx, asking, row, body.note)

    return await parts.db.run(decide)


@router.post("/api/approvals/{approval_id}/withdraw", dependencies=[Allow(Open.ACCOUNT)])
async def withdraw(approval_id: uuid.UUID, parts: Parts, asking: Asking) -> ApprovalOut:
    """Take back what one has asked for, as long as it was not done."""

    async def take_back(tx: UnitOfWork) -> ApprovalOut:
        query = _visible(asking).where(Approval.id == approval_id).with_for_update()
        row = require(await tx.session.scalar(query), "approval")
        if not _is_own(asking, row):
            raise Forbidden(APPROVAL_NOT_YOURS())
        if row.state not in _OPEN:
            raise Conflict(APPROVAL_DECIDED(state=row.state))
        row.state, row.open_key, row.done_at = "withdrawn", None, db_now()
        await tx.session.flush()
        await tx.session.refresh(row)
        return ApprovalOut.model_validate(shown(row))

    return await parts.db.run(take_back)


async def _to_decide(tx: UnitOfWork, asking: Principal, approval_id: uuid.UUID) -> Approval:
    """Return what somebody may decide, locked: of two who decide at once the second one finds it decided."""
    if asking.session_id is None or asking.user_id is None:
        raise Forbidden(APPROVAL_BY_TOKEN())
    row = require(await tx.session.get(Approval, approval_id, with_for_update=True), "approval")
    if row.requested_by_id == asking.user_id:
        raise Forbidden(APPROVAL_OWN(name=asking.name))
    user = await tx.session.get_one(User, asking.user_id)
    if user.kind != "person" or not user.totp_enabled:
        raise Forbidden(APPROVAL_NEEDS_FACTOR(name=asking.name))
    if row.kind not in set(Guarded):
        raise Conflict(APPROVAL_UNKNOWN())
    await require_for(tx.session, asking, PERMISSION_OF[Guarded(row.kind)], row.server_id)
    return row


async def _decided(tx: UnitOfWork, asking: Principal, row: Approval, note: str) -> ApprovalOut:
    row.decided_by, row.decided_by_id, row.decided_at, row.note = asking.name, asking.user_id, db_now(), note
    await tx.session.flush()
    await tx.session.refresh(row)
    return ApprovalOut.model_validate(shown(row))


def _visible(asking: Principal) -> Select[Approval]:
    query: Select[Approval] = select(Approval)
    if asking.may(Permission.APPROVALS_READ):
        return query
    mine = Approval.asked_by == asking.key
    return query.where(or_(mine, Approval.requested_by_id == asking.user_id) if asking.user_id else mine)


def _is_own(asking: Principal, row: Approval) -> bool:
    return row.asked_by == asking.key or (asking.user_id is not None and row.requested_by_id == asking.user_id)
