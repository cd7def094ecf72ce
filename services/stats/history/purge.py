"""Keeps samples as long as they are worth it: raw 48 h, five minutes 14 days, hours and days two years; or as set."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, literal, select

from shared.db.tables.base import db_now, or_ignore
from shared.db.tables.stats import ServerMount, ServerRollup, ServerStats, weighted
from shared.runtime.batches import in_batches
from shared.runtime.leadership import Leadership
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import InstrumentedAttribute

    from shared.config.settings import KeepSettings
    from shared.db.session import Database
    from shared.db.tables.base import Base
    from shared.db.unit_of_work import UnitOfWork

LEASE = "stats:housekeeping"
EVERY = 60.0
_LEASE_SECONDS = 120.0
FIVE_MINUTES, HOUR, DAY = 300, 3600, 86_400
_LATE = 120
"""A bucket is rolled up this long after its end: a sample under way still finds its place."""
_BATCH = 1000
FIGURES = {
    "cpu": ServerStats.cpu_usage_percent,
    "memory": ServerStats.memory_percent,
    "swap": ServerStats.swap_percent,
    "disk": ServerStats.disk_percent,
    "load": ServerStats.load_per_core,
    "received": ServerStats.network_received_rate,
    "sent": ServerStats.network_sent_rate,
}


class StatsKeeper:
    """Rolls up and purges; one of all replicas at a time."""

    def __init__(self, db: Database, keep: KeepSettings) -> None:
        """Take the database, and how long samples are kept."""
        self._db = db
        self._keep = keep
        self._lead = Leadership(db, LEASE, _LEASE_SECONDS)

    def task(self) -> Periodic:
        """Work each minute, one of all replicas."""
        return Periodic("keeper", self._tick_now, every=EVERY, lead=self._lead)

    async def _tick_now(self, stopping: asyncio.Event) -> None:
        now = await self._db.run(lambda tx: tx.session.scalar(select(db_now())))
        if now is not None:
            await self.tick(now.timestamp(), stopping)

    async def tick(self, now: float, stopping: asyncio.Event | None = None) -> None:
        """Roll up what is complete at `now` (seconds since 1970), a bit at a time, and delete what is too old."""
        stopping = stopping or asyncio.Event()
        to_hours = partial(roll_up_buckets, finer=FIVE_MINUTES, coarser=HOUR)
        to_days = partial(roll_up_buckets, finer=HOUR, coarser=DAY)
        for roll in (roll_up_samples, to_hours, to_days):
            await in_batches(partial(self._led, partial(roll, now=now)), stopping)
        for table, column, oldest in _kept_since(now, self._keep):
            purge = partial(_purge, table=table, column=column, oldest=oldest)
            await in_batches(partial(self._led, purge), stopping)

    async def _led(self, work: Callable[[UnitOfWork], Awaitable[bool]]) -> bool:
        """Do a piece of work in one transaction, in which we surely lead: it may have taken long to come here."""

        async def led(tx: UnitOfWork) -> bool:
            await self._lead.repeat(tx)
            return await work(tx)

        return await self._db.run(led)


async def roll_up_samples(tx: UnitOfWork, *, now: float) -> bool:
    """Roll up to an hour of samples into five minutes; tell whether there may be more."""
    done = await _done(tx, FIVE_MINUTES, now)
    first = await tx.session.scalar(select(func.min(ServerStats.bucket)).where(ServerStats.bucket > done))
    span = _span(FIVE_MINUTES, first, HOUR, now)
    if span is None:
        return False
    figures = {
        f"{name}_{kind}": function(column)
        for name, column in FIGURES.items()
        for kind, function in (("min", func.min), ("mean", func.avg), ("max", func.max))
    }
    query = select(
        ServerStats.server_id, literal(FIVE_MINUTES), ServerStats.bucket, func.count(), *figures.values()
    ).where(ServerStats.bucket >= span[0], ServerStats.bucket < span[1])
    grouped = query.group_by(ServerStats.server_id, ServerStats.bucket)
    columns = ["server_id", "step", "bucket", "samples", *figures]
    await tx.session.execute(or_ignore(insert(ServerRollup)).from_select(columns, grouped))
    return True


async def roll_up_buckets(tx: UnitOfWork, *, now: float, finer: int, coarser: int) -> bool:
    """Roll up to 24 coarser buckets of finer ones; tell whether there may be more."""
    waiting = ServerRollup.step == finer, ServerRollup.bucket >= await _done(tx, coarser, now) + coarser
    first = await tx.session.scalar(select(func.min(ServerRollup.bucket)).where(*waiting))
    span = _span(coarser, first, 24 * coarser, now)
    if span is None:
        return False
    bucket = ServerRollup.bucket // coarser * coarser
    figures: dict[str, ColumnElement[Any]] = {}
    for name in FIGURES:
        least, mean, most = (getattr(ServerRollup, f"{name}_{kind}") for kind in ("min", "mean", "max"))
        figures |= {f"{name}_min": func.min(least), f"{name}_mean": weighted(mean), f"{name}_max": func.max(most)}
    rolled = select(
        ServerRollup.server_id, literal(coarser), bucket, func.sum(ServerRollup.samples), *figures.values()
    ).where(ServerRollup.step == finer, ServerRollup.bucket >= span[0], ServerRollup.bucket < span[1])
    columns = ["server_id", "step", "bucket", "samples", *figures]
    grouped = rolled.group_by(ServerRollup.server_id, bucket)
    await tx.session.execute(or_ignore(insert(ServerRollup)).from_select(columns, grouped))
    return True


async def _done(tx: UnitOfWork, step: int, now: float) -> int:
    """Return the last bucket of a step that is rolled up; none of the future, which a clock that was ahead made."""
    query = select(func.max(ServerRollup.bucket)).where(ServerRollup.step == step, ServerRollup.bucket <= int(now))
    return await tx.session.scalar(query) or -step


def _span(step: int, first: int | None, length: int, now: float) -> tuple[int, int] | None:
    """Return the complete buckets from the first one on, no more than a length of them."""
    if first is None:
        return None
    start = first // step * step
    end = min(int(now - _LATE) // step * step, start + length)
    return (start, end) if start < end else None


def _kept_since(
    now: float, keep: KeepSettings
) -> list[tuple[type[Base], InstrumentedAttribute[Any], ColumnElement[bool]]]:
    oldest = datetime.fromtimestamp(now - keep.samples_days * DAY, UTC)
    raw = [(table, table.collected_at, table.collected_at < oldest) for table in (ServerStats, ServerMount)]
    rolled = [
        (
            ServerRollup,
            ServerRollup.bucket,
            and_(ServerRollup.step == step, ServerRollup.bucket < int(now - days * DAY)),
        )
        for step, days in ((FIVE_MINUTES, keep.five_minutes_days), (HOUR, keep.hours_days), (DAY, keep.hours_days))
    ]
    return [*raw, *rolled]


async def _purge(
    tx: UnitOfWork, *, table: type[Base], column: InstrumentedAttribute[Any], oldest: ColumnElement[bool]
) -> bool:
    """Delete about a thousand of the oldest rows, in the order of a column; tell whether there was any."""
    batch = select(column.label("at")).where(oldest).order_by(column).limit(_BATCH).subquery()
    until = await tx.session.scalar(select(func.max(batch.c.at)))
    if until is None:
        return False
    await tx.session.execute(delete(table).where(oldest, column <= until))
    return True
