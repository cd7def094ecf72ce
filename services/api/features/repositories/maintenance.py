"""Maintenance of a repository: preview of a retention, prune, compact, check, and letting go what was frozen."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from sqlalchemy import ColumnElement, select

from services.api.features.repositories import guarded
from services.api.features.repositories.routes import read_repository
from services.api.features.repositories.schemas import (
    AcceptRestoredIn,
    PreviewedPrune,
    PruneIn,
    RepositoryOut,
    RetentionPreview,
    UnfreezeIn,
)
from services.api.kernel.dependencies import Asking, Parts
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.job import JobOut
from services.api.kernel.pages import require
from shared.db.clock import read_now
from shared.db.queries.retention import Policies, judge_archives, load_policies
from shared.db.stores.requests import request_maintenance
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.storage import Archive, Repository
from shared.domain.four_eyes import Command, Guarded
from shared.domain.job import JobType
from shared.domain.permissions import Permission
from shared.domain.retention import Policy
from shared.domain.verification import CheckOptions

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["retention"], route_class=GuardedRoute)


@router.post("/api/repositories/{repository_id}/retention/preview", dependencies=[Allow(Permission.REPOSITORIES_READ)])
async def preview(repository_id: uuid.UUID, body: Policy, parts: Parts) -> PreviewedPrune:
    """Say what a retention would keep, by which rule, and what would go; nothing is changed.

    Backup jobs with a retention of their own keep it.
    """
    async with parts.db.read() as session:
        repository = require(await session.get(Repository, repository_id), "repository")
        policies = replace(await load_policies(session, repository), common=body)
        return await _previewed(session, policies, Archive.repository_id == repository_id)


@router.post("/api/backup-jobs/{backup_job_id}/retention/preview", dependencies=[Allow(Permission.BACKUP_JOBS_READ)])
async def preview_of_backup_job(backup_job_id: uuid.UUID, body: Policy, parts: Parts) -> PreviewedPrune:
    """Say what a retention of its own would keep of a backup job, and what would go; nothing is changed."""
    async with parts.db.read() as session:
        definition = require(await session.get(BackupJob, backup_job_id), "backup job")
        repository = await session.get_one(Repository, definition.repository_id)
        policies = replace(await load_policies(session, repository), common=body, own={})
        return await _previewed(session, policies, Archive.backup_job_id == backup_job_id)


async def _previewed(session: AsyncSession, policies: Policies, which: ColumnElement[bool]) -> PreviewedPrune:
    query = select(Archive).where(which, Archive.missing.is_(False), Archive.deleting.is_(False))
    archives = list(await session.scalars(query.order_by(Archive.created_at.desc())))
    verdicts = judge_archives(policies, archives, await read_now(session))
    rules = {archive_id: rule for verdict in verdicts for archive_id, rule in verdict.kept.items()}
    return PreviewedPrune(
        kept=len(rules),
        dropped=len(archives) - len(rules),
        deletion_limit_reached=any(verdict.deletion_limit_reached for verdict in verdicts),
        backups=[
            RetentionPreview(
                id=archive.id, name=archive.name, backup_job_id=archive.backup_job_id, created_at=archive.created_at,
                original_size=archive.original_size, kept_by=rules.get(archive.id),
            )
            for archive in archives
        ],
    )  # fmt: skip


@router.post(
    "/api/repositories/{repository_id}/prune", dependencies=[Allow(Permission.REPOSITORIES_PRUNE)], status_code=202
)
async def prune(repository_id: uuid.UUID, body: PruneIn, parts: Parts, asking: Asking) -> JobOut:
    """Queue a prune by the repository's retention; past its deletion limit four eyes wait for another person."""
    command = Command(Guarded.PASS_DELETION_LIMIT, str(repository_id), body.model_dump())
    return JobOut.model_validate(await parts.db.run(lambda tx: guarded.prune(tx, asking, command)))


@router.post(
    "/api/repositories/{repository_id}/compact", dependencies=[Allow(Permission.REPOSITORIES_COMPACT)], status_code=202
)
async def compact(repository_id: uuid.UUID, parts: Parts) -> JobOut:
    """Queue a compaction: what deleted backups held is freed."""
    return await _queue(parts, JobType.REPOSITORY_COMPACT, repository_id)


@router.post(
    "/api/repositories/{repository_id}/check", dependencies=[Allow(Permission.REPOSITORIES_CHECK)], status_code=202
)
async def check(repository_id: uuid.UUID, body: CheckOptions, parts: Parts) -> JobOut:
    """Queue a check; what is damaged is marked, and nothing is repaired."""
    return await _queue(parts, JobType.REPOSITORY_CHECK, repository_id, **body.model_dump(mode="json"))


@router.post(
    "/api/repositories/{repository_id}/catalogue/rebuild",
    dependencies=[Allow(Permission.REPOSITORIES_INDEX)],
    status_code=202,
)
async def rebuild_catalogue(repository_id: uuid.UUID, parts: Parts) -> JobOut:
    """Queue that the catalogue of the files in a repository's backups is built anew; it is read until that is done."""
    return await _queue(parts, JobType.ARCHIVE_INDEX, repository_id, rebuild=True)


async def _queue(parts: Parts, kind: JobType, repository_id: uuid.UUID, **asked: Any) -> JobOut:
    async def queue(tx: UnitOfWork) -> Job:
        repository = require(await tx.session.get(Repository, repository_id), "repository")
        job = await request_maintenance(tx, kind, repository.id, **asked)
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(queue))


@router.post("/api/repositories/{repository_id}/unfreeze", dependencies=[Allow(Permission.REPOSITORIES_UNFREEZE)])
async def unfreeze(repository_id: uuid.UUID, body: UnfreezeIn, parts: Parts, asking: Asking) -> RepositoryOut:
    """Let a frozen repository be pruned again; what is lost stays marked until it is seen. Who and why is kept.

    With four eyes that waits for another person (202).
    """
    command = Command(Guarded.UNFREEZE, str(repository_id), {"reason": body.reason})

    async def let_go(tx: UnitOfWork) -> RepositoryOut:
        await guarded.unfreeze(tx, asking, command)
        return await read_repository(tx, repository_id)

    return await parts.db.run(let_go)


@router.post(
    "/api/repositories/{repository_id}/accept-restored", dependencies=[Allow(Permission.REPOSITORIES_UNFREEZE)]
)
async def accept_restored(
    repository_id: uuid.UUID, body: AcceptRestoredIn, parts: Parts, asking: Asking
) -> RepositoryOut:
    """Say that what people had set since the database's backup is set again; who and why is kept.

    Prunes follow backups again, and the alert ends. With four eyes that waits for another person (202).
    """
    command = Command(Guarded.ACCEPT_RESTORED, str(repository_id), {"reason": body.reason})

    async def accept(tx: UnitOfWork) -> RepositoryOut:
        await guarded.accept_restored(tx, asking, command)
        return await read_repository(tx, repository_id)

    return await parts.db.run(accept)
