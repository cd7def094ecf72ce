"""`/api/jobs`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select, tuple_

from services.api.features.jobs.elsewhere import require_there
from services.api.features.jobs.guarded import retry
from services.api.features.jobs.overlaps import overlapping, read_span
from services.api.features.jobs.progress import read_progress
from services.api.kernel.dependencies import Asking, PageBounds, Parts
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.job import JobOut, LogLineOut
from services.api.kernel.pages import newest_first, require
from services.api.kernel.schemas import Page
from shared.db.stores.requests import request_undo
from shared.db.tables.job import Job, JobLog
from shared.domain.four_eyes import Command, Guarded
from shared.domain.job import JobState, JobType
from shared.domain.messages.jobs import JOB_ENDED
from shared.domain.names import Text
from shared.domain.permissions import Permission
from shared.errors import Conflict, Transient
from shared.events.progress import JobProgress
from shared.events.streams import PROGRESS

if TYPE_CHECKING:
    from services.api.kernel.dependencies import Gateway
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["jobs"], route_class=GuardedRoute)
OVERLAPS = "That ran or waited in this span, of 8 days at most: 2027-01-31T18:00:00Z/2027-02-01T06:00:00Z."


@router.get("/api/jobs", dependencies=[Allow(Permission.JOBS_READ)])
async def list_jobs(
    parts: Parts,
    bounds: PageBounds,
    state: Annotated[JobState | None, Query()] = None,
    type: Annotated[JobType | None, Query()] = None,  # noqa: A002 - the query's own word
    server_id: Annotated[uuid.UUID | None, Query()] = None,
    backup_job_id: Annotated[uuid.UUID | None, Query()] = None,
    overlaps: Annotated[Text | None, Query(description=OVERLAPS)] = None,
) -> Page[JobOut]:
    """List the jobs, newest first."""
    span = read_span(overlaps) if overlaps is not None else None
    query = select(Job)
    query = query.where(Job.state == state.value) if state else query
    query = query.where(Job.type == type.value) if type else query
    query = query.where(Job.server_id == server_id) if server_id else query
    query = query.where(Job.backup_job_id == backup_job_id) if backup_job_id else query
    query = overlapping(query, span) if span else query
    async with parts.db.read() as session:
        # Ended well are nearly all: of any other state, as of a span, there are few, and an index finds them.
        few = span is not None or state not in (None, JobState.SUCCEEDED)
        cut = await newest_first(session, query, (Job.created_at, Job.id), bounds, few=few)
    return cut.page([JobOut.model_validate(row[0]) for row in cut.rows])


@router.get("/api/jobs/{job_id}", dependencies=[Allow(Permission.JOBS_READ)])
async def get_job(job_id: uuid.UUID, parts: Parts) -> JobOut:
    """Return one job with its latest progress."""
    async with parts.db.read() as session:
        job = require(await session.get(Job, job_id), "job")
    out = JobOut.model_validate(job)
    if job.state == JobState.RUNNING:
        out.progress = await _live_progress(parts, job_id) or out.progress
    return out


@router.get("/api/jobs/{job_id}/log", dependencies=[Allow(Permission.JOBS_READ)])
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
        require(await session.get(Job, job_id), "job")
        rows = (await session.scalars(query.order_by(JobLog.attempt, JobLog.seq).limit(limit + 1))).all()
    last = rows[limit - 1] if len(rows) > limit else None
    following = f"{last.attempt}.{last.seq}" if last else None
    return Page(items=[LogLineOut.model_validate(row) for row in rows[:limit]], next=following)


@router.post("/api/jobs/{job_id}/cancel", dependencies=[Allow(Permission.JOBS_CONTROL)], status_code=202)
async def cancel_job(job_id: uuid.UUID, parts: Parts) -> JobOut:
    """Cancel: a queued job at once, a running one as soon as borg has stopped."""

    async def cancel(tx: UnitOfWork) -> Job:
        require(await tx.jobs.get(job_id), "job")
        if await tx.jobs.request_cancel(job_id) is None:
            raise Conflict(JOB_ENDED())
        return require(await tx.jobs.get(job_id), "job")

    return JobOut.model_validate(await parts.db.run(cancel))


@router.post("/api/jobs/{job_id}/retry", dependencies=[Allow(Permission.JOBS_CONTROL)], status_code=202)
async def retry_job(job_id: uuid.UUID, parts: Parts, asking: Asking) -> JobOut:
    """Queue a failed or cancelled job again; it needs the right to ask for such a job too.

    With four eyes that of a deletion waits for another person.
    """
    command = Command(Guarded.RETRY_DELETION, str(job_id))
    return JobOut.model_validate(await parts.db.run(lambda tx: retry(tx, asking, command)))


@router.post("/api/jobs/{job_id}/undo", dependencies=[Allow(Permission.BACKUPS_RESTORE)], status_code=202)
async def undo_restore(job_id: uuid.UUID, parts: Parts, asking: Asking) -> JobOut:
    """Queue the undo of a restore with mode `swap`: what was there comes back, what was restored is set aside.

    Its job changes nothing where one of the names is not as the restore left it. `undo` in the restore's result says
    whether it can be undone, and until when what that goes by is kept.
    """

    async def undo(tx: UnitOfWork) -> Job:
        restore = require(await tx.jobs.get(job_id), "job")
        await require_there(tx, asking, restore)
        job = await request_undo(tx, restore)
        await tx.session.flush()
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(undo))


async def _live_progress(parts: Gateway, job_id: uuid.UUID) -> dict[str, object] | None:
    try:
        data = await parts.bus.last(PROGRESS, f"{JobProgress.subject}.{job_id}")
    except Transient:
        return None  # the row's own, a little older, is good enough
    return read_progress(data, job_id) if data else None
