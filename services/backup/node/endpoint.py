"""This node's storage endpoint: its row for the servers to find it, its authorized_keys from the database."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import select

from services.backup.node.apart import Disks, silent_state
from shared.db.tables.base import db_now
from shared.db.tables.server import Server
from shared.db.tables.storage import BackupNode
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shared.config.settings import BackupSettings
    from shared.db.session import Database

T = TypeVar("T")
_EVERY_SECONDS = 1.0
_ANNOUNCE_SECONDS = 60.0


class Endpoint:
    """Keeps the row and the file as they should be."""

    def __init__(self, db: Database, settings: BackupSettings, state_dir: Path) -> None:
        """Take the node's settings and its state directory, where authorized_keys is written."""
        self._db = db
        self._settings = settings
        self._state_dir = state_dir
        self._file = state_dir / "authorized_keys"
        self._disks = Disks()

    def tasks(self) -> tuple[Periodic, Periodic]:
        """Render authorized_keys within a second of a change; announce the node each minute.

        Two tasks: a state directory that cannot be written must not keep the node from being known.
        """
        return (
            Periodic("endpoint", lambda _stopping: self.render(), every=_EVERY_SECONDS),
            Periodic("announcement", lambda _stopping: self.announce(), every=_ANNOUNCE_SECONDS),
        )

    async def announce(self) -> None:
        """Write this node's row: how servers reach it, and its host key."""
        settings = self._settings
        node = BackupNode(
            name=settings.node,
            endpoint_host=settings.endpoint_host,
            endpoint_port=settings.endpoint_port,
            endpoint_user=settings.endpoint_user,
            endpoint_host_key=await self._read(lambda: _host_key(settings.endpoint_host_key_file)),
        )
        node.seen_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - a SQL expression is assignable
        await self._db.run(lambda tx: tx.session.merge(node))

    async def render(self) -> bool:
        """Replace authorized_keys in one step if the database says otherwise; tell whether it changed."""
        query = select(Server.id, Server.name, Server.backup_key).where(Server.backup_key.is_not(None))
        async with self._db.read() as session:
            rows = (await session.execute(query.order_by(Server.name))).all()
        lines = [authorized_line(self._state_dir, server_id.hex, name, key or "") for server_id, name, key in rows]
        text = "# Written by Borgfleet from its database; changes by hand are lost.\n" + "".join(lines)
        return await self._read(lambda: _replace_if_changed(self._file, text))

    async def _read(self, work: Callable[[], T]) -> T:
        path = str(self._state_dir)
        return await self._disks.read(path, lambda _alive: work(), lambda seconds: silent_state(path, seconds))


def _host_key(file: Path | None) -> str | None:
    return " ".join(file.read_text().split()[:2]) if file and file.is_file() else None


def authorized_line(state_dir: Path, server_id: str, name: str, public_key: str) -> str:
    """Return a server's line: `restrict`, and a forced command that serves only its own repositories, append-only."""
    command = f"/bin/sh {shlex.quote(str(state_dir / 'serve.sh'))} {shlex.quote(str(state_dir))} {server_id}"
    algorithm, blob = public_key.split()[:2]
    return f'restrict,command="{command}" {algorithm} {blob} borgfleet:{name}\n'


def _replace_if_changed(file: Path, text: str) -> bool:
    if file.is_file() and file.read_text() == text:
        return False
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.chmod(0o644)
    temporary.replace(file)
    return True
