"""The newest rows of each of many backup jobs, read by index: the cost does not grow with what was ever backed up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, Uuid, bindparam, literal_column, select, union_all

from shared.db.tables.base import UtcDateTime

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, CompoundSelect, Select
    from sqlalchemy.ext.asyncio import AsyncSession

_AT_ONCE = 50
"""Backup jobs in one statement; SQLite allows 500 parts."""
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class Latest:
    """Of each backup job so many of the newest rows that meet a condition; made once, since building it costs."""

    key: Any
    at: Any
    columns: Sequence[Any]
    condition: ColumnElement[bool]
    count: int
    statements: dict[int, CompoundSelect[*tuple[Any, ...]]] = field(default_factory=dict[int, Any])

    async def of(
        self, session: AsyncSession, keys: Sequence[uuid.UUID], *, since: Mapping[uuid.UUID, datetime] | None = None
    ) -> dict[uuid.UUID, list[Row[*tuple[Any, ...]]]]:
        """Return the rows by backup job, newest first; of some only those after a time.

        No window over the table: each job's part goes down the index (job, time) until it has enough.
        """
        found: dict[uuid.UUID, list[Row[*tuple[Any, ...]]]] = defaultdict(list)
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            given: dict[str, Any] = {f"key_{n}": key for n, key in enumerate(some)}
            given |= {f"since_{n}": since.get(key, _EVER) if since else _EVER for n, key in enumerate(some)}
            for row in await session.execute(self.statement(len(some)), given):
                found[some[row.part]].append(row)
        for rows in found.values():
            rows.sort(key=lambda row: row.at, reverse=True)
        return found

    def statement(self, parts: int) -> CompoundSelect[*tuple[Any, ...]]:
        """Return the statement for so many backup jobs."""
        if parts not in self.statements:
            self.statements[parts] = union_all(*(self._part(n) for n in range(parts)))
        return self.statements[parts]

    def _part(self, number: int) -> Select[*tuple[Any, ...]]:
        mine = self.key == bindparam(f"key_{number}", type_=Uuid())
        later = self.at > bindparam(f"since_{number}", type_=UtcDateTime())
        wanted: list[Any] = [literal_column(str(number)).label("part"), self.at.label("at"), *self.columns]
        rows: Select[*tuple[Any, ...]] = select(*wanted)
        newest = rows.where(mine, later, self.condition).order_by(self.at.desc()).limit(self.count)
        return select(newest.subquery())
