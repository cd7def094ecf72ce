"""`/api/limits`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from sqlalchemy import select, update

from services.api.features.limits.schemas import Limits, LimitsOut, LimitsPatch, LimitsPut
from services.api.kernel.dependencies import Parts
from services.api.kernel.etag import IfMatch, meant_for, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.patches import MERGES, documented, merged
from services.api.kernel.versions import require_seen, touch
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
async def get_limits(parts: Parts, response: Response) -> LimitsOut:
    """Return how many runs may be under way at once: backups, prunes, compactions and checks together."""
    return tagged(response, await parts.db.run(_read))


@router.put("/api/limits", dependencies=[Allow(Permission.LIMITS_WRITE)])
async def set_limits(body: LimitsPut, parts: Parts, if_match: IfMatch, response: Response) -> LimitsOut:
    """Replace the limits; what runs goes on, and what waits begins when there is a free slot."""

    async def put(tx: UnitOfWork) -> LimitsOut:
        await require_seen(tx.session, await tx.admission.limits(), meant_for(if_match, body.version), "")
        return await _define(tx, body)

    return tagged(response, await parts.db.run(put))


@router.patch(
    "/api/limits", dependencies=[Allow(Permission.LIMITS_WRITE), MERGES], openapi_extra=documented(LimitsPatch)
)
async def patch_limits(body: LimitsPatch, parts: Parts, if_match: IfMatch, response: Response) -> LimitsOut:
    """Change what is named of the limits; null takes the default again."""

    async def change(tx: UnitOfWork) -> LimitsOut:
        await require_seen(tx.session, await tx.admission.limits(), if_match, "")
        return await _define(tx, merged(Limits, (await _read(tx)).model_dump(exclude={"version"}), body))

    return tagged(response, await parts.db.run(change))


async def _define(tx: UnitOfWork, body: Limits) -> LimitsOut:
    before = await _read(tx)
    limits = await tx.admission.limits()
    limits.fleet, limits.per_server, limits.per_pool = body.fleet, body.per_server, body.per_pool
    if (before.servers, before.pools) != (body.servers, body.pools):
        await _set_own(tx, Server, body.servers)
        await _set_own(tx, StoragePool, body.pools)
        touch(limits)
    await tx.session.flush()
    await tx.admission.admit()
    return await _read(tx)


async def _set_own(tx: UnitOfWork, table: type[Server | StoragePool], wanted: Mapping[str, int]) -> None:
    await tx.session.execute(update(table).values(max_runs=None))
    known = set(await tx.session.scalars(select(table.name).where(table.name.in_(wanted))))
    if unknown := sorted(set(wanted) - known):
        raise Invalid(NAME_UNKNOWN(names=unknown[:_SHOWN]))
    for name, cap in wanted.items():
        await tx.session.execute(update(table).where(table.name == name).values(max_runs=cap))


async def _read(tx: UnitOfWork) -> LimitsOut:
    limits = await tx.admission.limits()
    return LimitsOut(
        fleet=limits.fleet,
        per_server=limits.per_server,
        per_pool=limits.per_pool,
        servers=await _own(tx, Server),
        pools=await _own(tx, StoragePool),
        version=limits.version,
    )


async def _own(tx: UnitOfWork, table: type[Server | StoragePool]) -> dict[str, int]:
    rows = await tx.session.execute(select(table.name, table.max_runs).where(table.max_runs.is_not(None)))
    return {name: cap for name, cap in rows if cap is not None}
