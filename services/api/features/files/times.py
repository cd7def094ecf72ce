"""Files over time: versions of a path, what differs between two backups, and the search through all of them."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select

from services.api.features.files.asking import archive_at, ask, backups_by_borg_id, node_of, path_of
from services.api.features.files.routes import Limit, Path, PathB64
from services.api.features.files.schemas import (
    DifferenceOut,
    DiffOut,
    HitOut,
    IncompleteOut,
    SearchOut,
    VersionOut,
    VersionsOut,
    base64_of,
    moment,
    text_of,
    type_of,
)
from services.api.kernel.dependencies import Parts
from services.api.kernel.guard import Allow, GuardedRoute
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository, StoragePool
from shared.domain.files import (
    CATALOGUE_SECONDS,
    DIFF,
    SEARCH,
    VERSIONS,
    DiffAnswer,
    DiffAsked,
    Hit,
    SearchAnswer,
    SearchAsked,
    VersionsAnswer,
    VersionsAsked,
    Wanted,
)
from shared.domain.messages.files import BAD_SEARCH, OTHER_REPOSITORY
from shared.domain.permissions import Permission
from shared.domain.values import CleanText
from shared.errors import AppError, Invalid

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.dependencies import Gateway

router = APIRouter(tags=["files"], route_class=GuardedRoute)


@router.get("/api/repositories/{repository_id}/files/versions", dependencies=[Allow(Permission.FILES_READ)])
async def versions(
    repository_id: uuid.UUID, parts: Parts, path: Path = "/", path_b64: PathB64 = None, limit: Limit = 200
) -> VersionsOut:
    """List what a path was in all backups of a repository: a row for each content, the newest first."""
    raw = path_of(path, path_b64)
    async with parts.db.read() as session:
        node = await node_of(session, repository_id)
    asked = VersionsAsked(repository_id=repository_id, path=raw, limit=limit)
    answer = await ask(parts, VERSIONS, node, asked, VersionsAnswer, CATALOGUE_SECONDS)
    async with parts.db.read() as session:
        backups = await backups_by_borg_id(session, [repository_id], {row.borg_id for row in answer.rows})
    rows = [
        VersionOut.model_validate({
            "type": type_of(row.type), "size": row.size, "modified_at": moment(row.mtime), "backups": row.archives,
            "first_at": moment(row.first_at), "last_at": moment(row.last_at),
            "backup_id": backups.get((repository_id, row.borg_id)),
        })
        for row in answer.rows
    ]  # fmt: skip
    return VersionsOut(items=rows, more=answer.more)


@router.get("/api/backups/{backup_id}/diff/{other_id}", dependencies=[Allow(Permission.FILES_READ)])
async def diff(backup_id: uuid.UUID, other_id: uuid.UUID, parts: Parts, limit: Limit = 200) -> DiffOut:
    """Say what is different in another backup of the same repository: added, removed, changed, the largest first."""
    async with parts.db.read() as session:
        before, after = await archive_at(session, backup_id), await archive_at(session, other_id)
    if before.repository_id != after.repository_id:
        raise Invalid(OTHER_REPOSITORY())
    asked = DiffAsked(repository_id=before.repository_id, before=before.borg_id, after=after.borg_id, limit=limit)
    answer = await ask(parts, DIFF, before.node, asked, DiffAnswer, CATALOGUE_SECONDS)
    rows = [
        DifferenceOut(
            path="/" + text_of(row.path), path_b64=base64_of(b"/" + row.path), type=type_of(row.type),
            change=row.change, size_before=row.before, size_after=row.after,
        )
        for row in answer.rows
    ]  # fmt: skip
    return DiffOut.model_validate(answer.model_dump(exclude={"rows"}) | {"items": rows})


@router.get("/api/files/search", dependencies=[Allow(Permission.FILES_READ)])
async def search_files(
    parts: Parts,
    q: Annotated[
        CleanText,
        Query(max_length=200, description="Words of the name; `ext:pdf in:/srv size>10M size<1G deleted:yes` narrow."),
    ],
    server_id: uuid.UUID | None = None,
    repository_id: uuid.UUID | None = None,
    limit: Limit = 100,
) -> SearchOut:
    """Search the names of all files in all backups. Nodes that give no answer are named, and the others' hits shown."""
    try:
        wanted = Wanted.of(q)
    except ValueError as error:
        raise Invalid(BAD_SEARCH()) from error
    async with parts.db.read() as session:
        places = await _repositories(session, server_id, repository_id)
    nodes: dict[str, list[uuid.UUID]] = defaultdict(list)
    for of, (node, *_) in places.items():
        nodes[node].append(of)
    answers = await asyncio.gather(*(_search(parts, node, of, wanted, limit) for node, of in sorted(nodes.items())))
    incomplete = [one for one in answers if isinstance(one, IncompleteOut)]
    complete = [one for one in answers if isinstance(one, SearchAnswer)]
    found = [hit for one in complete for hit in one.rows if hit.repository_id in places]  # no others were asked for
    hits = sorted(found, key=lambda hit: (not hit.whole, -hit.last_at))
    async with parts.db.read() as session:
        backups = await backups_by_borg_id(
            session, {hit.repository_id for hit in hits[:limit]}, {hit.borg_id for hit in hits[:limit]}
        )
    return SearchOut(
        items=[_shown(hit, places[hit.repository_id], backups) for hit in hits[:limit]],
        more=len(hits) > limit or any(one.more for one in complete),
        incomplete=incomplete,
        not_indexed=[of for one in complete for of in one.unknown],
    )


async def _search(
    parts: Gateway, node: str, of: list[uuid.UUID], wanted: Wanted, limit: int
) -> SearchAnswer | IncompleteOut:
    try:
        asked = SearchAsked(repository_ids=of, wanted=wanted, limit=limit)
        return await ask(parts, SEARCH, node, asked, SearchAnswer, CATALOGUE_SECONDS)
    except AppError as error:
        return IncompleteOut(node=node, code=error.code)


async def _repositories(
    session: AsyncSession, server_id: uuid.UUID | None, repository_id: uuid.UUID | None
) -> dict[uuid.UUID, tuple[str, uuid.UUID, str, str]]:
    """Return node, server and names of the repositories that are searched."""
    query = (
        select(Repository.id, StoragePool.node, Server.id, Server.name, Repository.name)
        .join(StoragePool, StoragePool.id == Repository.pool_id)
        .join(Server, Server.id == Repository.server_id)
    )
    if server_id is not None:
        query = query.where(Repository.server_id == server_id)
    if repository_id is not None:
        query = query.where(Repository.id == repository_id)
    return {row[0]: (row[1], row[2], row[3], row[4]) for row in await session.execute(query)}


def _shown(
    hit: Hit,
    place: tuple[str, uuid.UUID, str, str],
    backups: dict[tuple[uuid.UUID, str], uuid.UUID],
) -> HitOut:
    _, server_id, server, repository = place
    return HitOut.model_validate({
        "server_id": server_id, "server": server, "repository_id": hit.repository_id, "repository": repository,
        "path": "/" + text_of(hit.path), "path_b64": base64_of(b"/" + hit.path), "type": type_of(hit.type),
        "size": hit.size, "modified_at": moment(hit.mtime), "backup_id": backups.get((hit.repository_id, hit.borg_id)),
        "first_at": moment(hit.first_at), "last_at": moment(hit.last_at), "gone_since": moment(hit.gone_since),
    })  # fmt: skip
