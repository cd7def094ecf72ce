"""The one owner of recovery. Every step is a conditional update: any number of reapers may run."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter

from shared.db.repositories.jobs import RESENT_AT_ONCE
from shared.errors import Transient
from shared.events.streams import JOBS, STREAMS
from shared.runtime.pause import pause

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from shared.bus.port import Bus
    from shared.config.settings import WorkerSettings
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

_log = structlog.get_logger()
_PURGE_TICKS = 100


def recovered_counter(registry: CollectorRegistry) -> Counter:
    """Register the reaper's own metric."""
    return Counter("borgfleet_recovered_jobs_total", "Jobs recovered, by reason.", ["reason"], registry=registry)


class Reaper:
    """Re-queues running jobs whose lease ran out, and sends queued jobs anew whose message is gone."""

    def __init__(
        self, db: Database, bus: Bus, settings: WorkerSettings, registry: CollectorRegistry, sent_kept: float = 3600.0
    ) -> None:
        """Take what it looks after, and for how many seconds events are kept that were published."""
        self._sent_kept = sent_kept
        self._db = db
        self._bus = bus
        self._settings = settings
        self._recovered = recovered_counter(registry)

    async def run(self, stopping: asyncio.Event) -> None:
        """Look every few seconds; after trouble wait a whole lease, so that live workers beat first."""
        tick = 0
        while not stopping.is_set():
            delay = self._settings.reap_every
            try:
                await self.tick()
                if tick % _PURGE_TICKS == 0:
                    await self._db.run(lambda tx: tx.outbox.purge(older_than=self._sent_kept))
                tick += 1
            except Transient as error:
                _log.warning("reaper_stalled", code=error.code, reason=error.message)
                delay = self._settings.lease
            await pause(delay, stopping)

    async def tick(self) -> None:
        """Recover what is lost now."""
        await self._recover_orphans()
        if missing := await self._bus.ensure_streams(STREAMS):
            _log.warning("streams_created", streams=missing)
        await self._resend_lost()

    async def _recover_orphans(self) -> None:
        orphans = await self._db.run(lambda tx: tx.jobs.orphans(), patience=0)
        for job in orphans:
            if await self._db.run(lambda tx, job=job: tx.jobs.recover(job)):
                _log.warning("job_recovered", job=str(job.id), title=job.title, attempt=job.attempt)
                self._recovered.labels("lease_expired").inc()

    async def _resend(self, subject: str, tx: UnitOfWork) -> int:
        return await tx.jobs.resend_silent(subject, older_than=self._settings.lost_after)

    async def _resend_lost(self) -> None:
        """Compare, per subject, the queued rows with the messages the stream holds."""
        queued = await self._db.run(lambda tx: tx.jobs.queued_per_subject(), patience=0)
        for subject, count in queued.items():
            if await self._bus.count(JOBS, subject) >= count:
                continue
            sent, batch = 0, RESENT_AT_ONCE
            while batch == RESENT_AT_ONCE and sent < count:
                batch = await self._db.run(partial(self._resend, subject))
                sent += batch
            if sent:
                _log.warning("messages_sent_anew", subject=subject, jobs=sent)
                self._recovered.labels("message_lost").inc(sent)
