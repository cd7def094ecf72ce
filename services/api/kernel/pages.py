"""Reads: keyset pages, never OFFSET, so that the last page costs what the first does."""

from __future__ import annotations

import base64
import binascii
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Select, and_, or_

from shared.domain.values import check_clean, check_moment
from shared.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import InstrumentedAttribute
    from starlette.responses import Response

    from services.api.kernel.dependencies import Bounds

T = TypeVar("T")
MOST = 1000
"""Rows of a list that has no pages."""
INCOMPLETE = "Borgfleet-Incomplete"
"""The header of an answer that is not the whole list; what it holds is for people."""


async def by_text(
    session: AsyncSession, query: Select[*tuple[Any, ...]], column: InstrumentedAttribute[str], bounds: Bounds
) -> tuple[Sequence[Any], str | None]:
    """Return rows ordered by a unique text column, and the cursor of the next page."""
    if bounds.after is not None:
        query = query.where(column > _decoded(bounds.after))
    rows = (await session.execute(query.order_by(column).limit(bounds.limit + 1))).all()
    return _cut(rows, bounds.limit, lambda row: getattr(row[0], column.key))


async def newest_first(
    session: AsyncSession,
    query: Select[*tuple[Any, ...]],
    keys: tuple[InstrumentedAttribute[datetime], InstrumentedAttribute[uuid.UUID]],
    bounds: Bounds,
) -> tuple[Sequence[Any], str | None]:
    """Return rows from new to old by (time, id), and the cursor of the next page."""
    at, identity = keys
    if bounds.after is not None:
        before, last = _time_and_id(_decoded(bounds.after))
        query = query.where(or_(at < before, and_(at == before, identity < last)))
    rows = (await session.execute(query.order_by(at.desc(), identity.desc()).limit(bounds.limit + 1))).all()
    return _cut(rows, bounds.limit, lambda row: f"{getattr(row[0], at.key).isoformat()}|{row[0].id.hex}")


def told(response: Response, rows: Sequence[T], most: int) -> Sequence[T]:
    """Return no more than so many rows of a list that has no pages; if there are more, a header says so."""
    if len(rows) > most:
        response.headers[INCOMPLETE] = f"only the first {most}"
    return rows[:most]


def found(row: T | None, what: str) -> T:
    """Return a row, or NotFound."""
    if row is None:
        message = f"there is no such {what}"
        raise NotFound(message, remedy="list what there is and choose one of its ids")
    return row


def _cut(rows: Sequence[Any], limit: int, key: Callable[[Any], str]) -> tuple[Sequence[Any], str | None]:
    if len(rows) <= limit:
        return rows, None
    kept = rows[:limit]
    return kept, base64.urlsafe_b64encode(key(kept[-1]).encode()).decode()


def _decoded(cursor: str) -> str:
    try:
        return check_clean(base64.b64decode(cursor, altchars=b"-_", validate=True).decode())
    except (binascii.Error, ValueError) as error:
        raise _bad_cursor() from error


def _time_and_id(text: str) -> tuple[datetime, uuid.UUID]:
    try:
        at, identity = text.split("|")
        return check_moment(datetime.fromisoformat(at)), uuid.UUID(identity)
    except ValueError as error:
        raise _bad_cursor() from error


def _bad_cursor() -> Invalid:
    return Invalid("`after` is not a cursor of ours", code="bad_cursor", remedy="use `next` of the page before")
