"""Seals the rows of the audit log, each second where there are some: one gateway at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select

from shared.db.stores.audit import AT_ONCE, AUDIT_SEAL_FIELDS
from shared.db.tables.audit import AuditEntry
from shared.events.audit import AuditSealed
from shared.runtime.leadership import Leadership
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    import asyncio

    from shared.db.session import Database
    from shared.db.tables.audit import AuditSeal
    from shared.db.unit_of_work import UnitOfWork

LEASE = "audit-seal"
_SECONDS, _LEASE_SECONDS = 1.0, 30.0
_TOLD = 10
_log = structlog.get_logger()


class Sealer:
    """One gateway's part in sealing."""

    def __init__(self, db: Database) -> None:
        """Seal what is in this database."""
        self._db = db
        self._lead = Leadership(db, LEASE, _LEASE_SECONDS)

    def task(self) -> Periodic:
        """Return the work as a task; the lease is asked for only where there is something to seal."""
        return Periodic("audit-seal", self.round, every=_SECONDS, jitter=0.2)

    async def round(self, stopping: asyncio.Event) -> None:
        """Seal all that is there, unless another gateway does."""
        async with self._db.read() as session:
            waits = await session.scalar(select(AuditEntry.id).where(AuditEntry.seal.is_(None)).limit(1))
        if waits is None or not await self._lead.taken():
            return
        while not stopping.is_set():
            seal = await self._db.run(self._seal)
            if seal is None or seal.count < AT_ONCE:
                return

    async def _seal(self, tx: UnitOfWork) -> AuditSeal | None:
        await self._lead.repeat(tx)
        seal = await tx.audit.seal()
        if seal is not None and seal.seq % _TOLD == 0:
            # Where logs are kept elsewhere, as on the bus, this shows that the newest rows and seals were cut off.
            _log.info("audit_sealed", seq=seal.seq, mac=seal.mac)
            tx.emit(AuditSealed(**{name: getattr(seal, name) for name in AUDIT_SEAL_FIELDS}))
        return seal
