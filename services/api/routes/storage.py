"""`/api/storage-pools` and `/api/repositories`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from sqlalchemy import Select, select

from services.api.dependencies import PageBounds, Parts
from services.api.queries import by_text, found
from services.api.schemas.common import Page
from services.api.schemas.storage import PoolIn, PoolOut, RepositoryIn, RepositoryOut
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository, StoragePool
from shared.domain.names import repository_path

if TYPE_CHECKING:
    import uuid

    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["storage"])


@router.get("/api/storage-pools")
async def list_pools(parts: Parts, bounds: PageBounds) -> Page[PoolOut]:
    """List the storage pools by name."""
    async with parts.db.read() as session:
        rows, following = await by_text(session, select(StoragePool), StoragePool.name, bounds)
    return Page(items=[PoolOut.model_validate(row[0]) for row in rows], next=following)


@router.post("/api/storage-pools", status_code=201)
async def add_pool(body: PoolIn, parts: Parts) -> PoolOut:
    """Add a storage pool; its directory must exist on its node."""

    async def add(tx: UnitOfWork) -> StoragePool:
        pool = StoragePool(**body.model_dump())
        tx.session.add(pool)
        await tx.session.flush()
        await tx.session.refresh(pool)
        return pool

    return PoolOut.model_validate(await parts.db.run(add))


@router.get("/api/repositories")
async def list_repositories(parts: Parts, bounds: PageBounds) -> Page[RepositoryOut]:
    """List the repositories by path."""
    async with parts.db.read() as session:
        rows, following = await by_text(session, repositories(), Repository.path, bounds)
    return Page(items=[shown(*row) for row in rows], next=following)


@router.post("/api/repositories", status_code=201)
async def add_repository(body: RepositoryIn, parts: Parts) -> RepositoryOut:
    """Add a repository; borg makes it at `<pool>/<server>/<name>` when it is first used."""

    async def add(tx: UnitOfWork) -> tuple[Repository, str]:
        repository, server = await new_repository(tx, body.name, body.server_id, body.pool_id)
        repository.encryption = body.encryption
        await tx.session.flush()
        await tx.session.refresh(repository)
        return repository, server.name

    return shown(*await parts.db.run(add))


async def new_repository(
    tx: UnitOfWork, name: str, server_id: uuid.UUID, pool_id: uuid.UUID
) -> tuple[Repository, Server]:
    """Insert a repository with its path."""
    server = found(await tx.session.get(Server, server_id), "server")
    pool = found(await tx.session.get(StoragePool, pool_id), "storage pool")
    path = repository_path(pool.path, server.name, name)
    repository = Repository(name=name, server_id=server.id, pool_id=pool.id, path=path, encryption="repokey-blake2")
    tx.session.add(repository)
    await tx.session.flush()
    return repository, server


def repositories() -> Select[Repository, str]:
    """Select repositories with their server's name."""
    return select(Repository, Server.name).join(Server, Server.id == Repository.server_id)


def shown(repository: Repository, server: str) -> RepositoryOut:
    """Return a repository for people."""
    return RepositoryOut.model_validate({**vars(repository), "server": server})
