"""A backup node works in one place: two processes of one node must see each other's processes and state.

What protects a repository on its node, as borg's locks and the node's journals, is of one machine, one list of
processes and one state directory. A second process of the node's name elsewhere would take a living borg for dead.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import func, select

from shared.db.tables.base import db_now
from shared.db.tables.kernel import ServiceInstance
from shared.domain.messages.installation import NODE_TAKEN
from shared.errors import AppError, Permanent
from shared.runtime.pause import pause
from shared.runtime.presence import EVERY
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    import asyncio

    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

_log = structlog.get_logger()
LEASE_SECONDS = 90.0
"""Longer than a process that stops may take to end its work."""
_RENEW_SECONDS = 15.0
_TRY_SECONDS = 2.0
_SEEN_SECONDS = EVERY + 5.0
"""Who was not here for so long has ended. If it had not, it takes the lease again, or stops for whoever took it."""
_HOST_CHARACTERS = 40
_BOOT, _PIDS = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


def here(state_dir: Path) -> str:
    """Name this place: the host for people, and what sets it apart.

    That is what the kernel was booted as, whose processes are seen, and where the state is.
    """
    apart = f"{_BOOT.read_text().strip()} {_PIDS.readlink()} {state_dir.absolute()}"
    return f"{socket.gethostname()[:_HOST_CHARACTERS]} {hashlib.sha256(apart.encode()).hexdigest()[:12]}"


class NodePlace:
    """The lease of a node's name, shared by all processes that work for it in one place."""

    def __init__(self, db: Database, node: str, place: str) -> None:
        """Take the node's name and the place, as `here` tells it."""
        self._db = db
        self._node = node
        self._place = place
        self._name = f"node:{node}"

    def task(self, stopping: asyncio.Event) -> Periodic:
        """Keep the lease; end this process if another place has it."""

        async def keep(_stopping: asyncio.Event) -> None:
            if not await self._taken():
                _log.critical("node_taken", node=self._node, by=await self._holder())
                stopping.set()

        return Periodic("place", keep, every=_RENEW_SECONDS)

    async def take(self, stopping: asyncio.Event, within: float = LEASE_SECONDS + _RENEW_SECONDS) -> None:
        """Take the lease; Permanent if another place still renews it after so many seconds."""
        deadline = time.monotonic() + within
        while not await self._taken() and not stopping.is_set():
            if time.monotonic() > deadline:
                raise Permanent(NODE_TAKEN(node=self._node, by=await self._holder(), here=self._place))
            await pause(_TRY_SECONDS, stopping)

    async def leave(self) -> None:
        """Give the lease back, unless another process here lives by it; that it cannot be is told and stops nobody."""
        with contextlib.suppress(AppError):
            await self._db.run(self._released, retry_for=0)

    async def _taken(self) -> bool:
        taken = await self._db.run(lambda tx: tx.leases.acquire(self._name, self._place, LEASE_SECONDS, gently=True))
        return taken is not None

    async def _released(self, tx: UnitOfWork) -> None:
        alive = (ServiceInstance.node == self._node, ServiceInstance.seen_at > db_now(-_SEEN_SECONDS))
        ourselves_or_nobody = (await tx.session.scalar(select(func.count()).where(*alive)) or 0) <= 1
        if ourselves_or_nobody:
            await tx.leases.release(self._name, self._place)

    async def _holder(self) -> str:
        return await self._db.run(lambda tx: tx.leases.holder(self._name)) or "another place"
