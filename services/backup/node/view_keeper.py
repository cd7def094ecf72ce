"""Removes views whose reader has ended, at start and hourly: until then compaction frees nothing of what they link."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select

from services.backup.node.pools import pools_of
from shared.db.tables.job import Job
from shared.domain.job import TERMINAL
from shared.errors import AppError
from shared.runtime.outcome import outcome
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Generator

    from services.backup.node.pools import PoolPlace
    from services.backup.node.storage import NodeStorage
    from shared.db.session import Database

_log = structlog.get_logger()
_EVERY_SECONDS = 3600.0


class _Failed:
    """What could not be done in one round: what is foreseen is told, the rest is kept for whoever watches."""

    def __init__(self) -> None:
        self.unforeseen: list[BaseException] = []

    def add(self, error: BaseException | None, pool: str) -> None:
        """Take how a part of the round ended; only the end of the process ends the round."""
        if isinstance(error, asyncio.CancelledError):
            raise error
        if isinstance(error, AppError):
            _log.warning("views_not_tidied", pool=pool, code=error.code, reason=error.message)
        elif error is not None:
            self.unforeseen.append(error)


class ViewKeeper:
    """Knows which views are in use: those of jobs by the jobs' rows, others because they are told here."""

    def __init__(self, db: Database, node: str, storage: NodeStorage) -> None:
        """Take the node's name."""
        self._db = db
        self._node = node
        self._storage = storage
        self._using: set[uuid.UUID] = set()
        self._told: set[uuid.UUID] = set()

    def task(self) -> Periodic:
        """Tidy at start and hourly."""
        return Periodic("views", lambda _stopping: self.tidy(), every=_EVERY_SECONDS)

    @contextlib.contextmanager
    def using(self, name: uuid.UUID) -> Generator[None]:
        """Spare a view that no job has, for as long as this lasts."""
        self._using.add(name)
        try:
            yield
        finally:
            self._using.discard(name)

    async def tidy(self) -> None:
        """Remove what nobody reads any more; what fails is left for the next time, and keeps nothing else.

        Raises, at the end, what nobody foresaw.
        """
        async with self._db.read() as session:
            pools = await pools_of(session, node=self._node)
        failed = _Failed()
        for pool in pools:
            failed.add(await outcome(self._tidied(pool, failed)), pool.name)
        if failed.unforeseen:
            raise failed.unforeseen[0]

    async def _tidied(self, pool: PoolPlace, failed: _Failed) -> None:
        there = await self._storage.views_in(pool)
        for name in there - await self._in_use(there):
            error = await outcome(self._storage.remove_view_named(pool, name))
            failed.add(error, pool.name)
            if error is None:
                _log.info("view_removed", pool=pool.name, view=name.hex)
        if pool.id not in self._told and not await self._storage.can_link(pool):
            self._told.add(pool.id)
            _log.warning("pool_without_links", pool=pool.name, reason="no view can be made: reading excludes backups")

    async def _in_use(self, names: Collection[uuid.UUID]) -> set[uuid.UUID]:
        if not names:
            return set()
        async with self._db.read() as session:
            at_work = select(Job.id).where(Job.id.in_(names), Job.state.not_in([state.value for state in TERMINAL]))
            return set(await session.scalars(at_work)) | self._using
