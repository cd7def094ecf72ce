"""What a handler has in hand: its claim, its transaction, its progress, its log."""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from shared.db.stores.requests import requested_before
from shared.db.tables.job import Job
from shared.domain.asked import Asked
from shared.domain.job import JobState
from shared.domain.message import plain
from shared.domain.messages.jobs import JOB_UNKNOWN, NOT_CLAIMED, NOT_DUE, WAITING
from shared.domain.text import clean
from shared.errors import LeaseLost, Permanent, Transient, Waiting
from shared.runtime.outcome import outcome
from shared.runtime.progress import ProgressReporter
from shared.runtime.storable import cleaned, storable

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable, Sequence

    from shared.bus.port import Bus
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.message import Said
    from shared.errors import AppError

T = TypeVar("T")
LOG_LINES = 2000
_log = structlog.get_logger()
_LINE = 10_000
_WAIT_SECONDS = 1.0
_WAIT_CAP = 15.0


class Abort(Enum):
    """Why a running handler is being stopped."""

    CANCELLED = "cancelled"
    LEASE_LOST = "lease_lost"
    SHUTDOWN = "shutdown"


class Context:
    """One delivery's run. Everything it writes is fenced by its lease."""

    def __init__(self, db: Database, bus: Bus, *, key: str, lease_seconds: float, failures: int = 0) -> None:
        """Prepare a run; `key` names the message for ever, the lease is fresh."""
        self.failures = failures
        """How often this message failed before, of an error that nobody foresaw, with no job claimed to count it."""
        self.job_id: uuid.UUID | None = None
        """What the message speaks of, claimed or not."""
        self.heart_failed: BaseException | None = None
        """Why the lease could not be renewed, if the run was stopped for that."""
        self._held_at = time.monotonic()
        self._db = db
        self._bus = bus
        self._key = key
        self.lease = secrets.token_hex(16)
        self.lease_seconds = lease_seconds
        self.job: Job | None = None
        self.abort: Abort | None = None
        self.finished = False
        self._held: dict[str, tuple[int, Callable[[int], None]]] = {}
        self._lines: list[tuple[datetime, str, str, str, str]] = []
        self._logged = 0
        self._stored = 0
        self._progress: ProgressReporter | None = None
        self._warned: list[Said | str] = []

    @property
    def key(self) -> str:
        """The message's own key: makes what an outside request asks for exactly once."""
        return self._key

    @property
    def correlation_id(self) -> uuid.UUID:
        """What ties together all that one request caused."""
        return self._claimed().correlation_id

    @property
    def db(self) -> Database:
        """The database, for reads and unfenced writes."""
        return self._db

    async def run(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Run one transaction, again as a whole where that can help."""
        return await self._db.run(work)

    async def claim(self, job_id: uuid.UUID) -> Job | None:
        """Take the job; None if it is done, cancelled or held by a live worker; Waiting if it is not due yet.

        Permanent, with the job taken, if what was asked for makes no sense: so it ends, and says why.
        """
        await self._db.run(partial(self._take, job_id), repeatable=True)  # its lease tells that it is ours
        if self.job is None:
            await self._db.run(lambda tx: self._why_not(tx, job_id))
            return None
        self._progress = ProgressReporter(self._bus, self.job.id, self.job.correlation_id)
        self._stored = self.job.log_seq
        Asked.of(self.job.params)
        return self.job

    async def _take(self, job_id: uuid.UUID, tx: UnitOfWork) -> None:
        # Noted within the transaction: a run that is cancelled just after its commit must know what it holds.
        self._held_at = time.monotonic()
        self.job = await tx.jobs.claim(job_id, lease=self.lease, seconds=self.lease_seconds)

    def lease_left(self) -> float:
        """Return for how many seconds more the job is surely ours, by our own clock; 0 or less: no longer."""
        if self.job is None or self.finished:
            return self.lease_seconds
        return self._held_at + self.lease_seconds - time.monotonic()

    async def requested(self) -> bool:
        """Tell whether a job was made for this very message."""
        return await self._db.run(lambda tx: requested_before(tx, self._key))

    async def hold(self, name: str, label: str, *, on_beat: Callable[[int], None]) -> int:
        """Take a lease that lives as long as this run; Waiting, for people to see, while another holds it."""
        await self._db.run(partial(self._acquire, name, on_beat))
        if name not in self._held:
            raise Waiting(WAITING(what=label), waiting_for=label, retry_after=self._ask_again_in())
        return self._held[name][0]

    async def _acquire(self, name: str, on_beat: Callable[[int], None], tx: UnitOfWork) -> None:
        epoch = await tx.leases.acquire(name, self.lease, self.lease_seconds, gently=True)
        if epoch is not None:
            await tx.jobs.begun(self._claimed(), lease=self.lease)
            self._held[name] = epoch, on_beat

    async def let_go(self, name: str) -> None:
        """Give one lease back before the run's end."""
        self._held.pop(name, None)  # first: a beat that meets it given back must not take it for lost
        await self._db.run(lambda tx: tx.leases.release(name, self.lease))

    def _ask_again_in(self) -> float:
        """Ask again each second at first, more rarely the longer it took: many may wait for one thing."""
        waited = (datetime.now(UTC) - self._claimed().created_at).total_seconds()
        return max(_WAIT_SECONDS, min(_WAIT_CAP, waited / 10))

    async def finish(
        self,
        tx: UnitOfWork,
        state: JobState,
        *,
        error: AppError | None = None,
        warnings: Sequence[Said | str] = (),
        result: dict[str, Any] | None = None,
    ) -> bool:
        """End the job in this transaction; False if an earlier try of the same commit already did."""
        job = self._claimed()
        told = {one.text: one for one in (_as_said(one) for one in (*warnings, *self._warned))}
        if self._warned and state is JobState.SUCCEEDED:
            state = JobState.WARNING
        progress = self._progress.as_row() if self._progress else None
        fresh = await tx.jobs.finish(
            job,
            lease=self.lease,
            state=state,
            error=cleaned(error),
            warnings=list(told.values()),
            result=storable(result),
            progress=progress,
        )
        if fresh:
            await self._write_lines(tx)
            await self.release(tx)
        self.finished = True
        return fresh

    async def put_back(self, tx: UnitOfWork, *, delay: float, error: AppError | None, failed: bool) -> bool:
        """Return the job to the queue in this transaction; True if its message has done its work."""
        waiting_for = clean(error.waiting_for or error.code, 200) if isinstance(error, Waiting) else None
        done = await tx.jobs.put_back(
            self._claimed(),
            lease=self.lease,
            delay=delay,
            error=None if waiting_for else cleaned(error),
            waiting_for=waiting_for,
            failed=failed,
        )
        await self._write_lines(tx)
        await self.release(tx)
        return done

    async def leave(self) -> bool:
        """Leave a job that another run has; False if it needs this run's message, for it is queued."""
        job_id = self.job.id if self.job else self.job_id
        return job_id is None or await self._db.run(lambda tx: tx.jobs.leave(job_id))

    async def fence(self, tx: UnitOfWork) -> None:
        """Make sure, for a write that is not on the job's own row, that the job is still ours; LeaseLost if not."""
        await tx.jobs.hold(self._claimed().id, lease=self.lease)

    async def release(self, tx: UnitOfWork) -> None:
        """Give back every lease this run holds."""
        for name in self._held:
            await tx.leases.release(name, self.lease)

    def progress(self, phase: str, **figures: Any) -> None:
        """Say how far the run is."""
        if self._progress:
            self._progress(clean(phase, 100), **storable(figures))

    def log(self, level: str, source: str, message: str, *, code: str = "") -> None:
        """Add a line to the job's log; the log is bounded, and says how much it left out."""
        self._logged += 1
        if self._logged <= LOG_LINES:
            # Cleaned here, where every line passes: one that cannot be stored would end the heartbeat, or the run.
            line = clean(level, 10), clean(source, 20), clean(code, 60), clean(message, _LINE)
            self._lines.append((datetime.now(UTC), *line))
        elif self._logged == LOG_LINES + 1:
            text = f"this log is full: only its first {LOG_LINES} lines are kept"
            self._lines.append((datetime.now(UTC), "warning", "kernel", "log_full", text))

    def warn(self, code: str, reason: Said | str) -> None:
        """Let the run end with a warning at least, and say why; the same reason is said once."""
        if reason not in self._warned:
            self._warned.append(reason)
            self.log("error", "kernel", _as_said(reason).text, code=code)

    async def tick(self) -> bool:
        """Publish progress, store new log lines; return whether the run is to be cancelled."""
        job = self._claimed()
        if self._progress:
            await self._progress.flush()
        await self._store_lines()
        return await self._db.run(lambda tx: tx.jobs.cancel_requested(job.id), retry_for=0)

    async def beat(self) -> None:
        """Extend the job's lease and every lease held with it; LeaseLost if one is gone."""
        job = self._claimed()
        progress = self._progress.as_row() if self._progress else None

        async def extend(tx: UnitOfWork) -> None:
            await tx.jobs.beat(job.id, lease=self.lease, seconds=self.lease_seconds, progress=progress)
            for name in list(self._held):
                await self._renew(tx, name)

        began = time.monotonic()
        await self._db.run(extend, retry_for=0)
        for epoch, on_beat in list(self._held.values()):
            on_beat(epoch)
        self._held_at = began  # not before: what the lease stands for outside, as a grant's file, has to last as long

    async def _renew(self, tx: UnitOfWork, name: str) -> None:
        try:
            await tx.leases.renew(name, self.lease, self.lease_seconds)
        except LeaseLost:
            if name in self._held:
                raise

    async def _why_not(self, tx: UnitOfWork, job_id: uuid.UUID) -> None:
        """Raise if the message has to come again, or makes no sense; return if it has done its work."""
        if not await tx.jobs.leave(job_id):
            remaining = await tx.jobs.seconds_until_due(job_id) or 0.0
            raise Waiting(NOT_DUE(job_id=job_id), retry_after=max(remaining, 0.05))
        if await tx.jobs.get(job_id) is None:
            raise Permanent(JOB_UNKNOWN(job_id=job_id))

    def forget(self) -> None:
        """Forget what is to be written beside the job's state: its end must be written even if that cannot be."""
        self._lines.clear()
        self._progress = None

    async def close(self) -> None:
        """Say the last word on the run's progress."""
        if self._progress:
            await self._progress.end()

    def _claimed(self) -> Job:
        if self.job is None:
            raise Transient(NOT_CLAIMED())
        return self.job

    async def _store_lines(self) -> None:
        count = len(self._lines)
        if not count:
            return
        error = await outcome(self._db.run(self._write_lines, retry_for=0))
        if isinstance(error, (Transient, LeaseLost, asyncio.CancelledError)):
            raise error  # they are kept for the next time
        if error is not None:
            # They would fail again at each beat, and at the run's end: the run is worth more than what it said.
            _log.error("log_lines_lost", job=str(self._claimed().id), lines=count, exc_info=error)
            lost = f"{count} lines of this log could not be stored: {type(error).__name__}; see the service's log"
            self._lines[:count] = [(datetime.now(UTC), "warning", "kernel", "log_lost", lost)]
            return
        self._stored += count
        del self._lines[:count]

    async def _write_lines(self, tx: UnitOfWork) -> None:
        if self._lines:
            await tx.jobs.log(self._claimed(), self._stored + 1, self._lines)


def _as_said(words: Said | str) -> Said:
    """Return a warning as what is said; one that has no entry yet keeps its words."""
    return plain(clean(words, _LINE), code="warning") if isinstance(words, str) else words
