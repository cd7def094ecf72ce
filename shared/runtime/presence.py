"""Says every few seconds which services this process runs, so that one that is missing is missed."""

from __future__ import annotations

import uuid
from importlib.metadata import version
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, update

from shared.db.tables.base import beyond, db_now
from shared.db.tables.kernel import ServiceInstance
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.service import Service

EVERY = 15.0
_REMEMBERED = 86_400.0


class Presence:
    """The rows of one process."""

    def __init__(self, db: Database, services: Sequence[Service]) -> None:
        """Take what runs here; a service bound to a backup node is present for that node."""
        self._db = db
        self._rows = [(uuid.uuid4(), service.name, service.node) for service in services]

    def task(self) -> Periodic:
        """Write every few seconds."""
        return Periodic("presence", lambda _stopping: self._db.run(self.write), every=EVERY)

    async def write(self, tx: UnitOfWork) -> None:
        """Say that we are here; forget the processes of long ago in whose place we are."""
        for row_id, service, node in self._rows:
            row = await tx.session.get(ServiceInstance, row_id)
            if row is None:
                row = ServiceInstance(id=row_id, service=service, node=node, version=version("borgfleet"))
                tx.session.add(row)
            else:
                await tx.session.execute(
                    update(ServiceInstance).where(ServiceInstance.id == row_id).values(seen_at=db_now())
                )
            mine = (ServiceInstance.service == service, ServiceInstance.node == node)
            gone = or_(ServiceInstance.seen_at < db_now(-_REMEMBERED), beyond(ServiceInstance.seen_at))
            forgotten = delete(ServiceInstance).where(*mine, gone)
            await tx.session.execute(forgotten)
