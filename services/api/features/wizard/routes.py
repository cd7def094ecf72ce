"""`/api/backup-wizard`: repository, backup job and first run in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from services.api.features.repositories.routes import new_repository
from services.api.features.wizard.schemas import WizardIn
from services.api.kernel.dependencies import Parts
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.job import JobOut
from shared.db.stores.requests import request_backup
from shared.db.tables.backup_job import BackupJob
from shared.domain.permissions import Permission

if TYPE_CHECKING:
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["backup jobs"], route_class=GuardedRoute)


@router.post("/api/backup-wizard", dependencies=[Allow(Permission.BACKUP_JOBS_WRITE)], status_code=202)
async def backup_wizard(body: WizardIn, parts: Parts) -> JobOut:
    """Make all three or none; returns the first run's job."""

    async def make(tx: UnitOfWork) -> Job:
        repository, server = await new_repository(tx, body.repository, body.server_id, body.pool_id)
        definition = BackupJob(server_id=server.id, repository_id=repository.id, **body.job.model_dump())
        tx.session.add(definition)
        await tx.session.flush()
        job = await request_backup(tx, definition)
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(make))
