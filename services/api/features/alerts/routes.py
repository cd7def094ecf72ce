"""`/api/alerts` and thresholds."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy import select

from services.api.features.alerts.schemas import (
    AcknowledgeIn,
    AlertChangeOut,
    AlertDetail,
    AlertOut,
    ThresholdIn,
    ThresholdOut,
    ThresholdPatch,
)
from services.api.kernel.dependencies import Caller, PageBounds, Parts
from services.api.kernel.etag import IfMatch, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.pages import newest_first, require
from services.api.kernel.patches import MERGES, documented, merged
from services.api.kernel.schemas import Page
from services.api.kernel.versions import require_seen
from shared.db.queries.tags import tags_of_servers, with_scopes
from shared.db.stores.tags import referred
from shared.db.tables.alert import Alert, AlertChange, AlertRule
from shared.db.tables.server import Server
from shared.domain.alerts import DEFAULTS, AlertKind, AlertState, scopes
from shared.domain.messages.alerts import (
    ALERT_NOT_FIRING,
    INVALID_THRESHOLD_SCOPE,
    THRESHOLDS_CONTRADICT,
    THRESHOLDS_CONTRADICT_SMALL,
)
from shared.domain.names import Name
from shared.domain.permissions import Permission
from shared.domain.tags import TagName
from shared.errors import Conflict, Invalid

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.etag import Precondition
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["alerts"], route_class=GuardedRoute)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a threshold is for: one server, all with a tag, or, both empty, the fleet."""

    server: str
    tag: str


def scope_in(
    server: Annotated[Name | None, Query(description="For this server alone, by name.")] = None,
    tag: Annotated[TagName | None, Query(description="For all servers with this tag; it is made if need be.")] = None,
) -> Scope:
    """Read whom a threshold is for."""
    if server and tag:
        raise Invalid(INVALID_THRESHOLD_SCOPE())
    return Scope(server or "", tag or "")


OfScope = Annotated[Scope, Depends(scope_in)]


@router.get("/api/alerts", dependencies=[Allow(Permission.ALERTS_READ)])
async def list_alerts(
    parts: Parts, bounds: PageBounds, state: Annotated[Literal["open", "resolved"] | None, Query()] = None
) -> Page[AlertOut]:
    """List the incidents, newest first; those that may yet pass by themselves (pending) are left out."""
    query = select(Alert).where(Alert.state != AlertState.PENDING.value)
    if state is not None:
        query = query.where(Alert.open_key.is_not(None) if state == "open" else Alert.open_key.is_(None))
    async with parts.db.read() as session:
        cut = await newest_first(session, query, (Alert.began_at, Alert.id), bounds)
    return cut.page([AlertOut.model_validate(row[0]) for row in cut.rows])


@router.get("/api/alerts/{alert_id}", dependencies=[Allow(Permission.ALERTS_READ)])
async def get_alert(alert_id: uuid.UUID, parts: Parts) -> AlertDetail:
    """Return one incident with its history."""
    async with parts.db.read() as session:
        alert = require(await session.get(Alert, alert_id), "alert")
        query = select(AlertChange).where(AlertChange.alert_id == alert_id)
        changes = (await session.scalars(query.order_by(AlertChange.at, AlertChange.id))).all()
    history = [AlertChangeOut.model_validate(change) for change in changes]
    return AlertDetail(**AlertOut.model_validate(alert).model_dump(), history=history)


@router.post("/api/alerts/{alert_id}/acknowledge", dependencies=[Allow(Permission.ALERTS_ACKNOWLEDGE)])
async def acknowledge(alert_id: uuid.UUID, body: AcknowledgeIn, parts: Parts, caller: Caller) -> AlertOut:
    """Say that somebody knows; it ends by itself, and is heard of again when it becomes worse."""

    async def know(tx: UnitOfWork) -> Alert:
        alert = require(await tx.session.get(Alert, alert_id, with_for_update=True), "alert")
        if alert.state not in (AlertState.FIRING, AlertState.ACKNOWLEDGED):
            raise Conflict(ALERT_NOT_FIRING(state=alert.state))
        alert.state, alert.acknowledged_until, alert.acknowledged_note = "acknowledged", body.until, body.note
        change = AlertChange(alert_id=alert.id, what="acknowledge", level=alert.level, value=alert.value)
        alert.acknowledged_by = change.who = caller
        change.note = body.note
        tx.session.add(change)
        return alert

    return AlertOut.model_validate(await parts.db.run(know))


@router.get("/api/thresholds", dependencies=[Allow(Permission.THRESHOLDS_READ)])
async def list_thresholds(parts: Parts, scope: OfScope) -> list[ThresholdOut]:
    """Return the thresholds in force for the fleet, for a tag or for one server, and who decided each."""
    async with parts.db.read() as session:
        return await _in_force(session, scope)


@router.put("/api/thresholds/{kind}", dependencies=[Allow(Permission.THRESHOLDS_WRITE)])
async def set_threshold(
    kind: AlertKind, body: ThresholdIn, parts: Parts, scope: OfScope, if_match: IfMatch, response: Response
) -> ThresholdOut:
    """Set a threshold for the fleet, for all servers with a tag, or for one server."""
    _check_order(kind, body)

    async def put(tx: UnitOfWork) -> None:
        rule = await _claimed(tx, kind, scope, if_match)
        await _define(tx, kind, scope, rule, body)

    await parts.db.run(put)
    async with parts.db.read() as session:
        return tagged(response, await _one_in_force(session, kind, scope))


@router.patch(
    "/api/thresholds/{kind}",
    dependencies=[Allow(Permission.THRESHOLDS_WRITE), MERGES],
    openapi_extra=documented(ThresholdPatch),
)
async def patch_threshold(
    kind: AlertKind, body: ThresholdPatch, parts: Parts, scope: OfScope, if_match: IfMatch, response: Response
) -> ThresholdOut:
    """Change what is named of the threshold that holds there, and let the result hold for exactly these servers."""

    async def change(tx: UnitOfWork) -> None:
        rule = await _claimed(tx, kind, scope, if_match)
        present = (await _one_in_force(tx.session, kind, scope)).model_dump(include=set(ThresholdIn.model_fields))
        wanted = merged(ThresholdIn, present, body)
        _check_order(kind, wanted)
        await _define(tx, kind, scope, rule, wanted)

    await parts.db.run(change)
    async with parts.db.read() as session:
        return tagged(response, await _one_in_force(session, kind, scope))


async def _claimed(tx: UnitOfWork, kind: AlertKind, scope: Scope, given: Precondition) -> AlertRule | None:
    rule = await tx.session.scalar(select(AlertRule).where(*_exactly(kind, scope)).with_for_update())
    await require_seen(tx.session, rule, given, kind.value)
    return rule


async def _define(tx: UnitOfWork, kind: AlertKind, scope: Scope, rule: AlertRule | None, body: ThresholdIn) -> None:
    about = await referred(tx.session, scope.server, scope.tag)
    if rule is None:
        rule = AlertRule(kind=kind.value)
        tx.session.add(rule)
    for name, value in (about | body.model_dump()).items():
        setattr(rule, name, value)


@router.delete("/api/thresholds/{kind}", dependencies=[Allow(Permission.THRESHOLDS_WRITE)], status_code=204)
async def reset_threshold(kind: AlertKind, parts: Parts, scope: OfScope, if_match: IfMatch) -> None:
    """Take a threshold of ours back; the next wider one holds again."""

    async def reset(tx: UnitOfWork) -> None:
        rule = await _claimed(tx, kind, scope, if_match)
        if rule is not None:
            await tx.session.delete(rule)

    await parts.db.run(reset)


def _check_order(kind: AlertKind, body: ThresholdIn) -> None:
    """Refuse levels of which the critical one would be reached before the warning."""
    if body.warning is None or body.critical is None or body.warning == body.critical:
        return
    below = DEFAULTS[kind].below
    if (body.critical < body.warning) != below:
        contradict = THRESHOLDS_CONTRADICT_SMALL if below else THRESHOLDS_CONTRADICT
        raise Invalid(contradict(critical=body.critical, kind=kind, warning=body.warning))


def _exactly(kind: AlertKind, scope: Scope) -> tuple[ColumnElement[bool], ...]:
    return AlertRule.kind == kind.value, AlertRule.server == scope.server, AlertRule.tag == scope.tag


async def _one_in_force(session: AsyncSession, kind: AlertKind, scope: Scope) -> ThresholdOut:
    return next(one for one in await _in_force(session, scope) if one.kind is kind)


async def _in_force(session: AsyncSession, scope: Scope) -> list[ThresholdOut]:
    tags = [scope.tag] if scope.tag else []
    if scope.server:
        server_id = await session.scalar(select(Server.id).where(Server.name == scope.server))
        tags = (await tags_of_servers(session, [server_id])).get(server_id, []) if server_id else []
    rows = {(rule.kind, name): rule for rule, name in await with_scopes(session, AlertRule)}
    nearest = scopes(scope.server, tags)
    return [_decided(kind, [(name, rows[kind, name]) for name in nearest if (kind, name) in rows], scope)
            for kind in AlertKind]  # fmt: skip


def _decided(kind: AlertKind, own: list[tuple[str, AlertRule]], scope: Scope) -> ThresholdOut:
    built_in = DEFAULTS[kind]
    name, rule = own[0] if own else ("built-in", None)
    source = rule or built_in
    return ThresholdOut(
        kind=kind,
        server=scope.server or None,
        tag=scope.tag or None,
        decided_by="server" if name.startswith("server:") else name or "fleet",
        below=built_in.below,
        warning=source.warning,
        critical=source.critical,
        for_seconds=source.for_seconds,
        hysteresis=source.hysteresis,
        enabled=source.enabled,
        version=rule.version if rule is not None and (rule.server, rule.tag) == (scope.server, scope.tag) else 0,
    )
