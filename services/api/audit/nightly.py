"""Verifies the audit log by itself once a day, and takes away what is older than anybody asked to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from sqlalchemy import insert, or_, select

from services.api.audit.verify import published, verify
from shared.db.tables.audit import AuditCheck
from shared.db.tables.base import beyond, db_now, or_ignore
from shared.runtime.leadership import Leadership
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    import asyncio

    from services.api.audit.verify import Verified
    from shared.bus.port import Bus
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork
    from shared.events.audit import AuditSealed

LEASE = "audit-check"
_LEASE_SECONDS = 120.0
_EVERY_SECONDS = 300.0
_DAY, _HOUR = 86_400.0, 3600.0
_log = structlog.get_logger()


class Nightly:
    """One gateway's part in it; what was found stands in the database, and the alerts are made of that."""

    def __init__(self, db: Database, bus: Bus, keep_days: float | None = None) -> None:
        """Verify this log; rows older than `keep_days` go, None: never."""
        self._db, self._bus = db, bus
        self._keep = None if keep_days is None else keep_days * _DAY
        self._lead = Leadership(db, LEASE, _LEASE_SECONDS)

    def task(self) -> Periodic:
        """Return the work as a task: it looks often, so that a gateway that was away at night makes up for it."""
        return Periodic("audit-check", self.round, every=_EVERY_SECONDS, jitter=_EVERY_SECONDS / 10, lead=self._lead)

    async def round(self, stopping: asyncio.Event) -> None:
        """Verify all of it if that is due, part by part; one that was broken off goes on where it was."""
        while not stopping.is_set():
            if not await self._db.run(_is_due):
                return
            witness = await published(self._bus)
            found = await self._db.run(lambda tx, witness=witness: self._part(tx, witness))
            if found.more:
                continue
            if found.broken is not None:
                broken = found.broken
                _log.error("audit_broken", what=broken.what, seal=broken.seal, entry=str(broken.entry or ""))
            elif self._keep is not None:
                await self._prune(self._keep, stopping)
            return

    async def _part(self, tx: UnitOfWork, witness: AuditSealed | None) -> Verified:
        await self._lead.repeat(tx)
        state = await _state(tx)
        found = await verify(tx, state.after, witness)
        state = await _state(tx)  # what was verified is not kept in memory, and neither is this
        state.after = found.last if found.more else 0
        if found.more:
            return found
        state.ended_at, state.seals = (await tx.session.execute(select(db_now()))).scalar_one(), found.last
        broken = found.broken
        state.broken_what = broken.what if broken else ""
        state.broken_seal, state.broken_entry = (broken.seal, broken.entry) if broken else (None, None)
        return found

    async def _prune(self, keep: float, stopping: asyncio.Event) -> None:
        """Take away old rows: only of a log that was whole just now, so that nothing of a break is swept away."""

        async def oldest(tx: UnitOfWork) -> int:
            await self._lead.repeat(tx)
            return await tx.audit.prune(keep)

        seals = 0
        while not stopping.is_set() and await self._db.run(oldest) >= 0:
            seals += 1
        if seals:
            _log.info("audit_pruned", seals=seals)


async def _is_due(tx: UnitOfWork) -> bool:
    """Tell whether a round is under way, or the last one is a day ago; an hour where it found something."""
    await _state(tx)
    rest = select(AuditCheck.id).where(
        AuditCheck.id == 1,
        or_(
            AuditCheck.after > 0,
            AuditCheck.ended_at.is_(None),
            AuditCheck.ended_at < db_now(-_DAY),
            (AuditCheck.broken_what != "") & (AuditCheck.ended_at < db_now(-_HOUR)),
            beyond(AuditCheck.ended_at),
        ),
    )
    return await tx.session.scalar(rest) is not None


async def _state(tx: UnitOfWork) -> AuditCheck:
    query = select(AuditCheck).where(AuditCheck.id == 1).with_for_update()
    found = await tx.session.scalar(query)
    if found is None:
        await tx.session.execute(or_ignore(insert(AuditCheck)).values(id=1, after=0, seals=0, broken_what=""))
        found = (await tx.session.scalars(query)).one()
    return found
