"""Tells the world of jobs that changed: once a transaction, each job as its row is when the transaction commits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from shared.db.tables.job import Job
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository
from shared.events.progress import JobChanged

if TYPE_CHECKING:
    import uuid

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.outbox import Outbox

_AT_ONCE = 200
_SHOWN = 1000
"""Characters of a reason that an event carries; the row has it whole."""
_ROW = (
    select(
        Job.id.label("job_id"),
        Job.correlation_id,
        Job.type,
        Job.state,
        Job.attempt,
        Job.waiting_for,
        Job.title,
        Job.node,
        Job.server_id,
        Server.name.label("server"),
        Job.repository_id,
        Repository.name.label("repository"),
        Job.backup_job_id,
        Job.archive_id,
        Job.cancel_requested,
        Job.failures,
        Job.code,
        Job.reason,
        Job.not_before,
        Job.created_at,
        Job.started_at,
        Job.finished_at,
    )
    .outerjoin(Server, Server.id == Job.server_id)
    .outerjoin(Repository, Repository.id == Job.repository_id)
)


class JobChanges:
    """The jobs that one transaction changed."""

    def __init__(self, session: AsyncSession, outbox: Outbox) -> None:
        """Bind to a session and its outbox."""
        self._session = session
        self._outbox = outbox
        self._ids: dict[uuid.UUID, None] = {}

    def add(self, *job_ids: uuid.UUID) -> None:
        """Note that these jobs changed; who lists jobs needs no more than the event that follows."""
        self._ids.update(dict.fromkeys(job_ids))

    async def tell(self) -> None:
        """Put one event a job into the outbox, from the rows: no event says what its row does not."""
        ids = list(self._ids)
        for start in range(0, len(ids), _AT_ONCE):
            for row in (await self._session.execute(_ROW.where(Job.id.in_(ids[start : start + _AT_ONCE])))).mappings():
                reason = row["reason"]
                event = JobChanged(**{**row, "reason": reason and reason[:_SHOWN]})
                self._outbox.add(event)
        self._ids.clear()
