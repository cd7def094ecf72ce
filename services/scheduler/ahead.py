"""Brings schedules back that a clock that was ahead moved on: else nothing of them runs until it has caught up."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select, update

from services.scheduler.schedules import waiting_of
from services.scheduler.targets import key_of, targets_of
from shared.db.tables.base import db_now
from shared.db.tables.schedule import Schedule
from shared.domain.schedule import next_run
from shared.runtime.leadership import Leadership
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence
    from datetime import datetime

    from services.scheduler.targets import Target
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

_log = structlog.get_logger()
_LEASE = "scheduler:ahead"
_LEASE_SECONDS = 120.0
_EVERY_SECONDS = 300.0
_BATCH = 250


class AheadOfTime:
    """Looks now and then for runs that are due later than the next one can be."""

    def __init__(self, db: Database) -> None:
        """Take the database."""
        self._db = db
        self._lead = Leadership(db, _LEASE, _LEASE_SECONDS)

    def task(self) -> Periodic:
        """Look every few minutes, one of all schedulers."""
        return Periodic("schedule-times", self.tick, every=_EVERY_SECONDS, lead=self._lead)

    async def tick(self, _stopping: asyncio.Event) -> int:
        """Let each such schedule be due when it comes due next by the clock of now; return how many there were."""
        far = await self._db.run(_far)
        moved = 0
        for start in range(0, len(far), _BATCH):
            some = far[start : start + _BATCH]
            moved += await self._db.run(lambda tx, some=some: self._bring_back(tx, some))
        if moved:
            _log.warning("schedules_brought_back", schedules=moved)
        return moved

    async def _bring_back(self, tx: UnitOfWork, ids: Sequence[object]) -> int:
        await self._lead.repeat(tx)
        rows = list(await tx.session.scalars(select(Schedule).where(Schedule.id.in_(ids)).with_for_update()))
        now = await tx.session.scalar(select(db_now()))
        found = await targets_of(tx, rows)
        moved = 0
        for row in rows:
            target = found.get(key_of(row))
            following = _following(row, target, now) if target is not None and now is not None else None
            if following is not None and following < row.due_at:
                change = update(Schedule).where(Schedule.id == row.id)
                await tx.session.execute(change.values(due_at=following, next_run_at=following))
                moved += 1
        return moved


def _following(row: Schedule, target: Target, now: datetime) -> datetime | None:
    try:
        waiting = waiting_of(row, target.name(row.task))
        return next_run(waiting.spec, now - waiting.offset) + waiting.offset
    except (ValueError, TypeError, LookupError, ArithmeticError, StopIteration):
        return None  # told when it is due


async def _far(tx: UnitOfWork) -> list[object]:
    """Return the schedules whose next run lies further ahead than two of their runs lie apart."""
    query = select(Schedule.id, Schedule.due_at, Schedule.period_seconds, db_now()).where(Schedule.due_at > db_now())
    rows = await tx.session.execute(query)
    return [row_id for row_id, due_at, period, now in rows if due_at - now > timedelta(seconds=max(period, 0))]
