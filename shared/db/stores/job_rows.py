"""What all writes of a job's row have in common: the states it is put into, and that each change is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select, update

from shared.db.stores.job_changes import JobChanges
from shared.db.stores.job_messages import ADDRESS, KNOWN, Addressed, command_of
from shared.db.tables.base import beyond, db_now
from shared.db.tables.job import Job
from shared.domain.job import JobState
from shared.domain.messages import stored
from shared.domain.messages.jobs import JOB_CANCELLED

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.sql.dml import Update

    from shared.db.outbox import Outbox
    from shared.errors import AppError

LONGEST_DELAY = 8 * 86_400.0
"""No failure makes a job wait longer: eight times the longest pause that can be asked for."""
IS_DUE = or_(Job.not_before.is_(None), Job.not_before <= db_now(), beyond(Job.not_before, LONGEST_DELAY))
IS_KNOWN = Job.type.in_(KNOWN)
STRANDED = and_(Job.state == JobState.RUNNING, beyond(Job.lease_until))
"""Held by a clock that was ahead: for as long as that was off, nobody could tell whether its worker lives."""
ORPHANED = and_(Job.state == JobState.RUNNING, Job.lease_until < db_now())
QUEUED: dict[str, Any] = {
    "state": JobState.QUEUED.value,
    "lease": None,
    "lease_until": None,
    "not_before": None,
    "waiting_for": None,
}
_CANCELLED = JOB_CANCELLED()
CANCELLED: dict[str, Any] = {
    "state": JobState.CANCELLED.value,
    "lease": None,
    "lease_until": None,
    "waiting_for": None,
    "finished_at": db_now(),
    "code": _CANCELLED.code,
    "reason": _CANCELLED.text,
    "remedy": "",
    "message": stored(_CANCELLED),
}


def error_values(error: AppError | None) -> dict[str, Any]:
    """Return what a job's row holds of an error, or of none."""
    if error is None:
        return {"code": None, "reason": None, "remedy": None, "message": None}
    return {"code": error.code, "reason": error.message, "remedy": error.remedy, "message": stored(error.said)}


class JobRows:
    """The rows of one transaction, and the events that tell of them."""

    def __init__(self, session: AsyncSession, outbox: Outbox) -> None:
        """Bind to a session and its outbox."""
        self._session = session
        self._outbox = outbox
        self.changes = JobChanges(session, outbox)

    async def _resend(self, job_id: uuid.UUID, *, only_lost: bool = False) -> bool:
        """Send a queued job anew, if asked only one that has no message; one no longer queued needs none."""
        waiting = update(Job).where(Job.id == job_id, Job.state == JobState.QUEUED)
        if only_lost:
            waiting = waiting.where(Job.sent_at.is_(None))
        if not await self._changed(waiting.values(sent_at=db_now())):
            return False
        row = (await self._session.execute(select(*ADDRESS).where(Job.id == job_id))).one()
        self._send(Addressed(*row))
        self.changes.add(job_id)
        return True

    async def _transition(self, job_id: uuid.UUID, statement: Update, given: Mapping[str, Any] | None = None) -> bool:
        """Change a job's row in a way that lists show, and say so: the one place for both. False if nothing changed."""
        changed = await self._changed(statement, given)
        if changed:
            self.changes.add(job_id)
        return changed

    def _send(self, job: Job | Addressed) -> None:
        self._outbox.add(command_of(job), node=job.node)

    async def _changed(self, statement: Update, given: Mapping[str, Any] | None = None) -> bool:
        await self._session.flush()
        connection = await self._session.connection()
        return (await connection.execute(statement, given)).rowcount > 0
