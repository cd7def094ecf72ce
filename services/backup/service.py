"""What the backup service listens to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from services.backup.create.remote import RemoteServers
from services.backup.handlers import (
    announce_failure,
    check_repository,
    compact_repository,
    delete_archive,
    make_backup,
    place_backup,
    place_delete,
    place_upkeep,
    prune_repository,
    recover_repository,
    verify_repository,
)
from services.backup.node.capacity import PoolCapacity
from services.backup.node.endpoint import Endpoint
from services.backup.node.refusals import Refusals
from services.backup.node.storage import NodeStorage
from shared.borg.node import BorgNode
from shared.domain.job import JobType
from shared.events.archive import ArchiveDelete
from shared.events.backup import BackupRequested
from shared.events.repository import (
    RepositoryCheck,
    RepositoryCompact,
    RepositoryPrune,
    RepositoryRecover,
    RepositoryVerify,
)
from shared.runtime.service import Route, Service
from shared.ssh.asyncssh import AsyncSsh

if TYPE_CHECKING:
    from shared.runtime.service import Parts


def build(parts: Parts) -> Service:
    """Wire the handlers to this node's borg and to SSH."""
    settings = parts.settings
    here = settings.backup.node
    node = BorgNode(settings.backup.borg, settings.state_dir, settings.backup.silence_seconds)
    storage = NodeStorage(node, settings.worker.lease)
    servers = RemoteServers(AsyncSsh(settings.ssh), node, settings.backup.silence_seconds)
    create = partial(make_backup, storage=storage, servers=servers)
    delete = partial(delete_archive, storage=storage)
    prune = partial(prune_repository, storage=storage)
    compact = partial(compact_repository, storage=storage)
    check = partial(check_repository, storage=storage)
    verify = partial(verify_repository, storage=storage)
    recover = partial(recover_repository, storage=storage)
    return Service(
        name="backup",
        routes=(
            Route(BackupRequested, create, settings.backup.concurrency, node=here, on_failure=announce_failure),
            Route(ArchiveDelete, delete, node=here, on_failure=announce_failure),
            Route(RepositoryPrune, prune, node=here, on_failure=announce_failure),
            Route(RepositoryCompact, compact, node=here, on_failure=announce_failure),
            Route(RepositoryCheck, check, node=here, on_failure=announce_failure),
            Route(RepositoryVerify, verify, node=here, on_failure=announce_failure),
            Route(RepositoryRecover, recover, node=here, on_failure=announce_failure),
            Route(RepositoryPrune, partial(place_upkeep, kind=JobType.REPOSITORY_PRUNE)),
            Route(RepositoryCompact, partial(place_upkeep, kind=JobType.REPOSITORY_COMPACT)),
            Route(RepositoryCheck, partial(place_upkeep, kind=JobType.REPOSITORY_CHECK)),
            Route(RepositoryVerify, partial(place_upkeep, kind=JobType.REPOSITORY_VERIFY)),
            Route(RepositoryRecover, partial(place_upkeep, kind=JobType.REPOSITORY_RECOVER)),
            Route(BackupRequested, place_backup),
            Route(ArchiveDelete, place_delete),
        ),
        tasks=(
            *Endpoint(parts.db, settings.backup, settings.state_dir).tasks(),
            PoolCapacity(parts.db, here).task(),
            Refusals(parts.db, settings.state_dir).task(),
        ),
    )
