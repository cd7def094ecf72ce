"""`/api/services` and `/api/dead-letters`."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy import select

from services.api.features.system.schemas import DeadLetterOut, ServiceOut
from services.api.kernel.dependencies import PageBounds, Parts
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.pages import MOST, newest_first, told
from services.api.kernel.schemas import Page
from shared.db.tables.kernel import DeadLetter, ServiceInstance
from shared.domain.permissions import Permission

router = APIRouter(tags=["borgfleet itself"], route_class=GuardedRoute)


@router.get("/api/services", dependencies=[Allow(Permission.SYSTEM_READ)])
async def list_services(parts: Parts, response: Response) -> list[ServiceOut]:
    """List the processes of the last day by service, and when each was last there: the first 1,000.

    The header `Borgfleet-Incomplete` says that there are more.
    """
    query = select(ServiceInstance).order_by(ServiceInstance.service, ServiceInstance.seen_at.desc()).limit(MOST + 1)
    async with parts.db.read() as session:
        rows = (await session.scalars(query)).all()
    return [ServiceOut.model_validate(row) for row in told(response, rows, MOST)]


@router.get("/api/dead-letters", dependencies=[Allow(Permission.SYSTEM_READ)])
async def list_dead_letters(parts: Parts, bounds: PageBounds) -> Page[DeadLetterOut]:
    """List the messages that were given up, newest first."""
    async with parts.db.read() as session:
        keys = (DeadLetter.at, DeadLetter.id)
        cut = await newest_first(session, select(DeadLetter), keys, bounds)
    return cut.page([DeadLetterOut.model_validate(row[0]) for row in cut.rows])
