"""Makes the runs that are due: one leader at a time, and if there are two all the same, no run twice.

The leader's lease spares work; the fence is in the write. A due row is locked, judged by the database's clock and moved
on in the transaction that makes its job, and the job's request key names schedule and due time.
"""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import or_, select, update

from services.scheduler.due import Verdict, Waiting, judge
from services.scheduler.targets import key_of, scheduled_as, targets_of, under_way
from shared.db.stores.missed import record_missed
from shared.db.tables.base import db_now
from shared.db.tables.job import Job
from shared.db.tables.schedule import Pause, Schedule
from shared.domain.hours import Hours
from shared.domain.importing import is_barred
from shared.domain.messages.importing import REPOSITORY_READ_ONLY
from shared.domain.schedule import SPEC, jitter
from shared.runtime.outcome import outcome
from shared.runtime.piecemeal import is_nobodys_fault, piecemeal
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    import asyncio
    import uuid
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from prometheus_client import CollectorRegistry

    from services.scheduler.targets import Key, Target
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

_log = structlog.get_logger()
LEASE = "scheduler:leader"
_LEASE_SECONDS = 6.0
_TICK_SECONDS = 0.5
_BATCH = 250
_SET_ASIDE = timedelta(hours=1)


def schedule_metrics(registry: CollectorRegistry) -> tuple[Counter, Gauge]:
    """Register the scheduler's own metrics: runs by outcome, and how late it is."""
    runs = Counter("borgfleet_scheduled_runs_total", "Runs made or missed.", ["outcome"], registry=registry)
    lag = Gauge("borgfleet_scheduler_lag_seconds", "How late the run is that is made now; 0: none.", registry=registry)
    return runs, lag


class Schedules:
    """Looks twice a second at what is due."""

    def __init__(self, db: Database, registry: CollectorRegistry) -> None:
        """Take the database; register the scheduler's metrics."""
        self._db = db
        self._name = secrets.token_hex(8)
        self._renew_at = 0.0
        self._runs, self._lag = schedule_metrics(registry)

    def task(self) -> Periodic:
        """Make what is due, while the lease is ours, and let another scheduler lead at once at the end."""
        # Its lease is its own: it is renewed at some rounds alone, since a lease that is written waits for the disk.
        return Periodic("schedules", lambda _stopping: self.tick(), every=_TICK_SECONDS, last_word=self._release)

    async def _release(self, _stopping: asyncio.Event) -> None:
        await self._db.run(lambda tx: tx.leases.release(LEASE, self._name), retry_for=0)

    async def tick(self) -> int:
        """Make everything that is due now, and admit what the limits allow; return how many schedules were due."""
        due, waiting = await self._db.run(self._pending)
        made = await self.make_due() if due else 0
        if made or waiting:
            await self._db.run(lambda tx: tx.admission.admit())
        return made

    async def _pending(self, tx: UnitOfWork) -> tuple[bool, bool]:
        """Tell whether anything is due, and whether anybody waits for a turn: to the leader, and to no one else."""
        now = time.monotonic()
        if now >= self._renew_at:  # not at each tick: a lease that is written is a wait for the disk
            if await tx.leases.acquire(LEASE, self._name, _LEASE_SECONDS) is None:
                return False, False
            self._renew_at = now + _LEASE_SECONDS / 3
        due = await tx.session.scalar(select(Schedule.id).where(Schedule.next_run_at <= db_now()).limit(1))
        return due is not None, await tx.admission.is_awaited()

    async def make_due(self) -> int:
        """Work through what is due, a batch a transaction, whoever leads."""
        total = 0
        while count := await self._some():
            total += count
            if count < _BATCH:
                break
        self._lag.set(0)
        return total

    async def _some(self) -> int:
        """Work through a batch; if it cannot be written whole, through its parts: who is at fault is set aside."""
        counted: list[int] = []

        async def together() -> None:
            counted.append(await self._db.run(self._batch))

        error = await outcome(together())
        if error is None:
            return counted[0]
        if is_nobodys_fault(error):
            raise error
        due = select(Schedule.id).where(Schedule.next_run_at <= db_now()).order_by(Schedule.next_run_at).limit(_BATCH)
        ids = list(await self._db.run(lambda tx: tx.session.scalars(due)))

        async def some(of: Sequence[uuid.UUID]) -> None:
            await self._db.run(lambda tx: self._batch(tx, of))

        await piecemeal(ids, some, self._set_aside)
        return len(ids)

    async def _set_aside(self, schedule_id: uuid.UUID, error: BaseException) -> None:
        _log.error("schedule_set_aside", schedule=str(schedule_id), exc_info=error)
        later = (
            update(Schedule).where(Schedule.id == schedule_id).values(next_run_at=db_now(_SET_ASIDE.total_seconds()))
        )
        await self._db.run(lambda tx: tx.session.execute(later))

    async def _batch(self, tx: UnitOfWork, of: Sequence[uuid.UUID] | None = None) -> int:
        due = select(Schedule).where(Schedule.next_run_at <= db_now()).order_by(Schedule.next_run_at).limit(_BATCH)
        due = due if of is None else due.where(Schedule.id.in_(of))
        rows = (await tx.session.scalars(due.with_for_update(skip_locked=True))).all()
        if not rows:
            return 0
        now = await tx.session.scalar(select(db_now()))
        if now is None:
            return 0
        found = await targets_of(tx, rows)
        paused, busy = await _paused(tx, now), await under_way(tx, list(found))
        runs: list[Job] = []
        moved: defaultdict[tuple[datetime, datetime], list[uuid.UUID]] = defaultdict(list)
        for row in rows:
            if (target := found.get(key_of(row))) is None:  # deleted in this moment, and its schedules with it
                continue
            verdict = _judged(row, target, now, paused=paused, busy=busy)
            if target.enabled and is_barred(target.repository.mode, row.task):
                self._runs.labels(REPOSITORY_READ_ONLY.code).inc()
                _log.warning("run_skipped", name=target.name(row.task), code=REPOSITORY_READ_ONLY.code)
            if verdict.run:
                runs.append(target.run(row, verdict))
                busy.add(key_of(row))
                self._lag.set((now - row.next_run_at).total_seconds())
            elif verdict.missed:
                self._miss(tx, row, target, verdict)
            moved[verdict.due_at, verdict.next_run_at].append(row.id)
        await _move_on(tx, moved)
        made = await _made_before(tx, runs)
        await tx.jobs.enqueue(*(run for run in runs if run.request_key not in made))
        self._runs.labels("made").inc(len(runs) - len(made))
        return len(rows)

    def _miss(self, tx: UnitOfWork, row: Schedule, target: Target, verdict: Verdict) -> None:
        if (said := verdict.missed) is None:
            return
        record_missed(tx, target.run(row, verdict), scheduled_as(row, verdict), code=said.code, said=said)
        self._runs.labels(said.code).inc()
        _log.warning("run_missed", name=target.name(row.task), code=said.code, reason=said.text)


def _judged(row: Schedule, target: Target, now: datetime, *, paused: set[str], busy: set[Key]) -> Verdict:
    barred = is_barred(target.repository.mode, row.task)
    off = not target.enabled or barred or bool(paused & {"", target.server})
    name = target.name(row.task)
    try:
        waiting = waiting_of(row, name)
    except (
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
    ) as error:  # as a zone that is known no longer: one broken row must not stop the others
        _log.error("schedule_unreadable", name=name, reason=str(error)[:500])
        return Verdict(row.due_at, now + _SET_ASIDE)
    return judge(waiting, now, paused=off, busy=key_of(row) in busy)


def waiting_of(row: Schedule, name: str) -> Waiting:
    """Return a schedule's row as the judge wants it."""
    return Waiting(
        spec=SPEC.validate_python(row.spec),
        offset=jitter(name, row.jitter_seconds),
        due_at=row.due_at,
        next_run_at=row.next_run_at,
        catch_up=row.catch_up,
        skip_overlap=row.overlap == "skip",
        window=Hours.of(row.window) if row.window else None,
        blackout=Hours.of(row.blackout) if row.blackout else None,
    )


async def _move_on(tx: UnitOfWork, moved: Mapping[tuple[datetime, datetime], Sequence[uuid.UUID]]) -> None:
    """Write when schedules are due next: what was due together mostly is so again, and then it is one statement."""
    for (due_at, next_run_at), ids in moved.items():
        change = update(Schedule).where(Schedule.id.in_(ids)).values(due_at=due_at, next_run_at=next_run_at)
        await tx.session.execute(change, execution_options={"synchronize_session": False})


async def _made_before(tx: UnitOfWork, runs: Sequence[Job]) -> set[str | None]:
    """Return the request keys that have their job already: such a run is not made again, and stops no other."""
    if not runs:
        return set()
    keys = [run.request_key for run in runs]
    return set(await tx.session.scalars(select(Job.request_key).where(Job.request_key.in_(keys))))


async def _paused(tx: UnitOfWork, now: datetime) -> set[str]:
    """Return the servers on which nothing scheduled runs now; an empty name stands for all."""
    return set(await tx.session.scalars(select(Pause.server).where(or_(Pause.until.is_(None), Pause.until > now))))
