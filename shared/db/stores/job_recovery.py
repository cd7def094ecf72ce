"""Recovery: what became of jobs whose worker died, whose message was lost, or whose type nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.orm import load_only

from shared.db.stores.job_messages import ADDRESS, Addressed, subject_of, type_unknown, waits_on
from shared.db.stores.job_rows import CANCELLED, IS_KNOWN, ORPHANED, QUEUED, STRANDED, JobRows, error_values
from shared.db.tables.base import beyond, db_now
from shared.db.tables.job import Job
from shared.domain.job import JobState

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

RESENT_AT_ONCE = 50
_CUT_TO = 120.0
"""Seconds, at least, in which a living worker has renewed a lease that was cut."""


class JobRecovery(JobRows):
    """What the reaper does: every step is a conditional update, so any number of reapers may run."""

    async def orphans(self, limit: int = 100) -> Sequence[Job]:
        """Return running jobs whose worker's lease ran out, or never will; of their rows what queuing them needs."""
        few = load_only(*ADDRESS, Job.title, raiseload=True)
        query = select(Job).where(or_(ORPHANED, STRANDED), IS_KNOWN).options(few).limit(limit)
        return (await self._session.scalars(query)).all()

    async def recover(self, job: Job, *, lease: float = 0.0) -> bool:
        """Re-queue an orphan with a fresh message, or end it if it was being cancelled; False if another was first.

        A lease from a clock that was ahead is cut to what it may be: a worker that lives renews it within that time.
        """
        mine = update(Job).where(Job.id == job.id)
        if await self._changed(mine.where(STRANDED).values(lease_until=db_now(max(lease, _CUT_TO)))):
            return False
        asked = mine.where(ORPHANED, Job.cancel_requested.is_(True))
        if await self._transition(job.id, asked.values(**CANCELLED)):
            return True
        again = mine.where(ORPHANED, Job.cancel_requested.is_(False))
        return await self._transition(job.id, again.values(**QUEUED)) and await self._resend(job.id)

    async def leave(self, job_id: uuid.UUID) -> bool:
        """Note that a message of a job which another run holds is about to be ended; False if it has to stay.

        It may be the one that the other run would give back: a run that is put back sends another one, as its row
        says that it has none. One more than needed is harmless, none is a job that waits until the reaper misses it.
        A queued job needs its message; a job that has ended, or that nobody knows, needs none.
        """
        held = update(Job).where(Job.id == job_id, Job.state == JobState.RUNNING)
        # First: the row's lock makes whoever puts it back meanwhile wait for what is said here.
        if await self._changed(held.values(sent_at=None)):
            return True
        live = and_(Job.state.in_((JobState.QUEUED, JobState.RUNNING)), Job.sent_at.is_not(None))
        return await self._session.scalar(select(Job.id).where(Job.id == job_id, live)) is None

    async def fail_unknown(self, *, after: float) -> Sequence[uuid.UUID]:
        """End jobs of types that this version does not know, which nobody took for so many seconds; return which.

        Not at once: while a fleet is upgraded, the process that knows them may be about to start.
        """
        since = case((Job.state == JobState.RUNNING, Job.lease_until), else_=Job.created_at)
        live = and_(Job.state.in_((JobState.QUEUED, JobState.RUNNING)), ~IS_KNOWN, since < db_now(-after))
        rows = (await self._session.execute(select(Job.id, Job.type).where(live).limit(100))).all()
        for job_id, kind in rows:
            failed = {"state": JobState.FAILED.value, "waiting_for": None, "finished_at": db_now()}
            ended = update(Job).where(Job.id == job_id, live)
            await self._transition(job_id, ended.values(**failed | error_values(type_unknown(kind))))
        return [job_id for job_id, _ in rows]

    async def queued_per_subject(self) -> dict[str, int]:
        """Count, of each subject on which jobs are queued, the messages that must be there.

        A running job holds its message until it ends: without it, a lost one of a queued job would be made up for.
        """
        waiting = func.sum(case((Job.state == JobState.QUEUED, 1), else_=0))
        query = (
            select(Job.type, Job.node, func.count())
            .where(Job.state.in_((JobState.QUEUED, JobState.RUNNING)), Job.sent_at.is_not(None), IS_KNOWN)
            .group_by(Job.type, Job.node)
            .having(waiting > 0)
        )
        return {subject_of(kind, node): count for kind, node, count in await self._session.execute(query)}

    async def resend_silent(self, subject: str, *, older_than: float, limit: int = RESENT_AT_ONCE) -> int:
        """Send anew queued jobs of a subject whose message went out that long ago; return how many.

        Few at once, and none that a worker is just claiming: a claim must not wait for this.
        """
        query = select(*ADDRESS).where(
            Job.state == JobState.QUEUED, or_(Job.sent_at < db_now(-older_than), beyond(Job.sent_at)), waits_on(subject)
        )
        oldest = query.order_by(Job.created_at).limit(limit).with_for_update(skip_locked=True)
        silent = [Addressed(*row) for row in await self._session.execute(oldest)]
        if silent:
            mine = update(Job).where(Job.id.in_([job.id for job in silent]))
            await self._session.execute(mine.values(sent_at=db_now()), execution_options={"synchronize_session": False})
        for job in silent:
            self._send(job)
            self.changes.add(job.id)
        return len(silent)
