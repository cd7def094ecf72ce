"""The hours of a scheduled run, by the database's clock: it begins within them and, if so chosen, ends within them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from shared.db.tables.base import db_now
from shared.domain.scheduled import scheduled_of
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context

MISSED = "window_passed"
"""The code of a run that found its window closed."""


@dataclass(frozen=True, slots=True)
class Window:
    """What is left of a run's hours."""

    passed: bool = False
    seconds_left: float | None = None
    """None: it may last as long as it needs."""

    def refuse_late(self) -> None:
        """Raise Permanent if the run may not begin any more."""
        if self.passed:
            message = "its window ended before it could begin"
            remedy = "see what it waited for: another run, a limit, or a server that was down; or widen the window"
            raise Permanent(message, code=MISSED, remedy=remedy)


async def window_of(tx: UnitOfWork, job: Job) -> Window:
    """Return what is left of a run's hours; a run that keeps none, or that was asked for by hand, has all the time."""
    scheduled = scheduled_of(job.params)
    if scheduled is None or scheduled.begin_by is None:
        return Window()
    now = (await tx.session.execute(select(db_now()))).scalar_one()
    left = (scheduled.begin_by - now).total_seconds()
    return Window(left <= 0, max(1.0, left) if scheduled.stop else None)


@contextlib.asynccontextmanager
async def in_its_window(ctx: Context, job: Job) -> AsyncGenerator[None]:
    """Refuse what comes too late, and stop at the window's end what has to end with it."""
    window = await ctx.run(lambda tx: window_of(tx, job))
    window.refuse_late()
    limit = asyncio.timeout(window.seconds_left)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():  # somebody else's limit within the run
            raise
        message = "it was stopped at the end of its window"
        raise Permanent(message, code="time_limit", remedy="widen the window, or let it end when it is done") from error
