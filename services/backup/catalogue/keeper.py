"""Sees to it that each repository's catalogue is brought up to date, whatever added a backup or took one away.

It compares what is on record with what each catalogue holds, so that nothing that records or deletes has to think of
it: not a backup, a deletion or a prune, nor a database that was restored. At most one job of a repository waits.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, func, select

from services.backup.catalogue.index import readable
from services.backup.catalogue.store import file_of, indexed, remove
from services.backup.node.apart import apart
from shared.db.stores.requests import request_upkeep
from shared.db.tables.storage import Archive, Repository, StoragePool
from shared.domain.job import JobType
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from shared.db.session import Database

_DISK_SECONDS = 60.0


class _Standing(NamedTuple):
    """What changes whenever an archive comes or goes."""

    archives: int
    newest: datetime | None


class CatalogueKeeper:
    """Asks for `archive_index` where a catalogue of this node's repositories is behind."""

    def __init__(self, db: Database, node: str, directory: Path, every: float) -> None:
        """Take the node's name, and where its catalogues are."""
        self._db, self._node, self._directory, self._every = db, node, directory, every
        self._up_to_date: dict[uuid.UUID, _Standing] = {}

    def tasks(self) -> tuple[Periodic, ...]:
        """Compare now and then, unless that is switched off."""
        if not self._every:
            return ()
        return (Periodic("catalogue-keeper", lambda _stopping: self.ask(), every=self._every),)

    async def ask(self) -> None:
        """Compare all repositories of the node, and ask for what is to be done."""
        standings = await self._standings()
        there = await self._disk_files()
        for gone in there - standings.keys():
            await apart(lambda gone=gone: remove(file_of(self._directory, gone)), _DISK_SECONDS, "catalogue")
        for repository_id, standing in standings.items():
            if self._up_to_date.get(repository_id) == standing and repository_id in there:
                continue
            if await self._behind(repository_id, standing):
                await self._db.run(lambda tx, of=repository_id: request_upkeep(tx, JobType.ARCHIVE_INDEX, of))
            else:
                self._up_to_date[repository_id] = standing

    async def _standings(self) -> dict[uuid.UUID, _Standing]:
        held = and_(Archive.repository_id == Repository.id, readable())
        query = (
            select(Repository.id, func.count(Archive.id), func.max(Archive.created_at))
            .join(StoragePool, StoragePool.id == Repository.pool_id)
            .outerjoin(Archive, held)
            .where(StoragePool.node == self._node)
            .group_by(Repository.id)
        )
        async with self._db.read() as session:
            return {row[0]: _Standing(row[1], row[2]) for row in await session.execute(query)}

    async def _behind(self, repository_id: uuid.UUID, standing: _Standing) -> bool:
        file = file_of(self._directory, repository_id)
        held = await apart(lambda: indexed(file), _DISK_SECONDS, "catalogue")
        if not standing.archives:
            return bool(held)
        query = select(Archive.borg_id).where(Archive.repository_id == repository_id, readable())
        async with self._db.read() as session:
            recorded = set(await session.scalars(query))
        return recorded != held

    async def _disk_files(self) -> set[uuid.UUID]:
        def found() -> set[uuid.UUID]:
            return {uuid.UUID(hex=file.stem) for file in self._directory.glob(f"{'[0-9a-f]' * 32}.sqlite")}

        return await apart(found, _DISK_SECONDS, "catalogue")
