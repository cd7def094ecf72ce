"""Tells of what a server's key was refused at this node's endpoint: another server's repository, or no borg at all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import select

from services.backup.node.apart import LOOK_SECONDS, apart
from shared.borg.refused import Refused, forget_refused, take_refused
from shared.db.clock import read_now
from shared.db.tables.server import AccessRefusal, Server
from shared.db.tables.storage import Repository
from shared.events.server import ServerRefused
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    from pathlib import Path

    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

_EVERY_SECONDS = 60.0
_MOST = 20
"""Repositories of which one server's attempts are kept apart; those of any more are counted together."""
OTHERS = "other repositories"


class Refusals:
    """Reads each minute what serve.sh noted, and keeps it: an event, and a figure that raises an alert."""

    def __init__(self, db: Database, state_dir: Path) -> None:
        """Take the database and the node's state directory."""
        self._db = db
        self._directory = state_dir / "sessions"

    def task(self) -> Periodic:
        """Read each minute."""
        return Periodic("refusals", lambda _stopping: self.read(), every=_EVERY_SECONDS)

    async def read(self) -> None:
        """Keep what was refused, and only then forget it; a database that is away loses none."""
        found = await apart(lambda: take_refused(self._directory), LOOK_SECONDS, "refusals")
        for refused in found:
            await self._db.run(partial(_record, refused))
            await apart(partial(forget_refused, refused), LOOK_SECONDS, "refusals")


async def _record(refused: Refused, tx: UnitOfWork) -> None:
    """Keep what no honest client asks for. Its own repository is what a late one asks for: its lease is over."""
    server = await tx.session.get(Server, refused.server_id)
    if server is None:
        return
    query = (
        select(Repository.id, Server.name, Repository.name)
        .join(Server, Server.id == Repository.server_id)
        .where(Repository.id.in_(refused.repositories), Repository.server_id != server.id)
        .order_by(Server.name, Repository.name)
    )
    attempts = {
        f"{owner}/{name}": refused.repositories[repository_id]
        for repository_id, owner, name in await tx.session.execute(query)
    }
    for repository, count in attempts.items():
        await _note(tx, server, repository, count, f"it asked for the repository {repository}, which is another's")
    if refused.commands:
        said = f"it asked for what is no backup: {refused.last_command}"
        await _note(tx, server, "", refused.commands, said)


async def _note(tx: UnitOfWork, server: Server, repository: str, count: int, said: str) -> None:
    known = {
        row.repository: row
        for row in await tx.session.scalars(select(AccessRefusal).where(AccessRefusal.server_id == server.id))
    }
    about = repository if repository in known or len(known) < _MOST or not repository else OTHERS
    row = known.get(about)
    if row is None:
        row = AccessRefusal(server_id=server.id, repository=about, attempts=0)
        tx.session.add(row)
    row.attempts += count
    row.said, row.last_at = said, await read_now(tx.session)
    await tx.session.flush()
    tx.emit(ServerRefused(server_id=server.id, repository=repository, attempts=count, reason=said))
