"""Forgetting a server: what may need a second person."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from services.api.kernel.etag import ANY, Precondition, meant_for
from services.api.kernel.versions import claimed
from services.api.security.approvals import agreed
from shared.db.stores.secrets import server_password
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository
from shared.domain.four_eyes import About, Command, Guarded
from shared.domain.messages.servers import SERVER_IN_USE
from shared.errors import Conflict

if TYPE_CHECKING:
    from services.api.kernel.principal import Principal
    from services.api.security.approvals import Actions
    from shared.db.unit_of_work import UnitOfWork


async def forget(tx: UnitOfWork, asking: Principal, command: Command, given: Precondition = ANY) -> None:
    """Forget a server that has no repositories."""
    server = await claimed(tx, Server, uuid.UUID(command.target), "server", meant_for(given, command.version))
    query = select(func.count()).select_from(Repository).where(Repository.server_id == server.id)
    if count := await tx.session.scalar(query):
        raise Conflict(SERVER_IN_USE(server=server.name, count=count))
    kept = Command(command.kind, command.target, version=server.version)
    await agreed(tx, asking, kept, About("servers", server.name, server.id))
    await tx.secrets.delete(server_password(server.id))
    await tx.session.delete(server)


GUARDED: Actions = {Guarded.DELETE_SERVER: forget}
"""What is done once another person has agreed."""
