"""`/api/limits`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from sqlalchemy import select, update

from services.api.features.limits.schemas import Limits
from services.api.kernel.dependencies import Parts
from services.api.kernel.guard import Allow, GuardedRoute
from shared.db.tables.server import Server
from shared.db.tables.storage import StoragePool
from shared.domain.messages.servers import NAME_UNKNOWN
from shared.domain.permissions import Permission
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["schedules"], route_class=GuardedRoute)
_SHOWN = 5


@router.get("/api/limits", dependencies=[Allow(Permission.LIMITS_READ)])
async def get_limits(parts: Parts) -> Limits:
    """Return how many runs may be under way at once: backups, prunes, compactions and checks together."""
    return await parts.db.run(_read)


@router.put("/api/limits", dependencies=[Allow(Permission.LIMITS_WRITE)])
async def set_limits(body: Limits, parts: Parts) -> Limits:
    """Replace the limits; what runs goes on, and what waits begins when there is a free slot."""

    async def put(tx: UnitOfWork) -> Limits:
        limits = await tx.admission.limits()
        limits.fleet, limits.per_server, limits.per_pool = body.fleet, body.per_server, body.per_pool
        await _set_own(tx, Server, body.servers)
        await _set_own(tx, StoragePool, body.pools)
        await tx.admission.admit()
        return await _read(tx)

    return await parts.db.run(put)


async def _set_own(tx: UnitOfWork, table: type[Server | StoragePool], wanted: Mapping[str, int]) -> None:
    await tx.session.execute(update(table).values(max_runs=None))
    known = set(await tx.session.scalars(select(table.name).where(table.name.in_(wanted))))
    if unknown := sorted(set(wanted) - known):
        raise Invalid(NAME_UNKNOWN(names=unknown[:_SHOWN]))
    for name, cap in wanted.items():
        await tx.session.execute(update(table).where(table.name == name).values(max_runs=cap))


async def _read(tx: UnitOfWork) -> Limits:
    limits = await tx.admission.limits()
    return Limits(
        fleet=limits.fleet,
        per_server=limits.per_server,
        per_pool=limits.per_pool,
        servers=await _own(tx, Server),
        pools=await _own(tx, StoragePool),
    )


async def _own(tx: UnitOfWork, table: type[Server | StoragePool]) -> dict[str, int]:
    rows = await tx.session.execute(select(table.name, table.max_runs).where(table.max_runs.is_not(None)))
    return {name: cap for name, cap in rows if cap is not None}
