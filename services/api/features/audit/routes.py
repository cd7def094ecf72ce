"""`/api/audit`: who did what; and whether the log is as it was written."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from services.api.audit.export import exported
from services.api.audit.verify import published, verify
from services.api.features.audit.schemas import AuditOut, BrokenOut, VerifiedOut
from services.api.kernel.dependencies import PageBounds, Parts
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.head import HEAD_ONLY
from services.api.kernel.pages import newest_first, require
from services.api.kernel.schemas import Page
from shared.db.tables.audit import AuditEntry
from shared.domain.permissions import Permission
from shared.domain.values import CleanText, Int32, Moment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sqlalchemy import Select

router = APIRouter(tags=["audit"], route_class=GuardedRoute)
NDJSON = "application/x-ndjson"
READ = Allow(Permission.AUDIT_READ)


@router.get("/api/audit", dependencies=[READ])
async def list_audit(
    parts: Parts,
    bounds: PageBounds,
    actor: Annotated[CleanText | None, Query(max_length=100, description="By name.")] = None,
    action: Annotated[CleanText | None, Query(max_length=100, description="As `delete_backup`.")] = None,
    target_id: Annotated[CleanText | None, Query(max_length=100, description="What it was about, by id.")] = None,
    server_id: Annotated[uuid.UUID | None, Query()] = None,
    outcome: Annotated[Literal["done", "refused", "asked"] | None, Query()] = None,
    since: Annotated[Moment | None, Query()] = None,
    until: Annotated[Moment | None, Query()] = None,
) -> Page[AuditOut]:
    """List what was done and what was refused, newest first."""
    chosen: Select[AuditEntry] = select(AuditEntry)
    equal = (
        (AuditEntry.actor_name, actor), (AuditEntry.action, action), (AuditEntry.target_id, target_id),
        (AuditEntry.server_id, server_id), (AuditEntry.outcome, outcome),
    )  # fmt: skip
    for column, value in equal:
        chosen = chosen.where(column == value) if value is not None else chosen
    chosen = chosen.where(AuditEntry.at >= since) if since else chosen
    chosen = chosen.where(AuditEntry.at < until) if until else chosen
    async with parts.db.read() as session:
        cut = await newest_first(session, chosen, (AuditEntry.at, AuditEntry.id), bounds)
    return cut.page([_shown(row[0]) for row in cut.rows])


@router.get("/api/audit/verify", dependencies=[READ])
async def verify_audit(parts: Parts, after: Annotated[Int32, Query(ge=0)] = 0) -> VerifiedOut:
    """Verify a part of the log, from a seal on: each row, each seal, and that none is missing.

    The last part compares it with the newest seal that was published.
    """
    witness = await published(parts.bus)
    found = await parts.db.run(lambda tx: verify(tx, after, witness))
    broken = found.broken
    return VerifiedOut(
        seals=found.seals,
        rows=found.rows,
        next=found.last if found.more else None,
        broken=BrokenOut(what=broken.what, seal=broken.seal, entry=broken.entry) if broken else None,
    )


@router.get(
    "/api/audit/export",
    dependencies=[Allow(Permission.AUDIT_EXPORT)],
    response_class=StreamingResponse,
    responses={200: {"content": {NDJSON: {"schema": {"type": "string"}}}, "description": "A line of JSON each."}},
)
async def export_audit(
    parts: Parts, request: Request, after: Annotated[Int32, Query(ge=0, description="Only what follows a seal.")] = 0
) -> StreamingResponse:
    """Return the log as lines of JSON: the rows of each seal (`kind` entry), the seal after them, at last an `end`.

    Without its line `end` it was broken off.
    """
    headers = {"Content-Disposition": 'attachment; filename="borgfleet-audit.ndjson"', "Cache-Control": "no-store"}
    lines = _nothing() if request.scope.get(HEAD_ONLY) else exported(parts.database.for_requests(), after)
    return StreamingResponse(lines, media_type=NDJSON, headers=headers)


async def _nothing() -> AsyncGenerator[bytes]:
    """Send nothing to who asks for the head alone."""
    for line in ():
        yield line


@router.get("/api/audit/{entry_id}", dependencies=[READ])
async def get_audit(entry_id: uuid.UUID, parts: Parts) -> AuditOut:
    """Return one row."""
    async with parts.db.read() as session:
        return _shown(require(await session.get(AuditEntry, entry_id), "audit entry"))


def _shown(row: AuditEntry) -> AuditOut:
    return AuditOut.model_validate(vars(row) | {"before": _read(row.before), "after": _read(row.after)})


def _read(text: str | None) -> dict[str, Any] | None:
    """Return what was kept; a text that was changed behind our back is shown as it is."""
    try:
        value = json.loads(text) if text else None
    except ValueError:
        return {"unreadable": text}
    if value is None:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {"unreadable": text}
