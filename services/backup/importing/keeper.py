"""Looks again at repositories that are read only: what plain borg has done there since is taken in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select

from services.backup.plan import load_repository
from shared.db.stores.requests import request_upkeep
from shared.db.tables.storage import Repository, StoragePool
from shared.domain.importing import READ_ONLY
from shared.domain.job import JobState, JobType
from shared.errors import AppError
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    from services.backup.ports import Storage
    from shared.db.session import Database

_log = structlog.get_logger()
_KIND = JobType.REPOSITORY_IMPORT
_TROUBLE = frozenset({JobState.FAILED, JobState.CANCELLED})
"""Archives that prove nothing end each look with a warning."""
_EVERY_SECONDS = 60.0


class ImportedKeeper:
    """Asks for a look where a repository of this node has another last transaction than at the last one."""

    def __init__(self, db: Database, node: str, storage: Storage, every: float) -> None:
        """Take whose repositories they are; `every`: seconds, 0 for the usual."""
        self._db, self._node, self._storage, self._every = db, node, storage, every or _EVERY_SECONDS

    def task(self) -> Periodic:
        """Compare now and then."""
        return Periodic("imported-keeper", lambda _stopping: self.ask(), every=self._every)

    async def ask(self) -> None:
        """Compare each of them, and ask for what is to be done."""
        query = (
            select(Repository.id, Repository.looked_transaction)
            .join(StoragePool, StoragePool.id == Repository.pool_id)
            .where(StoragePool.node == self._node, Repository.mode == READ_ONLY)
        )
        async with self._db.read() as session:
            known = list(await session.execute(query))
        for repository_id, seen in known:
            try:
                place = await self._db.run(lambda tx, of=repository_id: load_repository(tx, of))
                last = await self._storage.last_transaction(place)
            except AppError as error:
                _log.warning(
                    "imported_not_looked_at", repository=str(repository_id), code=error.code, reason=error.message
                )
                continue
            if last != seen:  # also where nothing is there any more: the look says so
                await self._db.run(
                    lambda tx, of=repository_id: request_upkeep(tx, JobType.REPOSITORY_IMPORT, of, _TROUBLE)
                )
