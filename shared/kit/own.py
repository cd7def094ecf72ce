"""Where Borgfleet backs itself up: one repository in a pool, beside those of its servers and on no list of them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from shared.db.tables.storage import StoragePool

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

DIRECTORY, NAME = "borgfleet", "self"
_SPACE = uuid.UUID("6b6bb9a4-3d0c-4c5e-9a55-0f6c0e5f6d1b")
ENCRYPTION = "repokey-blake2"


class OwnRepository(NamedTuple):
    """The place for it in one pool, whether there is one or not."""

    id: uuid.UUID
    """Always the same for a pool: its passphrase and key are kept under it, as those of any repository."""
    pool_id: uuid.UUID
    node: str
    path: str


def own_in(pool: StoragePool) -> OwnRepository:
    """Return the place in a pool."""
    return OwnRepository(uuid.uuid5(_SPACE, pool.id.hex), pool.id, pool.node, f"{pool.path}/{DIRECTORY}/{NAME}")


async def own_places(session: AsyncSession) -> list[OwnRepository]:
    """Return the places in all pools, the oldest pool first."""
    pools = await session.scalars(select(StoragePool).order_by(StoragePool.created_at, StoragePool.id))
    return [own_in(pool) for pool in pools]


async def chosen_pool(session: AsyncSession, name: str) -> StoragePool | None:
    """Return the pool that holds the backups of Borgfleet: the one of that name, or the oldest; None without any."""
    pools = select(StoragePool).order_by(StoragePool.created_at, StoragePool.id).limit(1)
    found: StoragePool | None = await session.scalar(pools.where(StoragePool.name == name) if name else pools)
    return found
