"""Marks of commits: by its mark a transaction is known whose COMMIT got no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Uuid, bindparam, insert, select, update

from shared.db.tables.base import db_now
from shared.db.tables.kernel import CommitMark, OutboxRow

if TYPE_CHECKING:
    import uuid

    from sqlalchemy.ext.asyncio import AsyncSession


class Marks:
    """The marks of one transaction. A slot is used by one call at a time, over and over: the table does not grow."""

    def __init__(self, session: AsyncSession) -> None:
        """Bind to a session."""
        self._session = session

    async def set(self, slot: uuid.UUID, mark: uuid.UUID) -> None:
        """Leave a mark that is there if, and only if, this transaction is committed."""
        connection = await self._session.connection()
        changed = await connection.execute(_CHANGE, {"of": slot, "left": mark})
        if changed.rowcount == 0:
            await connection.execute(_INSERT, {"id": slot, "mark": mark})

    async def is_committed(self, slot: uuid.UUID, mark: uuid.UUID, event: uuid.UUID | None) -> bool:
        """Tell whether a transaction left its mark, or its event; waits for one that is being committed yet."""
        if event is not None:
            query = select(OutboxRow.id).where(OutboxRow.id == event)
            return await self._session.scalar(query.with_for_update()) is not None
        left = select(CommitMark.mark).where(CommitMark.id == slot)
        return await self._session.scalar(left.with_for_update()) == mark


# Built once: each transaction that writes uses one of them.
_CHANGE = (
    update(CommitMark)
    .where(CommitMark.id == bindparam("of", type_=Uuid()))
    .values(mark=bindparam("left", type_=Uuid()), at=db_now())
)
_INSERT = insert(CommitMark).values(at=db_now())
