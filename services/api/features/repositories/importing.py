"""Repositories that plain borg made: asking for their import, for another look, and for their takeover."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from sqlalchemy import or_, select

from services.api.features.repositories import guarded
from services.api.features.repositories.routes import read_repository
from services.api.features.repositories.schemas import ConfirmRetentionIn, ImportIn, ManageIn, RepositoryOut
from services.api.kernel.dependencies import Asking, Caller, Parts
from services.api.kernel.etag import IfMatch, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.job import JobOut
from services.api.kernel.pages import require
from services.api.kernel.versions import claimed
from services.api.security.strong import STRONG
from shared.db.stores.requests import request_import, request_maintenance
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository, StoragePool
from shared.domain.four_eyes import Command, Guarded
from shared.domain.importing import KEYFILES, ImportAsked, ImportSecrets, name_from
from shared.domain.job import JobType
from shared.domain.messages import importing as say
from shared.domain.permissions import Permission
from shared.errors import Conflict

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["storage"], route_class=GuardedRoute)


@router.post("/api/repositories/import", dependencies=[Allow(Permission.REPOSITORIES_IMPORT)], status_code=202)
async def import_repository(body: ImportIn, parts: Parts, caller: Caller) -> JobOut:
    """Queue the import of a repository that plain borg made; it is read only, and nothing in it is changed.

    What opens it is sealed at once, and forgotten if it cannot be imported.
    """
    secrets = ImportSecrets(
        body.passphrase.get_secret_value() if body.passphrase else "",
        body.keyfile.get_secret_value() if body.keyfile else "",
    )

    async def queue(tx: UnitOfWork) -> Job:
        server = require(await tx.session.get(Server, body.server_id), "server")
        require(await tx.session.get(StoragePool, body.pool_id), "storage pool")
        asked = ImportAsked(
            pool_id=body.pool_id, server_id=body.server_id, path=body.path, name=body.name or name_from(body.path),
            unencrypted=body.unencrypted,
        )  # fmt: skip
        await _refuse_known(tx.session, asked, server.name)
        job = await request_import(tx, asked, secrets, by=caller)
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(queue))


async def _refuse_known(session: AsyncSession, asked: ImportAsked, server: str) -> None:
    """Refuse early what the node would refuse as well: it alone sees what really lies there."""
    same_name = (Repository.server_id == asked.server_id) & (Repository.name == asked.name)
    query = select(Repository.path, Repository.name, Server.name).join(Server, Server.id == Repository.server_id)
    rows = (await session.execute(query.where(or_(Repository.path == asked.path, same_name)))).all()
    if found := next((row for row in rows if row[0] == asked.path), None):
        raise Conflict(say.REPOSITORY_KNOWN(repository=f"{found[2]}/{found[1]}"))
    if rows:
        raise Conflict(say.REPOSITORY_KNOWN_NAME(server=server, name=asked.name))


@router.post(
    "/api/repositories/{repository_id}/refresh", dependencies=[Allow(Permission.REPOSITORIES_INDEX)], status_code=202
)
async def refresh(repository_id: uuid.UUID, parts: Parts) -> JobOut:
    """Queue another look at a repository that is read only: what plain borg has done there since is taken in."""

    async def queue(tx: UnitOfWork) -> Job:
        repository = require(await tx.session.get(Repository, repository_id), "repository")
        await _require_read_only(tx.session, repository)
        job = await request_maintenance(tx, JobType.REPOSITORY_IMPORT, repository.id)
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(queue))


@router.post(
    "/api/repositories/{repository_id}/manage",
    dependencies=[Allow(Permission.REPOSITORIES_MANAGE), STRONG],
    status_code=202,
)
async def manage(repository_id: uuid.UUID, body: ManageIn, parts: Parts, if_match: IfMatch, caller: Caller) -> JobOut:
    """Queue the takeover of a repository that was imported: from then on backups and maintenance write to it.

    Nothing of it is pruned until the retention is confirmed. Who and why is kept.
    """

    async def queue(tx: UnitOfWork) -> Job:
        repository = await claimed(tx, Repository, repository_id, "repository", if_match)
        await _require_read_only(tx.session, repository)
        if repository.encryption in KEYFILES:
            raise Conflict(say.MANAGE_KEYFILE(repository=await _label(tx.session, repository)))
        asked = {"reason": body.reason, "by": caller}
        job = await request_maintenance(tx, JobType.REPOSITORY_MANAGE, repository.id, **asked)
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(queue))


@router.post(
    "/api/repositories/{repository_id}/confirm-retention", dependencies=[Allow(Permission.REPOSITORIES_MANAGE), STRONG]
)
async def confirm_retention(
    repository_id: uuid.UUID, body: ConfirmRetentionIn, parts: Parts, if_match: IfMatch, asking: Asking,
    response: Response,
) -> RepositoryOut:  # fmt: skip
    """Say that prunes may take what was imported: from now on it is judged by the retention as any good backup.

    With four eyes that waits for another person (202).
    """
    command = Command(Guarded.CONFIRM_RETENTION, str(repository_id), {"reason": body.reason})

    async def confirm(tx: UnitOfWork) -> RepositoryOut:
        await guarded.confirm_retention(tx, asking, command, if_match)
        return await read_repository(tx, repository_id)

    return tagged(response, await parts.db.run(confirm))


async def _require_read_only(session: AsyncSession, repository: Repository) -> None:
    label = await _label(session, repository)
    if repository.imported_at is None:
        raise Conflict(say.NOT_IMPORTED(repository=label))
    if not repository.read_only:
        raise Conflict(say.MANAGED_ALREADY(repository=label))


async def _label(session: AsyncSession, repository: Repository) -> str:
    server = await session.get_one(Server, repository.server_id)
    return f"{server.name}/{repository.name}"
