"""`/api/servers`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from sqlalchemy import Text, cast, func, select

from services.api.features.servers.schemas import FleetKey, HostKeyApproval, ServerChange, ServerIn, ServerOut
from services.api.features.servers.statistics_schemas import StatusOut
from services.api.kernel.dependencies import PageBounds, Parts
from services.api.kernel.job import JobOut
from services.api.kernel.pages import by_text, found
from services.api.kernel.schemas import Page
from shared.db.stores.requests import request_setup
from shared.db.stores.secrets import FLEET_PUBLIC_KEY, server_password
from shared.db.tables.job import Job
from shared.db.tables.server import Server
from shared.db.tables.stats import ServerStatus
from shared.db.tables.storage import Repository
from shared.domain.names import Name
from shared.errors import Conflict
from shared.ssh.port import fingerprint

if TYPE_CHECKING:
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["servers"])


@router.get("/api/fleet-key")
async def fleet_key(parts: Parts) -> FleetKey:
    """Return the fleet's public key, to put into a server's authorized_keys by hand."""
    return FleetKey(public_key=await parts.db.run(lambda tx: tx.secrets.get(FLEET_PUBLIC_KEY)))


@router.get("/api/servers")
async def list_servers(
    parts: Parts, bounds: PageBounds, tag: Annotated[Name | None, Query(description="Those with this tag.")] = None
) -> Page[ServerOut]:
    """List the servers by name."""
    async with parts.db.read() as session:
        query = select(Server, ServerStatus).outerjoin(ServerStatus, ServerStatus.server_id == Server.id)
        if tag is not None:  # a tag holds no quote: as JSON it is found as it is
            query = query.where(cast(Server.tags, Text).contains(f'"{tag}"', autoescape=True))
        rows, following = await by_text(session, query, Server.name, bounds)
    return Page(items=[shown(*row) for row in rows], next=following)


@router.post("/api/servers", status_code=201)
async def add_server(body: ServerIn, parts: Parts) -> ServerOut:
    """Add a server; nothing is sent to it before its set-up."""

    async def add(tx: UnitOfWork) -> Server:
        values = body.model_dump(exclude={"password", "tags"})
        server = Server(**values, tags=list(dict.fromkeys(body.tags)), facts={})
        tx.session.add(server)
        await tx.session.flush()
        if body.password is not None:
            await tx.secrets.put(server_password(server.id), body.password.get_secret_value())
        await tx.session.refresh(server)
        return server

    return shown(await parts.db.run(add))


@router.get("/api/servers/{server_id}")
async def get_server(server_id: uuid.UUID, parts: Parts) -> ServerOut:
    """Return one server."""
    async with parts.db.read() as session:
        server = found(await session.get(Server, server_id), "server")
        return shown(server, await session.get(ServerStatus, server_id))


@router.put("/api/servers/{server_id}")
async def change_server(server_id: uuid.UUID, body: ServerChange, parts: Parts) -> ServerOut:
    """Change a server's address and tags; its pinned host key stays, so that no other host can take its place."""

    async def change(tx: UnitOfWork) -> Server:
        server = found(await tx.session.get(Server, server_id), "server")
        server.host, server.port, server.username = body.host, body.port, body.username
        if body.tags is not None:
            server.tags = list(dict.fromkeys(body.tags))
        if body.password is not None:
            await tx.secrets.delete(server_password(server.id))  # its time begins anew
            await tx.secrets.put(server_password(server.id), body.password.get_secret_value())
        return server

    server = await parts.db.run(change)
    async with parts.db.read() as session:
        return shown(server, await session.get(ServerStatus, server.id))


@router.delete("/api/servers/{server_id}", status_code=204)
async def delete_server(server_id: uuid.UUID, parts: Parts) -> None:
    """Forget a server that has no repositories; nothing is changed on the server itself."""

    async def forget(tx: UnitOfWork) -> None:
        server = found(await tx.session.get(Server, server_id), "server")
        query = select(func.count()).select_from(Repository).where(Repository.server_id == server.id)
        if count := await tx.session.scalar(query):
            message = f"{server.name} still has {count} repositories"
            raise Conflict(message, code="server_in_use", remedy="its backups would be orphaned: keep the server")
        await tx.secrets.delete(server_password(server.id))
        await tx.session.delete(server)

    await parts.db.run(forget)


@router.post("/api/servers/{server_id}/host-key")
async def approve_host_key(server_id: uuid.UUID, body: HostKeyApproval, parts: Parts) -> ServerOut:
    """Approve the fingerprint of the key the server showed; the next set-up pins it."""

    async def approve(tx: UnitOfWork) -> Server:
        server = found(await tx.session.get(Server, server_id), "server")
        offered = server.host_key_offered
        if offered is None or fingerprint(offered) != body.fingerprint:
            message = f"{server.name} has not shown a key with this fingerprint"
            remedy = (
                "run its set-up, compare the fingerprint it reports with the server's console, then approve that one"
            )
            raise Conflict(message, code="fingerprint_not_offered", remedy=remedy)
        server.host_key, server.host_key_offered = offered, None
        server.approved_fingerprint = body.fingerprint
        if server.state == "host_key":
            server.state, server.state_reason = ("ready" if server.ready_at else "new"), ""
        return server

    return shown(await parts.db.run(approve))


@router.post("/api/servers/{server_id}/setup", status_code=202)
async def set_up_server(server_id: uuid.UUID, parts: Parts) -> JobOut:
    """Queue the server's set-up."""

    async def queue(tx: UnitOfWork) -> Job:
        job = await request_setup(tx, found(await tx.session.get(Server, server_id), "server"))
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(queue))


def shown(server: Server, status: ServerStatus | None = None) -> ServerOut:
    """Return a server without its keys, with their fingerprints and the latest look at it."""
    out = ServerOut.model_validate(server)
    out.host_key_fingerprint = fingerprint(server.host_key) if server.host_key else None
    out.offered_fingerprint = fingerprint(server.host_key_offered) if server.host_key_offered else None
    out.status = StatusOut.model_validate(status) if status else None
    return out
