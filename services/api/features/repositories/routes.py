"""`/api/repositories`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from sqlalchemy import Select, select

from services.api.features.repositories.guarded import define, definition_command
from services.api.features.repositories.schemas import RepositoryChange, RepositoryIn, RepositoryOut, RepositoryPatch
from services.api.kernel.dependencies import Asking, PageBounds, Parts
from services.api.kernel.etag import IfMatch, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.pages import by_text, require
from services.api.kernel.patches import MERGES, documented, merged
from services.api.kernel.scheduling import Owner, schedules_of
from services.api.kernel.scheduling import to_schema as schedule_shown
from services.api.kernel.schemas import Page
from services.api.kernel.versions import claimed
from shared.db.queries.proofs import repositories_proven
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository, StoragePool
from shared.domain.names import repository_path
from shared.domain.permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Row

    from shared.db.tables.schedule import Schedule
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["storage"], route_class=GuardedRoute)


@router.get("/api/repositories", dependencies=[Allow(Permission.REPOSITORIES_READ)])
async def list_repositories(parts: Parts, bounds: PageBounds) -> Page[RepositoryOut]:
    """List the repositories by path."""
    async with parts.db.read() as session:
        cut = await by_text(session, _repositories(), Repository.path, bounds)
        ids = [row[0].id for row in cut.rows]
        schedules, proven = await schedules_of(session, ids), await repositories_proven(session, ids)
    return cut.page([_shown(row, schedules[row[0].id], proven.get(row[0].id)) for row in cut.rows])


@router.get("/api/repositories/{repository_id}", dependencies=[Allow(Permission.REPOSITORIES_READ)])
async def get_repository(repository_id: uuid.UUID, parts: Parts, response: Response) -> RepositoryOut:
    """Return one repository."""
    return tagged(response, await parts.db.run(lambda tx: read_repository(tx, repository_id)))


@router.post("/api/repositories", dependencies=[Allow(Permission.REPOSITORIES_WRITE)], status_code=201)
async def add_repository(body: RepositoryIn, parts: Parts, response: Response) -> RepositoryOut:
    """Add a repository; borg makes it at `<pool>/<server>/<name>` when it is first used."""

    async def add(tx: UnitOfWork) -> RepositoryOut:
        repository, _ = await new_repository(tx, body.name, body.server_id, body.pool_id)
        repository.encryption, repository.quota_bytes = body.encryption, body.quota_bytes
        return await read_repository(tx, repository.id)

    return tagged(response, await parts.db.run(add))


@router.put("/api/repositories/{repository_id}", dependencies=[Allow(Permission.REPOSITORIES_WRITE)])
async def change_repository(
    repository_id: uuid.UUID,
    body: RepositoryChange,
    parts: Parts,
    asking: Asking,
    if_match: IfMatch,
    response: Response,
) -> RepositoryOut:
    """Change a repository's quota, retention and maintenance.

    With four eyes a retention that keeps less waits for another person (202).
    """

    async def change(tx: UnitOfWork) -> RepositoryOut:
        await define(tx, asking, definition_command(repository_id, body), if_match)
        return await read_repository(tx, repository_id)

    return tagged(response, await parts.db.run(change))


@router.patch(
    "/api/repositories/{repository_id}",
    dependencies=[Allow(Permission.REPOSITORIES_WRITE), MERGES],
    openapi_extra=documented(RepositoryPatch),
)
async def patch_repository(
    repository_id: uuid.UUID,
    body: RepositoryPatch,
    parts: Parts,
    asking: Asking,
    if_match: IfMatch,
    response: Response,
) -> RepositoryOut:
    """Change what is named of a repository's quota, retention and maintenance; null takes the default again.

    With four eyes a retention that keeps less waits for another person (202).
    """

    async def change(tx: UnitOfWork) -> RepositoryOut:
        repository = await claimed(tx, Repository, repository_id, "repository", if_match)
        present = {name: getattr(repository, name) for name in RepositoryChange.model_fields if name != "schedules"}
        command = definition_command(repository_id, merged(RepositoryChange, present, body, schedules=[]))
        await define(tx, asking, command, if_match)
        return await read_repository(tx, repository_id)

    return tagged(response, await parts.db.run(change))


async def new_repository(
    tx: UnitOfWork, name: str, server_id: uuid.UUID, pool_id: uuid.UUID
) -> tuple[Repository, Server]:
    """Insert a repository with its path."""
    server = require(await tx.session.get(Server, server_id), "server")
    pool = require(await tx.session.get(StoragePool, pool_id), "storage pool")
    path = repository_path(pool.path, server.name, name)
    repository = Repository(name=name, server_id=server.id, pool_id=pool.id, path=path, encryption="repokey-blake2")
    tx.session.add(repository)
    await tx.session.flush()
    return repository, server


async def read_repository(tx: UnitOfWork, repository_id: uuid.UUID) -> RepositoryOut:
    """Return a repository for people."""
    await tx.session.flush()
    query = _repositories().where(Repository.id == repository_id).execution_options(populate_existing=True)
    row = require((await tx.session.execute(query)).one_or_none(), "repository")
    proven = await repositories_proven(tx.session, [repository_id])
    return _shown(row, (await schedules_of(tx.session, [repository_id]))[repository_id], proven.get(repository_id))


def _repositories() -> Select[Repository, str]:
    return select(Repository, Server.name).join(Server, Server.id == Repository.server_id)


def _shown(
    row: Row[Repository, str], schedules: Sequence[Schedule], proven: tuple[datetime, float | None] | None
) -> RepositoryOut:
    repository, server = row
    owner = Owner(repository_id=repository.id, server=server, repository=repository.name)
    damage = "; ".join(filter(None, (repository.segments_damage, repository.archives_damage)))
    listed = [schedule_shown(one, owner) for one in schedules]
    restorable = {"restore_proven_at": proven[0], "full_restore_seconds": proven[1]} if proven else {}
    shown = {**vars(repository), **restorable, "server": server, "damage": damage, "schedules": listed}
    return RepositoryOut.model_validate(shown)
