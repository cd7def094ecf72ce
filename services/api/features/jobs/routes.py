"""`/api/jobs`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select, tuple_

from services.api.features.jobs.progress import read_progress
from services.api.kernel.dependencies import PageBounds, Parts
from services.api.kernel.job import JobOut, LogLineOut
from services.api.kernel.pages import found, newest_first
from services.api.kernel.schemas import Page
from shared.db.stores.jobs import takes_turns
from shared.db.tables.job import Job, JobLog
from shared.domain.job import JobState, JobType
from shared.errors import Conflict, Transient
from shared.events.progress import JobProgress
from shared.events.streams import PROGRESS

if TYPE_CHECKING:
    from services.api.kernel.dependencies import Gateway
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["jobs"])


@router.get("/api/jobs")
async def list_jobs(
    parts: Parts,
    bounds: PageBounds,
    state: Annotated[JobState | None, Query()] = None,
    type: Annotated[JobType | None, Query()] = None,  # noqa: A002 - the query's own word
    server_id: Annotated[uuid.UUID | None, Query()] = None,
    backup_job_id: Annotated[uuid.UUID | None, Query()] = None,
) -> Page[JobOut]:
    """List the jobs, newest first."""
    query = select(Job)
    query = query.where(Job.state == state.value) if state else query
    query = query.where(Job.type == type.value) if type else query
    query = query.where(Job.server_id == server_id) if server_id else query
    query = query.where(Job.backup_job_id == backup_job_id) if backup_job_id else query
    async with parts.db.read() as session:
        rows, following = await newest_first(session, query, (Job.created_at, Job.id), bounds)
    return Page(items=[JobOut.model_validate(row[0]) for row in rows], next=following)


@router.get("/api/jobs/{job_id}")
async def get_job(job_id: uuid.UUID, parts: Parts) -> JobOut:
    """Return one job with its latest progress."""
    async with parts.db.read() as session:
        job = found(await session.get(Job, job_id), "job")
    out = JobOut.model_validate(job)
    if job.state == JobState.RUNNING:
        out.progress = await _live_progress(parts, job_id) or out.progress
    return out


@router.get("/api/jobs/{job_id}/log")
async def get_log(
    job_id: uuid.UUID,
    parts: Parts,
    limit: Annotated[int, Query(ge=1, le=2000)] = 500,
    after: Annotated[
        str | None, Query(max_length=20, pattern=r"^[0-9]{1,9}\.[0-9]{1,9}$", description="`next` of the page before.")
    ] = None,
) -> Page[LogLineOut]:
    """Return the job's log, oldest line first."""
    query = select(JobLog).where(JobLog.job_id == job_id)
    if after is not None:
        attempt, seq = (int(part) for part in after.split("."))
        query = query.where(tuple_(JobLog.attempt, JobLog.seq) > (attempt, seq))
    async with parts.db.read() as session:
        found(await session.get(Job, job_id), "job")
        rows = (await session.scalars(query.order_by(JobLog.attempt, JobLog.seq).limit(limit + 1))).all()
    last = rows[limit - 1] if len(rows) > limit else None
    following = f"{last.attempt}.{last.seq}" if last else None
    return Page(items=[LogLineOut.model_validate(row) for row in rows[:limit]], next=following)


@router.post("/api/jobs/{job_id}/cancel", status_code=202)
async def cancel_job(job_id: uuid.UUID, parts: Parts) -> JobOut:
    """Cancel: a queued job at once, a running one as soon as borg has stopped."""

    async def cancel(tx: UnitOfWork) -> Job:
        found(await tx.jobs.get(job_id), "job")
        if await tx.jobs.request_cancel(job_id) is None:
            message = "this job has ended already"
            raise Conflict(message, code="job_ended", remedy="nothing to do")
        return found(await tx.jobs.get(job_id), "job")

    return JobOut.model_validate(await parts.db.run(cancel))


@router.post("/api/jobs/{job_id}/retry", status_code=202)
async def retry_job(job_id: uuid.UUID, parts: Parts) -> JobOut:
    """Queue a failed or cancelled job again."""

    async def retry(tx: UnitOfWork) -> Job:
        job = found(await tx.jobs.get(job_id), "job")
        if not await tx.jobs.retry(job):
            message = f"a job in state {job.state} cannot be retried"
            raise Conflict(message, code="job_not_retryable", remedy="only failed and cancelled jobs can; run it anew")
        if takes_turns(job):
            await tx.turns.give()
        return found(await tx.jobs.get(job_id), "job")

    return JobOut.model_validate(await parts.db.run(retry))


async def _live_progress(parts: Gateway, job_id: uuid.UUID) -> dict[str, object] | None:
    try:
        data = await parts.bus.last(PROGRESS, f"{JobProgress.subject}.{job_id}")
    except Transient:
        return None  # the row's own, a little older, is good enough
    return read_progress(data, job_id) if data else None
