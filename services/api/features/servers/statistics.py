"""Statistics of servers: probe now, and the history."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select

from services.api.features.servers.history import chosen_step, history
from services.api.features.servers.statistics_schemas import CollectIn, HistoryOut
from services.api.kernel.dependencies import Parts
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.job import JobOut
from services.api.kernel.pages import require
from shared.db.clock import read_now
from shared.db.stores.requests import request_collect
from shared.db.tables.job import Job
from shared.db.tables.server import Server
from shared.db.visible import seen_servers
from shared.domain.messages.servers import NOT_FOUND_SERVER
from shared.domain.permissions import Permission
from shared.domain.values import Moment
from shared.errors import NotFound

if TYPE_CHECKING:
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["statistics"], route_class=GuardedRoute)


@router.post(
    "/api/servers/{server_id}/collect-stats", dependencies=[Allow(Permission.SERVERS_COLLECT)], status_code=202
)
async def collect_stats(server_id: uuid.UUID, parts: Parts) -> JobOut:
    """Queue a look at one server; that it does not answer is the job's failure, with its reason."""

    async def queue(tx: UnitOfWork) -> Job:
        return await _queued(tx, [require(await tx.session.get(Server, server_id), "server")])

    return JobOut.model_validate(await parts.db.run(queue))


@router.post("/api/collect-stats", dependencies=[Allow(Permission.SERVERS_COLLECT)], status_code=202)
async def collect_stats_of_many(body: CollectIn, parts: Parts) -> JobOut:
    """Queue a look at a set of servers, or at all of them."""
    wanted = body.servers

    async def queue(tx: UnitOfWork) -> Job:
        if wanted is None:
            limited = seen_servers(tx.session) is not None
            return await _queued(tx, list(await tx.session.scalars(select(Server))) if limited else None)
        servers = (await tx.session.scalars(select(Server).where(Server.id.in_(wanted)))).all()
        if missing := set(wanted) - {server.id for server in servers}:
            raise NotFound(NOT_FOUND_SERVER(server=next(iter(missing))))
        return await _queued(tx, list(servers))

    return JobOut.model_validate(await parts.db.run(queue))


@router.get("/api/servers/{server_id}/stats", dependencies=[Allow(Permission.SERVERS_READ)])
async def server_history(
    server_id: uuid.UUID,
    parts: Parts,
    from_: Annotated[Moment | None, Query(alias="from", description="Default: a day before `to`.")] = None,
    to: Annotated[Moment | None, Query(description="Default: now.")] = None,
    step: Annotated[int | None, Query(ge=60, le=30 * 86_400, description="Seconds; default: about 500 points.")] = None,
) -> HistoryOut:
    """Return a server's history: raw for 48 hours, five minutes for 14 days, hours and days for two years."""
    async with parts.db.read() as session:
        end = to or await read_now(session)
        start = from_ or end - timedelta(days=1)
        seconds = chosen_step(start, end, step)
        require(await session.get(Server, server_id), "server")
        seconds, points = await history(session, server_id, start, end, seconds)
    return HistoryOut(server_id=server_id, step=seconds, points=points)


async def _queued(tx: UnitOfWork, servers: list[Server] | None) -> Job:
    job = await request_collect(tx, servers)
    await tx.session.refresh(job)
    return job
