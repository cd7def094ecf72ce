"""How full this node's storage pools are: measured every few seconds, on the pools' own rows."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from shared.db.tables.base import db_now
from shared.db.tables.storage import StoragePool
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

_EVERY_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """A file system's size and what is left for us, in bytes; or why it cannot be told."""

    size: int | None = None
    free: int | None = None
    problem: str = ""


class PoolCapacity:
    """Measures the pools of one node."""

    def __init__(self, db: Database, node: str) -> None:
        """Take the node's name."""
        self._db = db
        self._node = node

    def task(self) -> Periodic:
        """Measure every few seconds."""
        return Periodic("capacity", lambda _stopping: self.measure(), every=_EVERY_SECONDS)

    async def measure(self) -> None:
        """Write what each pool's directory says; a directory that is not there is a problem, not a zero."""
        async with self._db.read() as session:
            pools = (await session.scalars(select(StoragePool).where(StoragePool.node == self._node))).all()
        found = {pool.id: await asyncio.to_thread(capacity, Path(pool.path)) for pool in pools}

        async def record(tx: UnitOfWork) -> None:
            for pool in await tx.session.scalars(select(StoragePool).where(StoragePool.id.in_(found))):
                now = found[pool.id]
                pool.size_bytes, pool.free_bytes, pool.problem = now.size, now.free, now.problem
                if not now.problem:
                    pool.measured_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - SQL expression

        await self._db.run(record)


def capacity(path: Path) -> Capacity:
    """Return what the file system under a directory holds; blocking."""
    try:
        if not path.is_dir():
            return Capacity(problem=f"{path} is not a directory on this node")
        figures = os.statvfs(path)
    except OSError as error:
        return Capacity(problem=f"{path}: {os.strerror(error.errno or 0).lower()}")
    return Capacity(figures.f_blocks * figures.f_frsize, figures.f_bavail * figures.f_frsize)
