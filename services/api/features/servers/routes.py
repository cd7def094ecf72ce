"""`/api/servers`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from sqlalchemy import select

from services.api.features.servers.guarded import forget
from services.api.features.servers.schemas import (
    FleetKey,
    HostKeyApproval,
    ServerChange,
    ServerIn,
    ServerOut,
    ServerPatch,
)
from services.api.features.servers.statistics_schemas import StatusOut
from services.api.kernel.dependencies import Asking, PageBounds, Parts
from services.api.kernel.etag import IfMatch, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.job import JobOut
from services.api.kernel.pages import by_text, require
from services.api.kernel.patches import MERGES, documented, merged
from services.api.kernel.schemas import Page
from services.api.kernel.scope import require_permission, require_tagging
from services.api.kernel.tags import OfTags, having, with_tags
from services.api.kernel.versions import claimed, touch
from shared.db.queries.proofs import servers_proven
from shared.db.queries.tags import tags_of_servers
from shared.db.stores.requests import request_setup
from shared.db.stores.secrets import FLEET_PUBLIC_KEY, server_password
from shared.db.stores.tags import set_server_tags
from shared.db.tables.job import Job
from shared.db.tables.server import Server
from shared.db.tables.stats import ServerStatus
from shared.domain.four_eyes import Command, Guarded
from shared.domain.messages.servers import FINGERPRINT_NOT_OFFERED
from shared.domain.permissions import Permission
from shared.errors import Conflict
from shared.ssh.port import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["servers"], route_class=GuardedRoute)


@router.get("/api/fleet-key", dependencies=[Allow(Permission.SERVERS_READ)])
async def fleet_key(parts: Parts) -> FleetKey:
    """Return the fleet's public key, to put into a server's authorized_keys by hand."""
    return FleetKey(public_key=await parts.db.run(lambda tx: tx.secrets.get(FLEET_PUBLIC_KEY)))


@router.get("/api/servers", dependencies=[Allow(Permission.SERVERS_READ)])
async def list_servers(parts: Parts, bounds: PageBounds, tag: OfTags) -> Page[ServerOut]:
    """List the servers by name; of a tag that nobody has there are none."""
    query = select(Server, ServerStatus).outerjoin(ServerStatus, ServerStatus.server_id == Server.id)
    async with parts.db.read() as session:
        cut = await by_text(session, having(query, tag), Server.name, bounds)
        ids = [server.id for server, _ in cut.rows]
        tags, proven = await tags_of_servers(session, ids), await servers_proven(session, ids)
    return cut.page([to_schema(one, tags.get(one.id, ()), status, proven.get(one.id)) for one, status in cut.rows])


@router.post("/api/servers", dependencies=[Allow(Permission.SERVERS_WRITE)], status_code=201)
async def add_server(body: ServerIn, parts: Parts, asking: Asking, response: Response) -> ServerOut:
    """Add a server; nothing is sent to it before its set-up. It needs the right for the whole fleet."""
    require_permission(asking, Permission.SERVERS_WRITE)

    async def add(tx: UnitOfWork) -> Server:
        await require_tagging(tx.session, asking, body.tags)
        values = body.model_dump(exclude={"password", "tags"})
        server = Server(**values, facts={})
        tx.session.add(server)
        await set_server_tags(tx.session, server, body.tags)
        if body.password is not None:
            await tx.secrets.put(server_password(server.id), body.password.get_secret_value())
        await tx.session.flush()
        await tx.session.refresh(server)
        return server

    return tagged(response, to_schema(await parts.db.run(add), list(dict.fromkeys(body.tags))))


@router.get("/api/servers/{server_id}", dependencies=[Allow(Permission.SERVERS_READ)])
async def get_server(server_id: uuid.UUID, parts: Parts, response: Response) -> ServerOut:
    """Return one server."""
    async with parts.db.read() as session:
        return tagged(response, await _read(session, require(await session.get(Server, server_id), "server")))


@router.put("/api/servers/{server_id}", dependencies=[Allow(Permission.SERVERS_WRITE)])
async def change_server(
    server_id: uuid.UUID, body: ServerChange, parts: Parts, asking: Asking, if_match: IfMatch, response: Response
) -> ServerOut:
    """Change a server's address and tags; its pinned host key stays, so that no other host can take its place."""

    async def change(tx: UnitOfWork) -> Server:
        server = await claimed(tx, Server, server_id, "server", if_match)
        await _define(tx, asking, server, body)
        return server

    server = await parts.db.run(change)
    async with parts.db.read() as session:
        return tagged(response, await _read(session, server))


@router.patch(
    "/api/servers/{server_id}",
    dependencies=[Allow(Permission.SERVERS_WRITE), MERGES],
    openapi_extra=documented(ServerPatch),
)
async def patch_server(
    server_id: uuid.UUID, body: ServerPatch, parts: Parts, asking: Asking, if_match: IfMatch, response: Response
) -> ServerOut:
    """Change what is named of a server's address and tags; null takes the default again."""

    async def change(tx: UnitOfWork) -> Server:
        server = await claimed(tx, Server, server_id, "server", if_match)
        present = {"host": server.host, "port": server.port, "username": server.username}
        await _define(tx, asking, server, merged(ServerChange, present, body, tags=[]))
        return server

    server = await parts.db.run(change)
    async with parts.db.read() as session:
        return tagged(response, await _read(session, server))


async def _define(tx: UnitOfWork, asking: Asking, server: Server, body: ServerChange) -> None:
    server.host, server.port, server.username = body.host, body.port, body.username
    if body.tags is not None:
        old = (await tags_of_servers(tx.session, [server.id])).get(server.id, [])
        await require_tagging(tx.session, asking, set(old) ^ set(body.tags))
        await set_server_tags(tx.session, server, body.tags)
    if body.password is not None:
        await tx.secrets.delete(server_password(server.id))  # its time begins anew
        await tx.secrets.put(server_password(server.id), body.password.get_secret_value())
        touch(server)


@router.delete("/api/servers/{server_id}", dependencies=[Allow(Permission.SERVERS_DELETE)], status_code=204)
async def delete_server(server_id: uuid.UUID, parts: Parts, asking: Asking, if_match: IfMatch) -> None:
    """Forget a server that has no repositories; nothing is changed on the server itself.

    With four eyes that waits for another person (202).
    """
    command = Command(Guarded.DELETE_SERVER, str(server_id))
    await parts.db.run(lambda tx: forget(tx, asking, command, if_match))


@router.post("/api/servers/{server_id}/host-key", dependencies=[Allow(Permission.SERVERS_SETUP)])
async def approve_host_key(server_id: uuid.UUID, body: HostKeyApproval, parts: Parts) -> ServerOut:
    """Approve the fingerprint of the key the server showed; the next set-up pins it."""

    async def approve(tx: UnitOfWork) -> Server:
        server = require(await tx.session.get(Server, server_id), "server")
        offered = server.host_key_offered
        if offered is None or fingerprint(offered) != body.fingerprint:
            raise Conflict(FINGERPRINT_NOT_OFFERED(server=server.name))
        server.host_key, server.host_key_offered = offered, None
        server.approved_fingerprint = body.fingerprint
        if server.state == "host_key":
            server.state, server.state_reason = ("ready" if server.ready_at else "new"), ""
            server.state_message = None
        return server

    server = await parts.db.run(approve)
    async with parts.db.read() as session:
        return await _read(session, server)


@router.post("/api/servers/{server_id}/setup", dependencies=[Allow(Permission.SERVERS_SETUP)], status_code=202)
async def set_up_server(server_id: uuid.UUID, parts: Parts) -> JobOut:
    """Queue the server's set-up."""

    async def queue(tx: UnitOfWork) -> Job:
        job = await request_setup(tx, require(await tx.session.get(Server, server_id), "server"))
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(queue))


async def _read(session: AsyncSession, server: Server) -> ServerOut:
    tags = await tags_of_servers(session, [server.id])
    proven = await servers_proven(session, [server.id])
    return to_schema(server, tags.get(server.id, ()), await session.get(ServerStatus, server.id), proven.get(server.id))


def to_schema(
    server: Server, tags: Sequence[str], status: ServerStatus | None = None, proven: datetime | None = None
) -> ServerOut:
    """Return a server without its keys, with their fingerprints, its tags and the latest look at it."""
    out = ServerOut.model_validate(server)
    with_tags(out, server.tags, tags)
    out.host_key_fingerprint = fingerprint(server.host_key) if server.host_key else None
    out.offered_fingerprint = fingerprint(server.host_key_offered) if server.host_key_offered else None
    out.restore_proven_at = proven
    out.status = StatusOut.model_validate(status) if status else None
    return out
