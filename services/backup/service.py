"""What the backup service listens to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from services.backup.endpoint import Endpoint
from services.backup.handlers import announce_failure, delete_archive, make_backup, place_backup, place_delete
from services.backup.remote import RemoteServers
from services.backup.storage import NodeStorage
from shared.borg.node import BorgNode
from shared.events.archive import ArchiveDelete
from shared.events.backup import BackupRequested
from shared.runtime.service import Route, Service
from shared.ssh.asyncssh import AsyncSsh

if TYPE_CHECKING:
    from shared.runtime.service import Parts


def build(parts: Parts) -> Service:
    """Wire the handlers to this node's borg and to SSH."""
    settings = parts.settings
    here = settings.backup.node
    node = BorgNode(settings.backup.borg, settings.state_dir)
    storage = NodeStorage(node, settings.worker.lease)
    servers = RemoteServers(AsyncSsh(settings.ssh), node, settings.backup.silence_seconds)
    create = partial(make_backup, storage=storage, servers=servers)
    delete = partial(delete_archive, storage=storage)
    return Service(
        name="backup",
        routes=(
            Route(BackupRequested, create, settings.backup.concurrency, node=here, on_failure=announce_failure),
            Route(ArchiveDelete, delete, node=here),
            Route(BackupRequested, place_backup),
            Route(ArchiveDelete, place_delete),
        ),
        tasks=(("endpoint", Endpoint(parts.db, settings.backup, settings.state_dir).keep),),
    )
