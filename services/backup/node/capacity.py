"""How full this node's storage pools are, and whether they are mounted: every few seconds, on the pools' own rows."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from services.backup.node.apart import start
from services.backup.node.pools import PoolPlace, claim_pool, note_marked, pools_of, silent_pool, told
from shared.db.tables.base import db_now
from shared.db.tables.storage import StoragePool
from shared.errors import Permanent
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    import uuid
    from concurrent.futures import Future

    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

_EVERY_SECONDS = 20.0
_LIMIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """A file system's size and what is left for us, in bytes; or why it cannot be told."""

    size: int | None = None
    free: int | None = None
    problem: str = ""
    code: str = ""


class PoolCapacity:
    """Measures the pools of one node; one that hangs costs its own figures alone."""

    def __init__(self, db: Database, node: str, *, seconds: float = _LIMIT_SECONDS) -> None:
        """Take the node's name, and how long a pool may take to answer."""
        self._db = db
        self._node = node
        self._seconds = seconds
        self._pending: dict[uuid.UUID, Future[Capacity]] = {}
        """Threads that a hung file system holds: no second one is begun beside."""

    def task(self) -> Periodic:
        """Measure every few seconds."""
        return Periodic("capacity", lambda _stopping: self.measure(), every=_EVERY_SECONDS)

    async def measure(self) -> None:
        """Write what each pool's directory says; a directory that is not there is a problem, not a zero."""
        async with self._db.read() as session:
            pools = await pools_of(session, node=self._node)
        figures = await asyncio.gather(*(self._measured(pool) for pool in pools))
        found = {pool.id: now for pool, now in zip(pools, figures, strict=True)}

        async def record(tx: UnitOfWork) -> None:
            for pool in await tx.session.scalars(select(StoragePool).where(StoragePool.id.in_(found))):
                now = found[pool.id]
                pool.size_bytes, pool.free_bytes = now.size, now.free
                pool.problem, pool.problem_code = now.problem, now.code
                if not now.problem:
                    pool.measured_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - SQL expression
                    await note_marked(tx, pool.id)

        await self._db.run(record)

    async def _measured(self, pool: PoolPlace) -> Capacity:
        pending = self._pending.pop(pool.id, None) or start(lambda: capacity(pool), f"capacity:{pool.name}")
        done, _ = await asyncio.wait({asyncio.wrap_future(pending)}, timeout=self._seconds)
        if not done:
            self._pending[pool.id] = pending
            error = silent_pool(pool.name, pool.path, self._seconds)
            return Capacity(problem=error.message, code=error.code)
        return done.pop().result()


def capacity(pool: PoolPlace) -> Capacity:
    """Return what the file system under a pool holds; blocking."""
    try:
        claim_pool(pool)
        with told(pool):
            figures = os.statvfs(pool.path)
    except Permanent as error:
        return Capacity(problem=error.message, code=error.code)
    return Capacity(figures.f_blocks * figures.f_frsize, figures.f_bavail * figures.f_frsize)
