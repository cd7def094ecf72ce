"""Tells the world of jobs that changed: once a transaction, each job as its row is when the transaction commits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from shared.db.stores.hook_debts import tell_owed
from shared.db.tables.job import Job
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository
from shared.domain.job import JobState
from shared.events.progress import JobChanged

if TYPE_CHECKING:
    import uuid

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.outbox import Outbox

_AT_ONCE = 200
_IN_VAIN = (JobState.FAILED.value, JobState.CANCELLED.value)
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
        Job.message,
        Job.not_before,
        Job.created_at,
        Job.started_at,
        Job.finished_at,
    )
    .outerjoin(Server, Server.id == Job.server_id)
    .outerjoin(Repository, Repository.id == Job.repository_id)
)
# Built once, and run without the ORM: every run of a job pays for them three times.
_ONE = _ROW.where(Job.id == bindparam("of"))
_SOME = _ROW.where(Job.id.in_(bindparam("of", expanding=True)))


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
        if not (ids := list(self._ids)):
            return
        connection = await self._session.connection()
        in_vain: list[uuid.UUID] = []
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            rows = (
                connection.execute(_ONE, {"of": some[0]}) if len(some) == 1 else connection.execute(_SOME, {"of": some})
            )
            for row in (await rows).mappings():
                reason = row["reason"]
                self._outbox.add(JobChanged(**{**row, "reason": reason and reason[:_SHOWN]}))
                if row["backup_job_id"] is not None and row["state"] in _IN_VAIN:
                    in_vain.append(row["job_id"])
        # Here, where every end passes: of a worker, of a queue, of the reaper, of a message that makes no sense.
        await tell_owed(connection, in_vain)
        self._ids.clear()
