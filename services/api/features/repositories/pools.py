"""`/api/storage-pools`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from sqlalchemy import func, select

from services.api.features.repositories.schemas import PoolChange, PoolIn, PoolOut, PoolPatch
from services.api.kernel.dependencies import PageBounds, Parts
from services.api.kernel.etag import IfMatch, MustMatch, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.pages import by_text, require
from services.api.kernel.patches import MERGES, documented, merged
from services.api.kernel.schemas import Page
from services.api.kernel.versions import claimed
from shared.db.tables.storage import Repository, StoragePool
from shared.domain.permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["storage"], route_class=GuardedRoute)


@router.get("/api/storage-pools", dependencies=[Allow(Permission.POOLS_READ)])
async def list_pools(parts: Parts, bounds: PageBounds) -> Page[PoolOut]:
    """List the storage pools by name."""
    async with parts.db.read() as session:
        cut = await by_text(session, select(StoragePool), StoragePool.name, bounds)
        restored = await _restored(session, [row[0].id for row in cut.rows])
    shown = [PoolOut.model_validate({**vars(row[0]), "restored_at": restored.get(row[0].id)}) for row in cut.rows]
    return cut.page(shown)


@router.post("/api/storage-pools", dependencies=[Allow(Permission.POOLS_WRITE)], status_code=201)
async def add_pool(body: PoolIn, parts: Parts, response: Response) -> PoolOut:
    """Add a storage pool; its directory must exist on its node."""

    async def add(tx: UnitOfWork) -> StoragePool:
        pool = StoragePool(**body.model_dump())
        tx.session.add(pool)
        await tx.session.flush()
        await tx.session.refresh(pool)
        return pool

    return tagged(response, PoolOut.model_validate({**vars(await parts.db.run(add)), "restored_at": None}))


@router.get("/api/storage-pools/{pool_id}", dependencies=[Allow(Permission.POOLS_READ)])
async def get_pool(pool_id: uuid.UUID, parts: Parts, response: Response) -> PoolOut:
    """Return one storage pool."""
    async with parts.db.read() as session:
        return tagged(response, await _read(session, require(await session.get(StoragePool, pool_id), "storage pool")))


@router.put("/api/storage-pools/{pool_id}", dependencies=[Allow(Permission.POOLS_WRITE)])
async def change_pool(
    pool_id: uuid.UUID, body: PoolChange, parts: Parts, if_match: MustMatch, response: Response
) -> PoolOut:
    """Give a storage pool another name; its directory stays where its repositories are."""

    async def change(tx: UnitOfWork) -> StoragePool:
        pool = await claimed(tx, StoragePool, pool_id, "storage pool", if_match)
        pool.name = body.name
        return pool

    pool = await parts.db.run(change)
    async with parts.db.read() as session:
        return tagged(response, await _read(session, pool))


@router.patch(
    "/api/storage-pools/{pool_id}",
    dependencies=[Allow(Permission.POOLS_WRITE), MERGES],
    openapi_extra=documented(PoolPatch),
)
async def patch_pool(
    pool_id: uuid.UUID, body: PoolPatch, parts: Parts, if_match: IfMatch, response: Response
) -> PoolOut:
    """Change what is named of a storage pool."""

    async def change(tx: UnitOfWork) -> StoragePool:
        pool = await claimed(tx, StoragePool, pool_id, "storage pool", if_match)
        pool.name = merged(PoolChange, {"name": pool.name}, body).name
        return pool

    pool = await parts.db.run(change)
    async with parts.db.read() as session:
        return tagged(response, await _read(session, pool))


async def _read(session: AsyncSession, pool: StoragePool) -> PoolOut:
    restored = await _restored(session, [pool.id])
    return PoolOut.model_validate({**vars(pool), "restored_at": restored.get(pool.id)})


async def _restored(session: AsyncSession, pools: Sequence[uuid.UUID]) -> dict[uuid.UUID, datetime | None]:
    """Return when the database was last found older than a repository of each pool, where that is not accepted."""
    newest = select(Repository.pool_id, func.max(Repository.restored_at)).where(
        Repository.pool_id.in_(pools),
        Repository.restored_at.is_not(None),
        Repository.restored_accepted_at.is_(None),
    )
    return {row[0]: row[1] for row in await session.execute(newest.group_by(Repository.pool_id))}
