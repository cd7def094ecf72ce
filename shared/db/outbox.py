"""The outbox: events commit with the change that caused them, and are published afterwards."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, insert, or_, select, union_all, update

from shared.db.tables.base import beyond, db_now
from shared.db.tables.kernel import OutboxRow
from shared.events.progress import JobChanged

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Sequence

    from sqlalchemy import Insert
    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.events.base import Event

_COLUMNS = (OutboxRow.id, OutboxRow.subject, OutboxRow.event_type, OutboxRow.payload)
_AT_ONCE = 50
_LATEST = 60.0
"""Further ahead than this no row can have been made, but by a clock that was ahead."""


class Outbox:
    """Events of one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        """Bind to a session."""
        self._session = session
        self._added: dict[uuid.UUID, OutboxRow] = {}

    @property
    def added(self) -> list[OutboxRow]:
        """What this transaction publishes if it commits."""
        return list(self._added.values())

    def add(self, event: Event, *, node: str | None = None) -> None:
        """Add an event; with a node it goes to that node's own subject. Of a job's changes the last one counts."""
        subject = f"{event.subject}.{node}" if node else event.subject
        payload = event.model_dump_json()
        row = OutboxRow(id=event.event_id, subject=subject, event_type=event.type_name(), payload=payload)
        self._added[event.job_id if isinstance(event, JobChanged) else event.event_id] = row

    async def write(self) -> None:
        """Insert what was added."""
        if not (added := self.added):
            return
        connection = await self._session.connection()
        for start in range(0, len(added), _AT_ONCE):
            rows = added[start : start + _AT_ONCE]
            given = {f"{column.key}_{n}": getattr(row, column.key) for n, row in enumerate(rows) for column in _COLUMNS}
            await connection.execute(_insertion(len(rows)), given)

    async def unsent(
        self, limit: int, *, older_than: float = 0.0, but: Collection[uuid.UUID] = (), but_on: Collection[str] = ()
    ) -> Sequence[OutboxRow]:
        """Return the oldest unsent rows, some of them, or those on some subjects, left out.

        Never by `id > last`, because commits are not ordered.
        """
        query = select(OutboxRow).where(
            OutboxRow.sent_at.is_(None),
            or_(OutboxRow.created_at <= db_now(-older_than), beyond(OutboxRow.created_at, _LATEST)),
        )
        if but:
            query = query.where(OutboxRow.id.not_in(but))
        if but_on:
            query = query.where(OutboxRow.subject.not_in(but_on))
        return (await self._session.scalars(query.order_by(OutboxRow.created_at).limit(limit))).all()

    async def mark_sent(self, ids: Sequence[uuid.UUID]) -> None:
        """Record that these were acknowledged by JetStream."""
        await self._session.execute(update(OutboxRow).where(OutboxRow.id.in_(ids)).values(sent_at=db_now()))

    async def purge(self, *, older_than: float, limit: int = 1000) -> int:
        """Delete sent rows older than so many seconds, a batch at a time; return how many went."""
        old = or_(OutboxRow.sent_at < db_now(-older_than), beyond(OutboxRow.sent_at))
        ids = (await self._session.scalars(select(OutboxRow.id).where(old).limit(limit))).all()
        if ids:
            await self._session.execute(delete(OutboxRow).where(OutboxRow.id.in_(ids)))
        return len(ids)

    async def depth(self) -> int:
        """Count the unsent rows."""
        query = select(func.count()).select_from(OutboxRow).where(OutboxRow.sent_at.is_(None))
        return (await self._session.scalar(query)) or 0


@lru_cache(maxsize=_AT_ONCE)
def _insertion(count: int) -> Insert:
    """Return one statement for so many rows: given a list of rows, the driver would send them one by one."""
    rows = [
        select(*(bindparam(f"{column.key}_{n}", type_=column.type) for column in _COLUMNS), db_now())
        for n in range(count)
    ]
    return insert(OutboxRow).from_select([*_COLUMNS, OutboxRow.created_at], union_all(*rows))
