"""Reads: keyset pages, never OFFSET, so that the last page costs what the first does."""

from __future__ import annotations

import base64
import binascii
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Select, and_, func, literal, or_, select

from services.api.kernel.merge import only_newest
from services.api.kernel.schemas import Page
from shared.domain.messages.requests import BAD_CURSOR, BAD_CURSOR_FILTERS, NOT_FOUND_NOUN
from shared.domain.values import check_clean, check_moment
from shared.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import InstrumentedAttribute
    from starlette.responses import Response

    from services.api.kernel.dependencies import Bounds

T = TypeVar("T")
COUNTED = 10_000
"""Rows that are counted at most."""
MOST = 1000
"""Rows of a list that has no pages."""
INCOMPLETE = "Borgfleet-Incomplete"
"""The header of an answer that is not the whole list; what it holds is for people."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The rows of one page, and where the next one begins."""

    rows: Sequence[Any]
    next: str | None
    total: int | None = None
    """How many there are on all pages, if that was asked for: up to so many as are counted."""
    more: bool | None = None
    """There are more than were counted."""

    def page(self, items: list[T]) -> Page[T]:
        """Return the page of these rows as they are shown."""
        return Page(items=items, next=self.next, total=self.total, more=self.more)


async def by_text(
    session: AsyncSession, query: Select[*tuple[Any, ...]], column: InstrumentedAttribute[str], bounds: Bounds
) -> Cut:
    """Return rows ordered by a unique text column, and the cursor of the next page."""
    page = query
    if bounds.after is not None:
        page = query.where(column > _decoded(bounds))
    rows = (await session.execute(page.order_by(column).limit(bounds.limit + 1))).all()
    return await _cut(session, query, rows, bounds, lambda row: getattr(row[0], column.key))


async def newest_first(
    session: AsyncSession,
    query: Select[*tuple[Any, ...]],
    keys: tuple[InstrumentedAttribute[datetime], InstrumentedAttribute[uuid.UUID]],
    bounds: Bounds,
    *,
    few: bool = False,
) -> Cut:
    """Return rows from new to old by (time, id), and the cursor of the next page.

    `few`: an index finds the few rows that are asked for, so that those of some servers are picked out of them.
    """
    at, identity = keys
    page = query
    if bounds.after is not None:
        before, last = _time_and_id(_decoded(bounds))
        page = query.where(or_(at < before, and_(at == before, identity < last)))
    if not few:
        page = await only_newest(session, page, at, identity, bounds.limit + 1)
    rows = (await session.execute(page.order_by(at.desc(), identity.desc()).limit(bounds.limit + 1))).all()
    return await _cut(
        session, query, rows, bounds, lambda row: f"{getattr(row[0], at.key).isoformat()}|{row[0].id.hex}"
    )


def told(response: Response, rows: Sequence[T], most: int) -> Sequence[T]:
    """Return no more than so many rows of a list that has no pages; if there are more, a header says so."""
    if len(rows) > most:
        response.headers[INCOMPLETE] = f"only the first {most}"
    return rows[:most]


def require(row: T | None, what: str) -> T:
    """Return a row, or NotFound."""
    if row is None:
        raise NotFound(NOT_FOUND_NOUN(noun=what))
    return row


async def _cut(
    session: AsyncSession,
    query: Select[*tuple[Any, ...]],
    rows: Sequence[Any],
    bounds: Bounds,
    key: Callable[[Any], str],
) -> Cut:
    total, more = await _counted(session, query) if bounds.count else (None, None)
    if len(rows) <= bounds.limit:
        return Cut(rows, None, total, more)
    kept = rows[: bounds.limit]
    following = base64.urlsafe_b64encode(f"{bounds.filters}|{key(kept[-1])}".encode()).decode()
    bounds.tell_next(following)
    return Cut(kept, following, total, more)


async def _counted(session: AsyncSession, query: Select[*tuple[Any, ...]]) -> tuple[int, bool]:
    """Count the rows of all pages, up to a bound: a whole count of a million rows takes a tenth of a second."""
    bounded = (
        query.with_only_columns(literal(1), maintain_column_froms=True).order_by(None).limit(COUNTED + 1).subquery()
    )
    count = await session.scalar(select(func.count()).select_from(bounded)) or 0
    return min(count, COUNTED), count > COUNTED


def _decoded(bounds: Bounds) -> str:
    """Return where a page begins; a cursor of a list with other filters would leave rows out without a word."""
    try:
        text = check_clean(base64.b64decode(bounds.after or "", altchars=b"-_", validate=True).decode())
    except (binascii.Error, ValueError) as error:
        raise Invalid(BAD_CURSOR()) from error
    filters, found, value = text.partition("|")
    if not found:
        raise Invalid(BAD_CURSOR())
    if filters != bounds.filters:
        raise Invalid(BAD_CURSOR_FILTERS())
    return value


def _time_and_id(text: str) -> tuple[datetime, uuid.UUID]:
    try:
        at, identity = text.split("|")
        return check_moment(datetime.fromisoformat(at)), uuid.UUID(identity)
    except ValueError as error:
        raise Invalid(BAD_CURSOR()) from error
