"""Asks for a backup of Borgfleet itself when the last one is a day old, on the node whose pool holds them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from shared.db.clock import read_now
from shared.db.stores.requests import request_self_backup, requested_before
from shared.db.tables.job import Job
from shared.domain.job import TERMINAL, JobState, JobType
from shared.kit.own import chosen_pool
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    from datetime import datetime

    from shared.config.settings import SelfBackupSettings
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

_EVERY_SECONDS = 300.0
_AFTER_TROUBLE = timedelta(hours=1)


class SelfBackupKeeper:
    """Compares now and then; of several processes of the node one asks."""

    def __init__(self, db: Database, node: str, settings: SelfBackupSettings) -> None:
        """Take the node's name, and how often."""
        self._db, self._node, self._settings = db, node, settings

    def task(self) -> Periodic:
        """Compare every five minutes."""
        return Periodic("self-backup", lambda _stopping: self.ask(), every=_EVERY_SECONDS)

    async def ask(self) -> None:
        """Queue a backup if one is due."""
        if self._settings.every_hours:
            await self._db.run(self._queue)

    async def _queue(self, tx: UnitOfWork) -> None:
        pool = await chosen_pool(tx.session, self._settings.pool)
        if pool is None or pool.node != self._node:
            return
        now = await read_now(tx.session)
        if not await self._due(tx, now):
            return
        key = f"self-backup {pool.id.hex} {now:%Y-%m-%dT%H}"  # of two who ask at once, one is refused
        if not await requested_before(tx, key):
            await request_self_backup(tx, pool, request_key=key)

    async def _due(self, tx: UnitOfWork, now: datetime) -> bool:
        query = select(Job.state, Job.finished_at).where(Job.type == JobType.SELF_BACKUP.value)
        last = (await tx.session.execute(query.order_by(Job.created_at.desc()).limit(1))).one_or_none()
        if last is None:
            return True
        state, ended = JobState(last[0]), last[1]
        if state not in TERMINAL or ended is None:
            return False
        good = state in (JobState.SUCCEEDED, JobState.WARNING)
        return bool(ended <= now - (timedelta(hours=self._settings.every_hours) if good else _AFTER_TROUBLE))
