"""A server's history: from the coarsest table that is fine enough, summed up by the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, or_, select

from services.api.features.servers.statistics_schemas import Point, Range
from shared.db.clock import read_now
from shared.db.tables.stats import ServerRollup, ServerStats, weighted
from shared.domain.messages.servers import BAD_SPAN, STEP_TOO_SMALL
from shared.errors import Invalid

if TYPE_CHECKING:
    import uuid

    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncSession

FIVE_MINUTES, HOUR, DAY = 300, 3600, 86_400
_POINTS = 500
_MOST_POINTS = 5000
_RAW_REACHES = timedelta(hours=47)
_FIVE_MINUTES_REACH = timedelta(days=13)
_FIGURES = {
    "cpu": "cpu_usage_percent",
    "memory": "memory_percent",
    "swap": "swap_percent",
    "disk": "disk_percent",
    "load": "load_per_core",
    "received": "network_received_rate",
    "sent": "network_sent_rate",
}


def chosen_step(start: datetime, end: datetime, step: int | None) -> int:
    """Return the seconds of a point: the wish, or what makes about 500 points of the span; Invalid if too many."""
    span = (end - start).total_seconds()
    if span <= 0:
        raise Invalid(BAD_SPAN())
    if step is None:
        wide = max(60, int(span / _POINTS))
        return next((nice for nice in (60, FIVE_MINUTES, 900, HOUR, 6 * HOUR) if nice >= wide), DAY)
    if span / step > _MOST_POINTS:
        raise Invalid(STEP_TOO_SMALL(step=step, most=_MOST_POINTS))
    return step


async def history(
    session: AsyncSession, server_id: uuid.UUID, start: datetime, end: datetime, step: int
) -> tuple[int, list[Point]]:
    """Return the step that could be had, in seconds, and its points."""
    now = await read_now(session)
    if step < FIVE_MINUTES and start >= now - _RAW_REACHES:
        return step, await _raw(session, server_id, start, end, step)
    fine = start >= now - _FIVE_MINUTES_REACH
    source = FIVE_MINUTES if fine and step < HOUR else HOUR if step < DAY else DAY
    step = max(step // source * source, source)
    begin = int(start.timestamp()) // source * source
    there = and_(ServerRollup.step == source, ServerRollup.bucket >= begin)
    if source == DAY:  # what is no whole day yet stands in its hours
        last = await session.scalar(select(func.max(ServerRollup.bucket)).where(ServerRollup.step == DAY))
        rest = max(begin, -DAY if last is None else last + DAY)
        there = or_(there, and_(ServerRollup.step == HOUR, ServerRollup.bucket >= rest))
    rows = await session.execute(_rolled(server_id, there, int(end.timestamp()), step))
    return step, [_point(row) for row in rows]


def _rolled(server_id: uuid.UUID, there: ColumnElement[bool], end: int, step: int) -> Select[*tuple[Any, ...]]:
    at = (ServerRollup.bucket // step * step).label("at")
    columns: list[Any] = []
    for name in _FIGURES:
        least, mean, most = (getattr(ServerRollup, f"{name}_{kind}") for kind in ("min", "mean", "max"))
        columns += [func.min(least), weighted(mean), func.max(most)]
    query = select(at, func.sum(ServerRollup.samples), *columns)
    return query.where(ServerRollup.server_id == server_id, there, ServerRollup.bucket <= end).group_by(at).order_by(at)


async def _raw(session: AsyncSession, server_id: uuid.UUID, start: datetime, end: datetime, step: int) -> list[Point]:
    figures = [getattr(ServerStats, column) for column in _FIGURES.values()]
    query = select(ServerStats.collected_at, *figures).where(
        ServerStats.server_id == server_id, ServerStats.collected_at.between(start, end)
    )
    steps: dict[int, list[Any]] = {}
    for row in await session.execute(query.order_by(ServerStats.collected_at)):
        steps.setdefault(int(row[0].timestamp()) // step * step, []).append(row[1:])
    return [_point((at, len(rows), *_least_mean_most(rows))) for at, rows in steps.items()]


def _least_mean_most(rows: list[Any]) -> list[float | None]:
    flat: list[float | None] = []
    for values in zip(*rows, strict=True):
        known = [value for value in values if value is not None]
        flat += [min(known), sum(known) / len(known), max(known)] if known else [None, None, None]
    return flat


def _point(row: Any) -> Point:
    at, samples, *values = row
    ranges = {
        name: Range(min=values[3 * n], mean=_rounded(values[3 * n + 1]), max=values[3 * n + 2])
        for n, name in enumerate(_FIGURES)
    }
    return Point.model_validate({"at": datetime.fromtimestamp(int(at), UTC), "samples": int(samples)} | ranges)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 2)
