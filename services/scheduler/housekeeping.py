"""Forgets what is older than anybody asked to keep, in batches so small that nothing waits for their locks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import ColumnElement, and_, delete, select

from shared.db.queries.proofs import is_superseded
from shared.db.stores.hook_debts import owes_nothing
from shared.db.stores.secrets import imports, server_passwords
from shared.db.tables.account import LoginFlow, LoginSession, OneTimeLink, Throttle
from shared.db.tables.alert import Alert
from shared.db.tables.approval import Approval
from shared.db.tables.base import db_now
from shared.db.tables.download import DownloadTicket
from shared.db.tables.job import Job
from shared.db.tables.kernel import CommitMark, DeadLetter, Lease, Secret
from shared.db.tables.notify import Notification
from shared.db.tables.proof import RestoreProof
from shared.db.tables.request import IdempotencyKey
from shared.db.tables.schedule import MissedRun
from shared.runtime.batches import in_batches
from shared.runtime.leadership import Leadership
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    from sqlalchemy.orm import InstrumentedAttribute

    from shared.config.settings import KeepSettings
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

_log = structlog.get_logger()
LEASE = "scheduler:housekeeping"
_LEASE_SECONDS = 600.0
_EVERY_SECONDS = 300.0
_JITTER_SECONDS = 30.0
_PAUSE_SECONDS = 0.1
"""Between batches, so that a long clean-up leaves the database to others."""
_DAY = 86_400.0
_PROOF_DAYS = 730.0
"""For so long it is shown what restore tests came to; the last good one stays."""
_LINK_DAYS = 30.0
"""For so long who comes with a link that is over learns that it is over, and not that there never was one."""
_APPROVAL_DAYS = 366.0
_VIEW_DAYS = 30.0
"""Longer than any job waits for its next attempt, which takes the view of the one before again."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One kind of row: by which indexed time it is as old as it is, how long it stays, how many go at once."""

    table: Any
    at: InstrumentedAttribute[Any]
    days: float
    batch: int
    ended: ColumnElement[bool] | None = None
    """Only such rows may go."""


class Housekeeping:
    """Cleans up; one of all schedulers at a time."""

    def __init__(self, db: Database, keep: KeepSettings) -> None:
        """Take the database and how many days each kind of row is kept."""
        self._db = db
        self._lead = Leadership(db, LEASE, _LEASE_SECONDS)
        self.kinds = (
            # With a job goes its log, of up to 2,000 lines an attempt.
            Kept(Job, Job.created_at, keep.jobs_days, 25, and_(Job.finished_at.is_not(None), owes_nothing())),
            Kept(Alert, Alert.began_at, keep.alerts_days, 100, Alert.open_key.is_(None)),
            Kept(Notification, Notification.created_at, keep.notifications_days, 500, Notification.state != "waiting"),
            Kept(DeadLetter, DeadLetter.at, keep.dead_letters_days, 500),
            Kept(MissedRun, MissedRun.due_at, keep.missed_runs_days, 500),
            Kept(RestoreProof, RestoreProof.ended_at, _PROOF_DAYS, 500, is_superseded()),
            Kept(Secret, Secret.created_at, keep.passwords_days, 500, Secret.name.like(server_passwords())),
            Kept(Secret, Secret.created_at, keep.passwords_days, 500, Secret.name.like(imports())),
            Kept(CommitMark, CommitMark.at, 1.0, 500),  # of processes that are gone
            # Each view has a name of its own; the lease of a thing keeps its epoch for as long as that is there.
            Kept(Lease, Lease.until, _VIEW_DAYS, 500, Lease.name.like("view:%")),
            Kept(IdempotencyKey, IdempotencyKey.created_at, 1.0, 500),
            Kept(LoginSession, LoginSession.expires_at, 1.0, 500),
            Kept(LoginFlow, LoginFlow.expires_at, 1.0, 500),
            Kept(OneTimeLink, OneTimeLink.expires_at, _LINK_DAYS, 500),
            # The audit log keeps what was asked for and decided.
            Kept(Approval, Approval.requested_at, _APPROVAL_DAYS, 500, Approval.open_key.is_(None)),
            Kept(DownloadTicket, DownloadTicket.expires_at, 1.0, 500),
            # Strangers make these, as many as they like: no login may have to delete them all.
            Kept(Throttle, Throttle.last_at, 1.0, 500),
        )

    def task(self) -> Periodic:
        """Clean up every few minutes, one of all schedulers."""
        return Periodic("housekeeping", self.tick, every=_EVERY_SECONDS, jitter=_JITTER_SECONDS, lead=self._lead)

    async def tick(self, stopping: asyncio.Event) -> dict[str, int]:
        """Delete everything that is too old now; return how many rows of each table went."""
        gone: dict[str, int] = {}
        for kind in self.kinds:
            purge = partial(self._db.run, partial(self._purge, kind))
            if count := await in_batches(purge, stopping, full=kind.batch, rest=_PAUSE_SECONDS):
                gone[kind.table.__tablename__] = count
        if gone:
            _log.info("cleaned_up", **gone)
        return gone

    async def _purge(self, kind: Kept, tx: UnitOfWork) -> int:
        await self._lead.repeat(tx)
        return await _purge(tx, kind)


async def _purge(tx: UnitOfWork, kind: Kept) -> int:
    """Delete a batch of the oldest rows; return how many went."""
    key, too_old = next(iter(kind.table.__table__.primary_key)), kind.at < db_now(-kind.days * _DAY)
    old = select(key).where(too_old).order_by(kind.at).limit(kind.batch)
    ids = (await tx.session.scalars(old if kind.ended is None else old.where(kind.ended))).all()
    if ids:
        await tx.session.execute(delete(kind.table).where(key.in_(ids), too_old))
    return len(ids)
