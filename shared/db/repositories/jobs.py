"""Jobs: enqueue, claim, beat, finish. Every write of a run repeats its lease: that is the fence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import CursorResult, and_, func, insert, or_, select, update

from shared.db.tables.base import db_now, or_ignore
from shared.db.tables.job import Job, JobLog
from shared.domain.job import JobState, JobType
from shared.errors import LeaseLost
from shared.events.archive import ArchiveDelete
from shared.events.backup import BackupRequested
from shared.events.progress import JobChanged
from shared.events.server import ServerSetup

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.sql.dml import Update

    from shared.db.outbox import Outbox
    from shared.errors import AppError
    from shared.events.base import Command


class Jobs:
    """The queue's rows of one transaction."""

    def __init__(self, session: AsyncSession, outbox: Outbox) -> None:
        """Bind to a session and its outbox."""
        self._session = session
        self._outbox = outbox

    async def enqueue(self, job: Job) -> None:
        """Insert a queued job together with its message and the fact that it is queued."""
        self._session.add(job)
        job.sent_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - a SQL expression is assignable
        await self._session.flush()
        self._send(job)
        self._outbox.add(_changed(job, JobState.QUEUED))

    async def get(self, job_id: uuid.UUID) -> Job | None:
        """Return a job as it is now."""
        return await self._session.get(Job, job_id, populate_existing=True)

    async def claim(self, job_id: uuid.UUID, *, lease: str, seconds: float) -> Job | None:
        """Take a job that is queued and due, or whose holder's lease ran out; None if it is not ours to take."""
        due = and_(Job.state == JobState.QUEUED, or_(Job.not_before.is_(None), Job.not_before <= db_now()))
        orphaned = and_(Job.state == JobState.RUNNING, Job.lease_until < db_now())
        take = (
            update(Job)
            .where(Job.id == job_id, Job.cancel_requested.is_(False), or_(due, orphaned))
            .values(
                state=JobState.RUNNING.value,
                lease=lease,
                lease_until=db_now(seconds),
                attempt=Job.attempt + 1,
                started_at=func.coalesce(Job.started_at, db_now()),
                not_before=None,
            )
        )
        return await self.get(job_id) if await self._changed(take) else None

    async def seconds_until_due(self, job_id: uuid.UUID) -> float | None:
        """Return how long a queued job has to wait yet; None if it is not queued."""
        query = select(Job.not_before, db_now()).where(Job.id == job_id, Job.state == JobState.QUEUED)
        row = (await self._session.execute(query)).one_or_none()
        if row is None:
            return None
        not_before, now = row
        return max(0.0, (not_before - now).total_seconds()) if not_before else 0.0

    async def beat(self, job_id: uuid.UUID, *, lease: str, seconds: float, progress: dict[str, Any] | None) -> None:
        """Extend a run's lease and keep its progress; LeaseLost if another took it."""
        values: dict[str, Any] = {"lease_until": db_now(seconds), "waiting_for": None}
        if progress is not None:
            values["progress"] = progress
        await self._write(job_id, lease, values)

    async def cancel_requested(self, job_id: uuid.UUID) -> bool:
        """Tell whether somebody asked to cancel."""
        return bool(await self._session.scalar(select(Job.cancel_requested).where(Job.id == job_id)))

    async def finish(
        self,
        job: Job,
        *,
        lease: str,
        state: JobState,
        error: AppError | None = None,
        warnings: Sequence[str] = (),
        result: dict[str, Any] | None = None,
        progress: dict[str, Any] | None = None,
    ) -> bool:
        """End a run for good; False if an earlier try of this very commit did it; LeaseLost if it is not ours.

        The lease stays in the row, so that a commit whose answer was lost is recognised when tried again.
        """
        stored = select(Job.id).where(Job.id == job.id, Job.lease == lease, Job.finished_at.is_not(None))
        if await self._session.scalar(stored) is not None:
            return False
        values: dict[str, Any] = {
            "state": state.value,
            "lease_until": None,
            "waiting_for": None,
            "finished_at": db_now(),
            "warnings": list(warnings),
            "result": result or {},
            "progress": progress,
            **_error_values(error),
        }
        await self._write(job.id, lease, values)
        self._outbox.add(_changed(job, state))
        return True

    async def put_back(
        self,
        job: Job,
        *,
        lease: str,
        delay: float,
        error: AppError | None = None,
        waiting_for: str | None = None,
        failed: bool = False,
    ) -> None:
        """Return a run to the queue; a failure counts, waiting or a shutdown does not."""
        values: dict[str, Any] = {
            "state": JobState.QUEUED.value,
            "lease": None,
            "lease_until": None,
            "waiting_for": waiting_for,
            "not_before": db_now(delay) if delay else None,
            "failures": Job.failures + (1 if failed else 0),
            **_error_values(error),
        }
        if waiting_for is not None:
            values["attempt"] = Job.attempt - 1
        await self._write(job.id, lease, values)
        if waiting_for is None or job.waiting_for != waiting_for:
            self._outbox.add(_changed(job, JobState.QUEUED, waiting_for=waiting_for))

    async def fail_unclaimed(self, job_id: uuid.UUID, error: AppError) -> None:
        """End a job that nobody holds, because its message cannot be worked on."""
        await self._session.execute(
            update(Job)
            .where(Job.id == job_id, Job.state == JobState.QUEUED)
            .values(state=JobState.FAILED.value, finished_at=db_now(), **_error_values(error))
        )

    async def request_cancel(self, job_id: uuid.UUID) -> JobState | None:
        """Cancel a queued job at once, ask a running one to stop; return the state after, None if it had ended."""
        queued = (
            update(Job)
            .where(Job.id == job_id, Job.state == JobState.QUEUED)
            .values(state=JobState.CANCELLED.value, finished_at=db_now(), cancel_requested=True, waiting_for=None)
        )
        running = update(Job).where(Job.id == job_id, Job.state == JobState.RUNNING).values(cancel_requested=True)
        if await self._changed(queued):
            if job := await self.get(job_id):
                self._outbox.add(_changed(job, JobState.CANCELLED))
            return JobState.CANCELLED
        return JobState.RUNNING if await self._changed(running) else None

    async def retry(self, job: Job) -> bool:
        """Queue a failed or cancelled job again with a fresh message; False if it is in another state."""
        again = (
            update(Job)
            .where(Job.id == job.id, Job.state.in_((JobState.FAILED, JobState.CANCELLED)))
            .values(failures=0, cancel_requested=False, finished_at=None, **_QUEUED, **_error_values(None))
        )
        return await self._changed(again) and await self._resend(job.id)

    async def orphans(self, limit: int = 100) -> Sequence[Job]:
        """Return running jobs whose worker's lease ran out."""
        query = select(Job).where(Job.state == JobState.RUNNING, Job.lease_until < db_now()).limit(limit)
        return (await self._session.scalars(query)).all()

    async def recover(self, job: Job) -> bool:
        """Re-queue an orphan with a fresh message, or end it if it was being cancelled; False if another was first."""
        orphaned = and_(Job.id == job.id, Job.state == JobState.RUNNING, Job.lease_until < db_now())
        cancelled = {"state": JobState.CANCELLED.value, "lease": None, "lease_until": None, "finished_at": db_now()}
        if await self._changed(update(Job).where(orphaned, Job.cancel_requested.is_(True)).values(**cancelled)):
            return True
        return await self._changed(update(Job).where(orphaned).values(**_QUEUED)) and await self._resend(job.id)

    async def queued_per_subject(self) -> dict[str, int]:
        """Count the queued jobs by the subject their message waits on."""
        query = (
            select(Job.type, Job.node, func.count()).where(Job.state == JobState.QUEUED).group_by(Job.type, Job.node)
        )
        rows = (await self._session.execute(query)).all()
        return {_subject(JobType(kind), node): count for kind, node, count in rows}

    async def resend_silent(self, subject: str, *, older_than: float, limit: int = 500) -> int:
        """Send anew each queued job of a subject whose message went out that long ago; return how many."""
        query = select(Job).where(Job.state == JobState.QUEUED, Job.sent_at < db_now(-older_than))
        jobs = (await self._session.scalars(query.order_by(Job.created_at).limit(limit))).all()
        silent = [job for job in jobs if _subject(JobType(job.type), job.node) == subject]
        for job in silent:
            await self._resend(job.id)
        return len(silent)

    async def log(self, job: Job, first_seq: int, lines: Sequence[tuple[datetime, str, str, str, str]]) -> None:
        """Append (at, level, source, code, message) lines to this attempt's log; a line stored before stays."""
        names = ("at", "level", "source", "code", "message")
        key = {"job_id": job.id, "attempt": job.attempt}
        rows = [key | {"seq": first_seq + n} | dict(zip(names, line, strict=True)) for n, line in enumerate(lines)]
        if rows:
            await self._session.execute(or_ignore(insert(JobLog)), rows)

    async def _write(self, job_id: uuid.UUID, lease: str, values: dict[str, Any]) -> None:
        ours = update(Job).where(Job.id == job_id, Job.state == JobState.RUNNING, Job.lease == lease).values(**values)
        if not await self._changed(ours):
            message = f"job {job_id} passed to another worker"
            raise LeaseLost(message)

    async def _resend(self, job_id: uuid.UUID) -> bool:
        await self._session.execute(update(Job).where(Job.id == job_id).values(sent_at=db_now()))
        job = await self.get(job_id)
        if job is not None:
            self._send(job)
            self._outbox.add(_changed(job, JobState.QUEUED))
        return job is not None

    def _send(self, job: Job) -> None:
        self._outbox.add(_command(job), node=job.node)

    async def _changed(self, statement: Update) -> bool:
        result = await self._session.execute(statement.execution_options(synchronize_session=False))
        return isinstance(result, CursorResult) and result.rowcount > 0


_QUEUED: dict[str, Any] = {
    "state": JobState.QUEUED.value,
    "lease": None,
    "lease_until": None,
    "not_before": None,
    "waiting_for": None,
}

_COMMANDS: dict[JobType, type[Command]] = {
    JobType.SERVER_SETUP: ServerSetup,
    JobType.BACKUP_CREATE: BackupRequested,
    JobType.ARCHIVE_DELETE: ArchiveDelete,
}


def _command(job: Job) -> Command:
    return _COMMANDS[JobType(job.type)](job_id=job.id, correlation_id=job.correlation_id)


def _subject(kind: JobType, node: str | None) -> str:
    subject = _COMMANDS[kind].subject
    return f"{subject}.{node}" if node else subject


def _changed(job: Job, state: JobState, waiting_for: str | None = None) -> JobChanged:
    return JobChanged(
        job_id=job.id,
        correlation_id=job.correlation_id,
        type=job.type,
        state=state.value,
        attempt=job.attempt,
        waiting_for=waiting_for,
    )


def _error_values(error: AppError | None) -> dict[str, Any]:
    if error is None:
        return {"code": None, "reason": None, "remedy": None}
    return {"code": error.code, "reason": error.message, "remedy": error.remedy}
