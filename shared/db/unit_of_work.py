"""One transaction and what may be done in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.db.engines import WROTE
from shared.db.outbox import Outbox
from shared.db.stores.admission import Admission
from shared.db.stores.audit import Audit
from shared.db.stores.jobs import Jobs
from shared.db.stores.leases import Leases
from shared.db.stores.marks import Marks
from shared.db.stores.replies import Replies
from shared.db.stores.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.tables.kernel import OutboxRow
    from shared.events.base import Event
    from shared.secrets.envelope import KeyRing


class UnitOfWork:
    """A transaction: its session, its repositories, and the events that commit with it."""

    def __init__(self, session: AsyncSession, key_ring: KeyRing) -> None:
        """Bind the repositories to one session."""
        self.session = session
        self.outbox = Outbox(session)
        self.jobs = Jobs(session, self.outbox)
        self.admission = Admission(session, self.jobs)
        self.leases = Leases(session)
        self.marks = Marks(session)
        self.secrets = Secrets(session, key_ring)
        self.replies = Replies(session, key_ring)
        self.audit = Audit(session, key_ring)

    def emit(self, event: Event, *, node: str | None = None) -> None:
        """Publish this event if, and only if, the transaction commits."""
        self.outbox.add(event, node=node)

    async def prepare(self) -> None:
        """Write what is yet to be written, the events too; only the COMMIT itself is left."""
        await self.session.flush()
        await self.jobs.changes.tell()
        await self.outbox.write()

    async def has_written(self) -> bool:
        """Tell whether anything was changed."""
        if not self.session.in_transaction():
            return False
        connection = await self.session.connection()
        return bool(connection.sync_connection and connection.sync_connection.info.get(WROTE))

    async def commit(self) -> None:
        """Commit what was prepared."""
        # If this fails the session would forget what the rows hold; but they may have been committed all the same.
        self.session.expunge_all()
        await self.session.commit()

    @property
    def emitted(self) -> Sequence[OutboxRow]:
        """What the relay is to publish after the commit."""
        return self.outbox.added
