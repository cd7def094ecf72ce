"""One process of all replicas does a piece of work: a lease says which, and every write of that work repeats it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from shared.domain.messages.jobs import LEASE_LOST_LEADER
from shared.errors import LeaseLost

if TYPE_CHECKING:
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork


class Leadership:
    """The lease of one piece of work, as one process sees it."""

    def __init__(self, db: Database, name: str, seconds: float) -> None:
        """Take the lease's name, the same in all processes, and how long it holds after it was last taken."""
        self._db = db
        self._name = name
        self._seconds = seconds
        self._holder = secrets.token_hex(8)
        self._leads = False

    async def taken(self) -> bool:
        """Take the lease, or keep it; tell whether it is ours now."""
        epoch = await self._db.run(lambda tx: tx.leases.acquire(self._name, self._holder, self._seconds))
        self._leads = epoch is not None
        return self._leads

    async def repeat(self, tx: UnitOfWork) -> None:
        """Make sure, in the transaction that writes, that we still lead; LeaseLost if another process does.

        Work may outlast its lease: a process that slept must not write beside the one that took over. Who never took
        the lead, and does the work on its own, is not stopped.
        """
        if self._leads and await tx.leases.acquire(self._name, self._holder, self._seconds) is None:
            raise LeaseLost(LEASE_LOST_LEADER(lease=self._name))

    async def release(self) -> None:
        """Let another process lead at once."""
        self._leads = False
        await self._db.run(lambda tx: tx.leases.release(self._name, self._holder), retry_for=0)
