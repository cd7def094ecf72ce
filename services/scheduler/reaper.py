"""The one owner of recovery. Every step is a conditional update: any number of reapers may run."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import Counter

from shared.db.stores.job_recovery import RESENT_AT_ONCE
from shared.events.streams import JOBS, STREAMS
from shared.runtime.batches import in_batches
from shared.runtime.leadership import Leadership
from shared.runtime.outcome import outcome
from shared.runtime.piecemeal import is_nobodys_fault
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from prometheus_client import CollectorRegistry

    from shared.bus.port import Bus
    from shared.config.settings import WorkerSettings
    from shared.db.session import Database
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork

_log = structlog.get_logger()
_PURGE = "scheduler:sent-events"
_PURGE_SECONDS = 30.0
_PURGE_LEASE = 300.0
_PURGE_BATCH = 1000
_UNKNOWN_SECONDS = 60.0
UNKNOWN_AFTER = 600.0
"""So long a job of a type that this version does not know is left to a newer version's processes."""
_TOLD = 1000


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
        self._told: deque[str] = deque(maxlen=_TOLD)

    def tasks(self) -> tuple[Periodic, ...]:
        """Look every few seconds; after trouble wait a whole lease, so that live workers beat first."""
        settings = self._settings
        return (
            Periodic("reaper", lambda _stopping: self.tick(), every=settings.reap_every, after_trouble=settings.lease),
            Periodic("unknown-jobs", self.end_unknown, every=_UNKNOWN_SECONDS),
            Periodic("sent-events", self.purge, every=_PURGE_SECONDS, lead=Leadership(self._db, _PURGE, _PURGE_LEASE)),
        )

    async def purge(self, stopping: asyncio.Event) -> int:
        """Forget the events that were published long enough ago, all of them, in batches; return how many went."""

        async def purge() -> int:
            return await self._db.run(lambda tx: tx.outbox.purge(older_than=self._sent_kept, limit=_PURGE_BATCH))

        return await in_batches(purge, stopping, full=_PURGE_BATCH)

    async def tick(self) -> None:
        """Recover what is lost now."""
        await self._recover_orphans()
        if missing := await self._bus.ensure_streams(STREAMS):
            _log.warning("streams_created", streams=missing)
        await self._resend_lost()

    async def end_unknown(self, stopping: asyncio.Event) -> int:
        """End the jobs that a newer version made, if none of its processes took them in all that time."""

        async def end() -> int:
            if failed := await self._db.run(lambda tx: tx.jobs.fail_unknown(after=UNKNOWN_AFTER)):
                _log.error("jobs_of_unknown_type", jobs=[str(job_id) for job_id in failed])
            return len(failed)

        return await in_batches(end, stopping)

    async def _recover_orphans(self) -> None:
        orphans = await self._db.run(lambda tx: tx.jobs.orphans(), retry_for=0)
        for job in orphans:
            await self._alone(str(job.id), self._recover(job))

    async def _recover(self, job: Job) -> None:
        if await self._db.run(lambda tx: tx.jobs.recover(job, lease=self._settings.lease)):
            _log.warning("job_recovered", job=str(job.id), title=job.title, attempt=job.attempt)
            self._recovered.labels("lease_expired").inc()

    async def _alone(self, of: str, work: Coroutine[Any, Any, None]) -> None:
        """Do what concerns one thing: an error that is its own stops no other, and is told once."""
        error = await outcome(work)
        if error is None:
            return
        if is_nobodys_fault(error):
            raise error
        if of not in self._told:
            _log.error("recovery_failed", of=of, exc_info=error)
            self._told.append(of)

    async def _resend(self, subject: str, tx: UnitOfWork) -> int:
        return await tx.jobs.resend_silent(subject, older_than=self._settings.lost_after)

    async def _resend_lost(self) -> None:
        """Compare, per subject, the queued rows with the messages the stream holds."""
        expected = await self._db.run(lambda tx: tx.jobs.queued_per_subject(), retry_for=0)
        for subject, count in expected.items():
            await self._alone(subject, self._resend_missing(subject, count))

    async def _resend_missing(self, subject: str, count: int) -> None:
        if await self._bus.count(JOBS, subject) >= count:
            return
        sent, batch = 0, RESENT_AT_ONCE
        while batch == RESENT_AT_ONCE and sent < count:
            batch = await self._db.run(partial(self._resend, subject))
            sent += batch
        if sent:
            _log.warning("messages_sent_anew", subject=subject, jobs=sent)
            self._recovered.labels("message_lost").inc(sent)
