"""Where a backup job may be: a repository of its own server, and nothing of ours as its source."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from sqlalchemy import literal, or_, select

from services.api.kernel.pages import require
from shared.db.tables.server import Server
from shared.db.tables.storage import BackupNode, Repository, StoragePool
from shared.domain.messages.backups import SOURCE_IS_OURS, WRONG_REPOSITORY
from shared.errors import Invalid

if TYPE_CHECKING:
    from services.api.features.backup_jobs.schemas import BackupJobIn
    from shared.db.unit_of_work import UnitOfWork

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


async def check_place(tx: UnitOfWork, body: BackupJobIn) -> None:
    """Refuse a definition whose repository is another server's, or that would back up a storage pool."""
    repository = require(await tx.session.get(Repository, body.repository_id), "repository")
    if repository.server_id != body.server_id:
        raise Invalid(WRONG_REPOSITORY())
    await _refuse_pools(tx, body)


async def _refuse_pools(tx: UnitOfWork, body: BackupJobIn) -> None:
    """Refuse a source in a storage pool of the server itself, where it is known to be the backup node."""
    server = require(await tx.session.get(Server, body.server_id), "server")
    here = or_(BackupNode.endpoint_host == server.host, literal(server.host in _LOOPBACK))
    query = select(StoragePool).join(BackupNode, BackupNode.name == StoragePool.node).where(here)
    for pool in await tx.session.scalars(query):
        for source in body.sources:
            if PurePosixPath(source).is_relative_to(pool.path):
                raise Invalid(SOURCE_IS_OURS(source=source, pool=pool.name))
