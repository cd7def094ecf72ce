"""Asks for the statistics of all servers every few minutes: one sweep after another, however many schedulers run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from shared.db.stores.requests import request_collect
from shared.db.tables.base import db_now
from shared.db.tables.job import Job
from shared.db.tables.server import Server
from shared.domain.job import TERMINAL
from shared.errors import Conflict
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

_TICK_SECONDS = 5.0
_KEY = "sweep:"
_NUMBERED = re.compile(_KEY + "[0-9]{12}")
_MOST = 10**12 - 1
_LOOKED_AT = 50


def _key(number: int) -> str:
    return f"{_KEY}{number:012}"


class Sweeps:
    """Each sweep has a number, and numbers are unique: that is the fence between schedulers, and no clock is in it."""

    def __init__(self, db: Database, every: float) -> None:
        """Ask every so many seconds; 0 never."""
        self._db = db
        self._every = every

    def task(self) -> Periodic:
        """Look every few seconds whether the next sweep is due."""
        every = min(_TICK_SECONDS, self._every or _TICK_SECONDS)
        return Periodic("sweeps", lambda _stopping: self.tick(), every=every)

    async def tick(self) -> None:
        """Ask for the next sweep if it is due, unless another scheduler does."""
        if not self._every:
            return
        try:
            await self._db.run(self._ask)
        except Conflict:
            return  # another scheduler was first

    async def _ask(self, tx: UnitOfWork) -> None:
        query = select(Job.request_key, Job.state, Job.created_at, db_now()).where(
            Job.request_key.between(_key(0), _key(_MOST)), func.length(Job.request_key) == len(_key(0))
        )
        rows = await tx.session.execute(query.order_by(Job.request_key.desc()).limit(_LOOKED_AT))
        # A key that is none of ours, whoever asked for a job with it, is stepped over.
        last = next((row for row in rows if _NUMBERED.fullmatch(row[0] or "")), None)
        number = 1
        if last is not None:
            key, state, created_at, now = last
            elapsed = (now - created_at).total_seconds()
            # A clock that was set back must not silence us until it has caught up.
            if state not in TERMINAL or 0 <= elapsed < self._every:
                return
            number = int(str(key).removeprefix(_KEY)) + 1
        if await tx.session.scalar(select(func.count()).select_from(Server).where(Server.host_key.is_not(None))):
            await request_collect(tx, None, request_key=_key(number))
