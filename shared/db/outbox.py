"""The outbox: events commit with the change that caused them, and are published afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from shared.db.tables.base import db_now
from shared.db.tables.kernel import OutboxRow

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.events.base import Event

_INSERT = insert(OutboxRow)


class Outbox:
    """Events of one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        """Bind to a session."""
        self._session = session
        self.added: list[OutboxRow] = []

    def add(self, event: Event, *, node: str | None = None) -> None:
        """Add an event; with a node it goes to that node's own subject."""
        subject = f"{event.subject}.{node}" if node else event.subject
        payload = event.model_dump_json()
        row = OutboxRow(id=event.event_id, subject=subject, event_type=event.type_name(), payload=payload)
        self.added.append(row)

    async def write(self) -> None:
        """Insert what was added."""
        if self.added:
            connection = await self._session.connection()
            columns = ("id", "subject", "event_type", "payload")
            await connection.execute(_INSERT, [{name: getattr(row, name) for name in columns} for row in self.added])

    async def unsent(self, limit: int, *, older_than: float = 0.0) -> Sequence[OutboxRow]:
        """Return the oldest unsent rows; never by `id > last`, because commits are not ordered."""
        query = select(OutboxRow).where(OutboxRow.sent_at.is_(None), OutboxRow.created_at <= db_now(-older_than))
        return (await self._session.scalars(query.order_by(OutboxRow.created_at).limit(limit))).all()

    async def mark_sent(self, ids: Sequence[uuid.UUID]) -> None:
        """Record that these were acknowledged by JetStream."""
        await self._session.execute(update(OutboxRow).where(OutboxRow.id.in_(ids)).values(sent_at=db_now()))

    async def purge(self, *, older_than: float, limit: int = 1000) -> int:
        """Delete sent rows older than so many seconds, a batch at a time; return how many went."""
        query = select(OutboxRow.id).where(OutboxRow.sent_at < db_now(-older_than)).limit(limit)
        ids = (await self._session.scalars(query)).all()
        if ids:
            await self._session.execute(delete(OutboxRow).where(OutboxRow.id.in_(ids)))
        return len(ids)

    async def depth(self) -> int:
        """Count the unsent rows."""
        query = select(func.count()).select_from(OutboxRow).where(OutboxRow.sent_at.is_(None))
        return (await self._session.scalar(query)) or 0
