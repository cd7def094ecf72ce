"""The way back: what a recovery of a repository would do, and asking for it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from fastapi import APIRouter
from sqlalchemy import func, select

from services.api.features.repositories.schemas import LostBackup, RecoverIn, RecoveryPreview
from services.api.kernel.dependencies import Caller, Parts
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.job import JobOut
from services.api.kernel.pages import require
from shared.db.stores.requests import request_maintenance
from shared.db.stores.secrets import repository_key
from shared.db.tables.kernel import Secret
from shared.db.tables.storage import Archive, Repository
from shared.domain.job import JobType
from shared.domain.permissions import Permission

if TYPE_CHECKING:
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["retention"], route_class=GuardedRoute)
_LISTED = 500


@router.get("/api/repositories/{repository_id}/recover", dependencies=[Allow(Permission.REPOSITORIES_READ)])
async def preview(repository_id: uuid.UUID, parts: Parts) -> RecoveryPreview:
    """Say why a repository is frozen and what a recovery would bring back; nothing is changed."""
    async with parts.db.read() as session:
        repository = require(await session.get(Repository, repository_id), "repository")
        mine = (Archive.repository_id == repository_id, Archive.deleting.is_(False), Archive.borg_id.is_not(None))
        missing = (
            select(Archive).where(*mine, Archive.missing.is_(True)).order_by(Archive.created_at.desc()).limit(_LISTED)
        )
        backups = [LostBackup.model_validate(archive) for archive in await session.scalars(missing)]
        count = select(func.count()).select_from(Archive).where(*mine)
        recorded = await session.scalar(count) or 0
        missing = await session.scalar(count.where(Archive.missing.is_(True))) or 0
        key = select(Secret.name).where(Secret.name == repository_key(repository_id))
        has_key = await session.scalar(key) is not None
    return RecoveryPreview.model_validate(
        {
            "frozen_for": repository.frozen_for,
            "recorded": recorded,
            "missing": missing,
            "comes_back": backups,
            "undone_after": repository.rewritten_after,
            "has_key": has_key,
            "manifest_kept_at": repository.manifest_kept_at,
            "manifest_transaction": repository.manifest_transaction,
        }
    )


@router.post(
    "/api/repositories/{repository_id}/recover", dependencies=[Allow(Permission.REPOSITORIES_RECOVER)], status_code=202
)
async def recover(repository_id: uuid.UUID, body: RecoverIn, parts: Parts, caller: Caller) -> JobOut:
    """Queue a recovery: key, deleted objects and a manifest with all archives are put back. Who and why is kept."""

    async def queue(tx: UnitOfWork) -> Job:
        repository = require(await tx.session.get(Repository, repository_id), "repository")
        job = await request_maintenance(tx, JobType.REPOSITORY_RECOVER, repository.id, reason=body.reason, by=caller)
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(queue))
