"""`/api/backups/{id}/downloads`: a link that works once, and the bytes behind it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, NamedTuple

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import select

from services.api.features.files.asking import archive_at, ask_node
from services.api.features.files.download_schemas import DownloadIn, DownloadOut, asked_again, kept
from services.api.features.files.incoming import Incoming
from services.api.features.files.naming import name_of
from services.api.features.files.sending import Download
from services.api.kernel.dependencies import Asking, Gateway, Parts
from services.api.kernel.guard import Allow, GuardedRoute, Open
from services.api.kernel.head import HEAD_ONLY
from services.api.kernel.pages import require
from services.api.kernel.scope import servers_for
from services.api.security.recall import recall
from shared.db.stores.downloads import PURPOSE, find_ticket, use_ticket
from shared.db.tables.base import db_now
from shared.db.tables.download import DownloadTicket
from shared.db.tables.server import Server
from shared.db.tables.storage import Archive
from shared.domain.downloads import LOOK, LOOK_SECONDS, TICKET_SECONDS, LookAnswer, TransferAsked, subject
from shared.domain.messages.downloads import DOWNLOAD_OF_ANOTHER, DOWNLOAD_UNKNOWN
from shared.domain.permissions import Permission
from shared.errors import Forbidden, NotFound
from shared.secrets.tokens import digest_of, new_secret

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.principal import Principal
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["files"], route_class=GuardedRoute)


@router.post("/api/backups/{backup_id}/downloads", dependencies=[Allow(Permission.BACKUPS_DOWNLOAD)], status_code=201)
async def make_download(backup_id: uuid.UUID, body: DownloadIn, parts: Parts, asking: Asking) -> DownloadOut:
    """Make a link to files of a backup: it works once, within a minute, and for whoever asked alone."""
    async with parts.db.read() as session:
        at = await archive_at(session, backup_id)
        of = await _of(session, backup_id)
    paths = body.paths()
    asked = TransferAsked.model_validate({"archive_id": backup_id, "items": paths, "format": body.format})
    size = await _looked(parts, at.node, asked) if paths else of.size
    secret, name = new_secret(), name_of(of.server, of.at, paths, body.format)

    async def make(tx: UnitOfWork) -> datetime:
        require(await tx.session.get(Archive, backup_id), "backup")
        ticket = DownloadTicket(
            digest=digest_of(PURPOSE, secret), principal=asking.key, archive_id=backup_id, format=body.format,
            name=name, items=kept(body), size=size, expires_at=db_now(TICKET_SECONDS),
        )  # fmt: skip
        tx.session.add(ticket)
        await tx.session.flush()
        await tx.session.refresh(ticket)
        return ticket.expires_at

    until = await parts.db.run(make)
    return DownloadOut(url=f"/api/downloads/{secret}", expires_at=until, name=name, estimated_bytes=size)


@router.get(
    "/api/downloads/{ticket}",
    dependencies=[Allow(Open.PUBLIC)],
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The bytes, in chunks."}},
)
async def download(
    request: Request, parts: Parts, ticket: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{43}$")]
) -> Response:
    """Send what a link stands for. A connection that ends without its last chunk broke off: the file is not whole."""
    async with parts.db.read() as session:
        row = await find_ticket(session, ticket)
        owner = await recall(session, row.principal)
    if owner is None:
        raise NotFound(DOWNLOAD_UNKNOWN())
    await _require_himself(request, owner)
    servers = await servers_for(parts.database, owner, Permission.BACKUPS_DOWNLOAD)
    async with replace(parts, servers=servers).db.read() as session:
        at = await archive_at(session, row.archive_id)
    if not request.scope.get(HEAD_ONLY):
        by = uuid.uuid4().hex
        await parts.db.run(lambda tx: use_ticket(tx.session, ticket, by))
    asked = asked_again(row.archive_id, row.items, row.format)
    return Download(Incoming(parts.bus, at.node), asked, row.name, row.size, request.state.request_id)


async def _looked(parts: Gateway, node: str, asked: TransferAsked) -> int | None:
    """Return how much it would be; Invalid where the node's catalogue knows that it is not there."""
    payload = asked.model_dump_json().encode()
    answer = await ask_node(parts.bus, node, subject(LOOK, node), payload, LOOK_SECONDS)
    return LookAnswer.model_validate_json(answer).size


class _Of(NamedTuple):
    server: str
    at: datetime
    size: int


async def _of(session: AsyncSession, backup_id: uuid.UUID) -> _Of:
    query = select(Server.name, Archive.started_at, Archive.original_size).join(Server, Server.id == Archive.server_id)
    return _Of(*require((await session.execute(query.where(Archive.id == backup_id))).one_or_none(), "backup"))


async def _require_himself(request: Request, owner: Principal) -> None:
    """Refuse anybody else. A link that is opened by its own, with neither header nor cookie, is its bearer's."""
    try:
        asking: Principal = await request.app.state.authenticate(request)
    except Forbidden:
        if "authorization" in request.headers:
            raise
        return  # there is no session, or it is over
    if asking.key == owner.key:
        return
    if asking.user_id is None or asking.user_id != owner.user_id:
        raise Forbidden(DOWNLOAD_OF_ANOTHER())
