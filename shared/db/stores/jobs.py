"""Jobs: enqueue, claim, beat, finish. Every write of a run repeats its lease: that is the fence."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, and_, bindparam, case, func, insert, null, or_, select, update

from shared.db.stores.job_messages import KNOWN, Addressed, type_unknown
from shared.db.stores.job_recovery import JobRecovery
from shared.db.stores.job_rows import CANCELLED, IS_DUE, LONGEST_DELAY, ORPHANED, QUEUED, error_values
from shared.db.tables.base import db_now, micros, or_ignore
from shared.db.tables.job import Job, JobLog
from shared.domain.job import JobState
from shared.domain.job_kinds import KIND_OF, TAKE_TURNS
from shared.domain.messages import stored
from shared.domain.messages.jobs import JOB_NOT_RETRYABLE, LEASE_LOST_JOB
from shared.domain.scheduled import asked_for
from shared.domain.text import clean
from shared.errors import Conflict, LeaseLost

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.sql.dml import Update

    from shared.domain.message import Said
    from shared.errors import AppError

WAITING_FOR_SLOT = "a free slot"
"""What a run waits for while as many as may are under way."""
_WARNING = 10_000
"""Characters of one warning."""


class Jobs(JobRecovery):
    """The queue's rows of one transaction."""

    correlation_id: uuid.UUID | None = None
    """Of the request that all jobs of this transaction come from, where it is one."""

    async def enqueue(self, *jobs: Job) -> None:
        """Insert queued jobs together with their messages; those that caps hold for wait for a free slot."""
        for job in jobs:
            if self.correlation_id is not None:
                job.correlation_id = self.correlation_id
            if takes_turns(job):
                job.waiting_for = WAITING_FOR_SLOT
                job.sent_at = None
        self._session.add_all(jobs)
        await self._session.flush()
        for job in jobs:
            if not takes_turns(job):
                self._send(job)
        self.changes.add(*(job.id for job in jobs))

    async def send(self, waiting: Sequence[Addressed]) -> None:
        """Send runs that waited for a free slot, in this order."""
        if not waiting:
            return
        mine = update(Job).where(Job.id.in_([job.id for job in waiting]))
        sent = mine.values(sent_at=db_now(), waiting_for=None, not_before=None)
        await self._session.execute(sent, execution_options={"synchronize_session": False})
        for job in waiting:
            self._send(job)
            self.changes.add(job.id)

    async def get(self, job_id: uuid.UUID) -> Job | None:
        """Return a job as it is now."""
        return await self._session.scalar(_GET, {"of": job_id})

    async def claim(self, job_id: uuid.UUID, *, lease: str, seconds: float) -> Job | None:
        """Take a job that is queued and due, or whose holder's lease ran out; None if it is not ours to take.

        A lease is of one run: a job that has it already was taken by an earlier try, whose answer was lost.
        """
        given = {"of": job_id, "holder": lease, "held": micros(seconds)}
        if not await self._changed(_CLAIM, given) and await self._session.scalar(_RUNS, given) is None:
            # Cancelled and queued all the same, as an earlier version left it: nobody takes it, so it ends here.
            stuck = update(Job).where(Job.id == job_id, Job.state == JobState.QUEUED, Job.cancel_requested.is_(True))
            await self._transition(job_id, stuck.values(**CANCELLED))
            return None
        job = await self.get(job_id)
        if job is not None and job.waiting_for is None:  # one that waited runs when it has what it waited for: `begun`
            self.changes.add(job_id)
        return job

    async def begun(self, job: Job, *, lease: str) -> None:
        """Say that a run which waited for something has it now; LeaseLost if another took the job."""
        if job.waiting_for is not None:
            await self._transition(job.id, _ours(job.id, lease).values(waiting_for=None))
            job.waiting_for = None

    async def seconds_until_due(self, job_id: uuid.UUID) -> float | None:
        """Return how long a queued job has to wait yet; None if it is not queued, or gets another message later."""
        sent = and_(Job.state == JobState.QUEUED, Job.sent_at.is_not(None))
        query = select(Job.not_before, db_now()).where(Job.id == job_id, sent)
        row = (await self._session.execute(query)).one_or_none()
        if row is None:
            return None
        not_before, now = row
        remaining = (not_before - now).total_seconds() if not_before else 0.0
        return max(0.0, remaining) if remaining <= LONGEST_DELAY else 0.0

    async def beat(self, job_id: uuid.UUID, *, lease: str, seconds: float, progress: dict[str, Any] | None) -> None:
        """Extend a run's lease and keep its progress; LeaseLost if another took it."""
        values: dict[str, Any] = {"lease_until": db_now(seconds), "waiting_for": None}
        if progress is not None:
            values["progress"] = progress
        await self._write(job_id, lease, values)

    async def note_result(self, job_id: uuid.UUID, *, lease: str, result: dict[str, Any]) -> None:
        """Keep what a run has done for good though it goes on; the next attempt finds it. LeaseLost if not ours."""
        await self._write(job_id, lease, {"result": result})

    async def hold(self, job_id: uuid.UUID, *, lease: str) -> None:
        """Lock a running job's row until the commit; LeaseLost if another took it."""
        query = select(Job.id).where(_OURS, Job.state == JobState.RUNNING).with_for_update()
        if await self._session.scalar(query, {"of": job_id, "holder": lease}) is None:
            raise LeaseLost(LEASE_LOST_JOB(job=job_id))

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
        warnings: Sequence[Said] = (),
        result: dict[str, Any] | None = None,
        progress: dict[str, Any] | None = None,
    ) -> bool:
        """End a run for good; False if an earlier try of this very commit did it; LeaseLost if it is not ours.

        The lease stays in the row, so that a commit whose answer was lost is recognised when tried again.
        """
        given = {"end": state.value, **_warned(warnings), "found": result or {}, "reached": progress}
        ours = {"of": job.id, "holder": lease}
        why = {f"{name}_": text for name, text in error_values(error).items()}
        if not await self._transition(job.id, _FINISH, given | ours | why):
            if await self._session.scalar(_STORED, ours) is None:
                raise LeaseLost(LEASE_LOST_JOB(job=job.id))
            return False
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
    ) -> bool:
        """Return a run to the queue; a failure counts, waiting or a shutdown does not.

        True, if its message has done its work: it waits for a slot anew and gets another one then; another delivery
        ended it (`leave`), so another one is sent now; or the job ends here, because somebody asked to cancel it. In
        the queue nobody would take it: it would be there for ever.
        """
        anew = failed and takes_turns(job)
        values: dict[str, Any] = {
            "state": JobState.QUEUED.value,
            "lease": None,
            "lease_until": None,
            "waiting_for": waiting_for,
            "not_before": db_now(delay) if delay else None,
            "failures": Job.failures + (1 if failed else 0),
            **error_values(error),
        }
        if waiting_for is not None:
            values["attempt"] = Job.attempt - 1
        if anew:
            values["sent_at"] = None
        ours = _ours(job.id, lease)
        if not await self._changed(ours.where(Job.cancel_requested.is_(False)).values(**values)):
            if not await self._transition(job.id, ours.where(Job.cancel_requested.is_(True)).values(**CANCELLED)):
                raise LeaseLost(LEASE_LOST_JOB(job=job.id))
            return True
        if waiting_for is None or job.waiting_for != waiting_for:
            self.changes.add(job.id)
        return anew or await self._resend(job.id, only_lost=True)

    async def fail_unclaimed(self, job_id: uuid.UUID, error: AppError) -> None:
        """End a job that nobody holds, because its message cannot be worked on."""
        queued = update(Job).where(Job.id == job_id, Job.state == JobState.QUEUED)
        await self._transition(
            job_id, queued.values(state=JobState.FAILED.value, finished_at=db_now(), **error_values(error))
        )

    async def request_cancel(self, job_id: uuid.UUID) -> JobState | None:
        """Cancel a queued job at once, ask a running one to stop; return the state after, None if it had ended."""
        # One statement: between two of them a run on its way back to the queue would be met by neither.
        queued = Job.state == JobState.QUEUED
        asked = (
            update(Job)
            .where(Job.id == job_id, Job.state.in_((JobState.QUEUED, JobState.RUNNING)))
            .ordered_values(  # the state last: MariaDB reads what is to the left of it as it is by then
                (Job.cancel_requested, True),
                (Job.finished_at, case((queued, db_now()), else_=Job.finished_at)),
                (Job.waiting_for, case((queued, null()), else_=Job.waiting_for)),
                (Job.state, case((queued, JobState.CANCELLED.value), else_=Job.state)),
            )
        )
        if not await self._transition(job_id, asked):
            return None
        return JobState((await self._session.scalars(select(Job.state).where(Job.id == job_id))).one())

    async def retry(self, job: Job) -> bool:
        """Queue a failed or cancelled job again; False if it is in another state, Conflict if its type forbids it."""
        if job.type not in KNOWN:
            raise type_unknown(job.type)
        if (kind := KIND_OF.get(job.type)) and not kind.retryable:
            raise Conflict(JOB_NOT_RETRYABLE(work=kind.label))
        turn = {"sent_at": None, "waiting_for": WAITING_FOR_SLOT} if takes_turns(job) else {}
        asked = {"failures": 0, "cancel_requested": False, "finished_at": None, "params": asked_for(job.params)}
        asked |= {"run": Job.run + 1}
        again = (
            update(Job)
            .where(Job.id == job.id, Job.state.in_((JobState.FAILED, JobState.CANCELLED)))
            .values(**asked | QUEUED | turn | error_values(None))
        )
        if not await self._transition(job.id, again):
            return False
        return bool(turn) or await self._resend(job.id)

    async def log(self, job: Job, first_seq: int, lines: Sequence[tuple[datetime, str, str, str, str]]) -> None:
        """Append (at, level, source, code, message) lines to the job's log; a line stored before stays.

        Numbers go on from attempt to attempt: a run that waited gives its attempt's number back, and not its lines'.
        """
        names = ("at", "level", "source", "code", "message")
        key = {"job_id": job.id, "attempt": job.attempt}
        rows = [key | {"seq": first_seq + n} | dict(zip(names, line, strict=True)) for n, line in enumerate(lines)]
        if rows:
            await self._session.execute(or_ignore(insert(JobLog)), rows)
            last = first_seq + len(rows) - 1
            await self._changed(update(Job).where(Job.id == job.id, Job.log_seq < last).values(log_seq=last))

    async def _write(self, job_id: uuid.UUID, lease: str, values: dict[str, Any]) -> None:
        if not await self._changed(_ours(job_id, lease).values(**values)):
            raise LeaseLost(LEASE_LOST_JOB(job=job_id))


# The statements of every run are built once: building them costs as much as running them.
_DUE = and_(
    Job.state == JobState.QUEUED,
    Job.sent_at.is_not(None),
    IS_DUE,
)
_OURS = and_(Job.id == bindparam("of"), Job.lease == bindparam("holder"))
_CLAIM = (
    update(Job)
    .where(Job.id == bindparam("of"), Job.cancel_requested.is_(False), or_(_DUE, ORPHANED))
    .values(
        state=JobState.RUNNING.value,
        lease=bindparam("holder"),
        lease_until=db_now(bindparam("held", type_=BigInteger())),
        attempt=Job.attempt + 1,
        started_at=func.coalesce(Job.started_at, db_now()),
        not_before=None,
    )
)
_FINISH = (
    update(Job)
    .where(_OURS, Job.state == JobState.RUNNING)
    .values(
        state=bindparam("end"),
        lease_until=None,
        waiting_for=None,
        finished_at=db_now(),
        warnings=bindparam("warned"),
        warning_messages=bindparam("warned_as"),
        result=bindparam("found"),
        progress=bindparam("reached"),
        code=bindparam("code_"),
        reason=bindparam("reason_"),
        remedy=bindparam("remedy_"),
        message=bindparam("message_"),
    )
)
_GET = select(Job).where(Job.id == bindparam("of")).execution_options(populate_existing=True)
_RUNS = select(Job.id).where(_OURS, Job.state == JobState.RUNNING)
_STORED = select(Job.id).where(_OURS, Job.finished_at.is_not(None))


def takes_turns(job: Job) -> bool:
    """Tell whether caps hold for a job: its type is one that they hold for, and it has a repository."""
    return job.type in TAKE_TURNS and job.repository_id is not None


def _warned(warnings: Sequence[Said]) -> dict[str, Any]:
    return {
        "warned": [clean(one.text, _WARNING) for one in warnings],
        "warned_as": [stored(one) for one in warnings] or None,
    }


def _ours(job_id: uuid.UUID, lease: str) -> Update:
    return update(Job).where(Job.id == job_id, Job.state == JobState.RUNNING, Job.lease == lease)
