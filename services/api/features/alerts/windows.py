"""`/api/maintenance-windows`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from sqlalchemy import select

from services.api.features.alerts.schemas import WindowIn, WindowOut, WindowPatch
from services.api.kernel.dependencies import Asking, Parts
from services.api.kernel.etag import IfMatch, MustMatch, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.pages import MOST, require, told
from services.api.kernel.patches import MERGES, documented, merged
from services.api.kernel.scope import require_for, require_permission
from services.api.kernel.versions import claimed
from shared.db.stores.tags import referred
from shared.db.tables.alert import MaintenanceWindow
from shared.domain.permissions import Permission

if TYPE_CHECKING:
    from services.api.kernel.etag import Precondition
    from services.api.kernel.principal import Principal
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["alerts"], route_class=GuardedRoute)
READ, WRITE = Allow(Permission.WINDOWS_READ), Allow(Permission.WINDOWS_WRITE)


@router.get("/api/maintenance-windows", dependencies=[READ])
async def list_windows(parts: Parts, response: Response) -> list[WindowOut]:
    """List the maintenance windows, those that end last first: 1,000 of them.

    The header `Borgfleet-Incomplete` says that there are more.
    """
    query = select(MaintenanceWindow).order_by(MaintenanceWindow.ends_at.desc(), MaintenanceWindow.id)
    async with parts.db.read() as session:
        rows = (await session.scalars(query.limit(MOST + 1))).all()
    kept = sorted(told(response, rows, MOST), key=lambda window: window.starts_at)
    return [WindowOut.model_validate(row) for row in kept]


@router.post("/api/maintenance-windows", dependencies=[WRITE], status_code=201)
async def add_window(body: WindowIn, parts: Parts, asking: Asking, response: Response) -> WindowOut:
    """Announce a time in which no alert begins; what fires already goes on."""
    if body.server is None:
        require_permission(asking, Permission.WINDOWS_WRITE)

    async def add(tx: UnitOfWork) -> MaintenanceWindow:
        about = await referred(tx.session, body.server or "", body.tag or "")
        window = MaintenanceWindow(**body.model_dump() | about)
        tx.session.add(window)
        return window

    return tagged(response, WindowOut.model_validate(await parts.db.run(add)))


@router.get("/api/maintenance-windows/{window_id}", dependencies=[READ])
async def get_window(window_id: uuid.UUID, parts: Parts, response: Response) -> WindowOut:
    """Return one maintenance window."""
    async with parts.db.read() as session:
        window = require(await session.get(MaintenanceWindow, window_id), "maintenance window")
        return tagged(response, WindowOut.model_validate(window))


@router.put("/api/maintenance-windows/{window_id}", dependencies=[WRITE])
async def change_window(
    window_id: uuid.UUID, body: WindowIn, parts: Parts, asking: Asking, if_match: MustMatch, response: Response
) -> WindowOut:
    """Replace a maintenance window."""

    async def change(tx: UnitOfWork) -> MaintenanceWindow:
        window = await _claimed(tx, asking, window_id, if_match)
        return await _define(tx, asking, window, body)

    return tagged(response, WindowOut.model_validate(await parts.db.run(change)))


@router.patch(
    "/api/maintenance-windows/{window_id}", dependencies=[WRITE, MERGES], openapi_extra=documented(WindowPatch)
)
async def patch_window(
    window_id: uuid.UUID, body: WindowPatch, parts: Parts, asking: Asking, if_match: IfMatch, response: Response
) -> WindowOut:
    """Change what is named of a maintenance window."""

    async def change(tx: UnitOfWork) -> MaintenanceWindow:
        window = await _claimed(tx, asking, window_id, if_match)
        present = {name: getattr(window, name) or None for name in WindowIn.model_fields if name != "reason"}
        return await _define(tx, asking, window, merged(WindowIn, present | {"reason": window.reason}, body))

    return tagged(response, WindowOut.model_validate(await parts.db.run(change)))


@router.delete("/api/maintenance-windows/{window_id}", dependencies=[WRITE], status_code=204)
async def delete_window(window_id: uuid.UUID, parts: Parts, asking: Asking, if_match: IfMatch) -> None:
    """End or forget a maintenance window."""

    async def forget(tx: UnitOfWork) -> None:
        await tx.session.delete(await _claimed(tx, asking, window_id, if_match))

    await parts.db.run(forget)


async def _claimed(tx: UnitOfWork, asking: Principal, window_id: uuid.UUID, given: Precondition) -> MaintenanceWindow:
    """Return a window that whoever asks may change, locked."""
    window = require(await tx.session.get(MaintenanceWindow, window_id), "maintenance window")
    await require_for(tx.session, asking, Permission.WINDOWS_WRITE, window.server_id)
    return await claimed(tx, MaintenanceWindow, window_id, "maintenance window", given)


async def _define(tx: UnitOfWork, asking: Principal, window: MaintenanceWindow, body: WindowIn) -> MaintenanceWindow:
    if body.server is None:
        require_permission(asking, Permission.WINDOWS_WRITE)
    about = await referred(tx.session, body.server or "", body.tag or "")
    for name, value in (body.model_dump() | about).items():
        setattr(window, name, value)
    return window
