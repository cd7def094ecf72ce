"""How full this node's storage pools are, and whether they can be used: every few seconds, on the pools' own rows.

A pool is of no use either while the node's state directory cannot be written: no leave to work on it can be given.
"""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import select

from services.backup.node.apart import silent_state, start
from services.backup.node.pools import PoolPlace, claim_pool, pools_of, record_mark, silent_pool, told
from shared.db.tables.base import db_now
from shared.db.tables.storage import StoragePool
from shared.domain.messages import borg_causes as causes
from shared.errors import Permanent
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork
    from shared.errors import Transient

_EVERY_SECONDS = 20.0
_LIMIT_SECONDS = 10.0
_BY_ERRNO = {
    errno.ENOSPC: causes.NODE_FULL,
    errno.EDQUOT: causes.NODE_FULL,
    errno.EROFS: causes.NODE_READ_ONLY,
    errno.EACCES: causes.NODE_DENIED,
    errno.EPERM: causes.NODE_DENIED,
}


@dataclass(frozen=True, slots=True)
class Capacity:
    """A file system's size and what is left for us, in bytes; or why it cannot be told."""

    size: int | None = None
    free: int | None = None
    problem: str = ""
    code: str = ""

    def or_else(self, other: Capacity) -> Capacity:
        """Return the same with the problem of something else that it needs, where it has none of its own."""
        return self if self.problem else replace(self, problem=other.problem, code=other.code)


class PoolCapacity:
    """Measures the pools of one node; one that hangs costs its own figures alone."""

    def __init__(self, db: Database, node: str, state_dir: Path, *, seconds: float = _LIMIT_SECONDS) -> None:
        """Take the node's name, its state directory, and how long a disk may take to answer."""
        self._db = db
        self._node = node
        self._state_dir = state_dir
        self._seconds = seconds
        self._pending: dict[str, Future[Capacity]] = {}
        """Threads that a hung file system holds: no second one is begun beside."""

    def task(self) -> Periodic:
        """Measure every few seconds."""
        return Periodic("capacity", lambda _stopping: self.measure(), every=_EVERY_SECONDS)

    async def measure(self) -> None:
        """Write what each pool's directory says; a directory that is not there is a problem, not a zero."""
        async with self._db.read() as session:
            pools = await pools_of(session, node=self._node)
        state, *figures = await asyncio.gather(self._state(), *(self._measured(pool) for pool in pools))
        found = {pool.id: now.or_else(state) for pool, now in zip(pools, figures, strict=True)}

        async def record(tx: UnitOfWork) -> None:
            for pool in await tx.session.scalars(select(StoragePool).where(StoragePool.id.in_(found))):
                now = found[pool.id]
                pool.size_bytes, pool.free_bytes = now.size, now.free
                pool.problem, pool.problem_code = now.problem, now.code
                if not now.problem:
                    pool.measured_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - SQL expression
                    await record_mark(tx, pool.id)

        await self._db.run(record)

    async def _measured(self, pool: PoolPlace) -> Capacity:
        silent = silent_pool(pool.name, pool.path, self._seconds)
        return await self._answer(str(pool.id), lambda: capacity(pool), silent)

    async def _state(self) -> Capacity:
        silent = silent_state(str(self._state_dir), self._seconds)
        return await self._answer("state", lambda: written(self._state_dir), silent)

    async def _answer(self, disk: str, work: Callable[[], Capacity], silent: Transient) -> Capacity:
        pending = self._pending.pop(disk, None) or start(work, f"capacity:{disk}")
        done, _ = await asyncio.wait({asyncio.wrap_future(pending)}, timeout=self._seconds)
        if not done:
            self._pending[disk] = pending
            return Capacity(problem=silent.message, code=silent.code)
        return done.pop().result()


def written(state_dir: Path) -> Capacity:
    """Write where the leaves to work on repositories are written, and return what keeps them from it; blocking."""
    file = state_dir / "grants" / ".written"
    try:
        file.write_text("That a leave can be written.\n")
        file.unlink(missing_ok=True)
    except OSError as error:
        message = f"the node's state directory {state_dir} cannot be written: {error.strerror}"
        return Capacity(problem=message, code=_BY_ERRNO.get(error.errno or 0, causes.NODE_DISK).code)
    return Capacity()


def capacity(pool: PoolPlace) -> Capacity:
    """Return what the file system under a pool holds; blocking."""
    try:
        claim_pool(pool)
        with told(pool):
            figures = os.statvfs(pool.path)
    except Permanent as error:
        return Capacity(problem=error.message, code=error.code)
    return Capacity(figures.f_blocks * figures.f_frsize, figures.f_bavail * figures.f_frsize)
