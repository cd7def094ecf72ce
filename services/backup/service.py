"""What the backup service listens to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from services.backup.catalogue.answers import Answers
from services.backup.catalogue.keeper import CatalogueKeeper
from services.backup.create.remote import RemoteServers
from services.backup.failures import announce_failure
from services.backup.handlers import manage_by, works
from services.backup.importing.keeper import ImportedKeeper
from services.backup.importing.manage import refuse_from_outside
from services.backup.importing.take import forget_import, import_repository
from services.backup.itself.keeper import SelfBackupKeeper
from services.backup.itself.make import Itself, back_up_itself
from services.backup.node.capacity import PoolCapacity
from services.backup.node.endpoint import Endpoint
from services.backup.node.imports import Imports
from services.backup.node.refusals import Refusals
from services.backup.node.storage import NodeStorage
from services.backup.node.view_keeper import ViewKeeper
from services.backup.requests import accept_maintenance_request
from services.backup.restore.server import RestoreServers
from services.backup.restore.undo import undo_restore
from services.backup.transfer.desk import Transfers
from services.backup.work import work_on
from shared.borg.node import BorgNode
from shared.domain.downloads import ASKED
from shared.domain.files import VERBS, subject
from shared.domain.job import JobType
from shared.events.archive import ArchiveDelete, ArchiveDeleted, ArchiveRestore, ArchiveRestored, RestoreUndo
from shared.events.backup import BackupCompleted, BackupFailed, BackupMissed, BackupRequested, BackupStarted
from shared.events.itself import SelfBackup
from shared.events.progress import JobChanged
from shared.events.repository import (
    ArchiveIndex,
    MaintenanceMissed,
    RepositoryCheck,
    RepositoryChecked,
    RepositoryCompact,
    RepositoryCompacted,
    RepositoryFrozen,
    RepositoryImport,
    RepositoryImported,
    RepositoryManage,
    RepositoryManaged,
    RepositoryPrune,
    RepositoryPruned,
    RepositoryRecover,
    RepositoryRecovered,
    RepositoryVerified,
    RepositoryVerify,
    RestoreTest,
    RestoreTested,
)
from shared.events.server import ServerRefused
from shared.events.streams import COMMAND_OF
from shared.runtime.service import Route, Service
from shared.ssh.asyncssh import AsyncSsh

if TYPE_CHECKING:
    from shared.runtime.service import Parts


_EMITS = (
    # Asked for from outside or by another run, work goes to the node that holds the repository.
    BackupRequested,
    ArchiveDelete,
    ArchiveRestore,
    RestoreUndo,
    RepositoryPrune,
    RepositoryCompact,
    RepositoryCheck,
    RestoreTest,
    RepositoryVerify,
    RepositoryRecover,
    RepositoryImport,
    RepositoryManage,
    ArchiveIndex,
    SelfBackup,
    BackupStarted,
    BackupCompleted,
    BackupFailed,
    BackupMissed,
    ArchiveDeleted,
    ArchiveRestored,
    RepositoryPruned,
    RepositoryCompacted,
    RepositoryChecked,
    RepositoryVerified,
    RepositoryRecovered,
    RestoreTested,
    RepositoryImported,
    RepositoryManaged,
    RepositoryFrozen,
    MaintenanceMissed,
    ServerRefused,
    JobChanged,
)


def build(parts: Parts) -> Service:
    """Wire the handlers to this node's borg and to SSH."""
    settings = parts.settings
    here = settings.backup.node
    node = BorgNode(settings.backup.borg, settings.state_dir, settings.backup.silence_seconds)
    storage = NodeStorage(node, settings.worker.lease)
    keeper = ViewKeeper(parts.db, here, storage)
    ssh, silence = AsyncSsh(settings.ssh), settings.backup.silence_seconds
    servers = RemoteServers(ssh, node, silence)
    routes: list[Route] = []
    restoring = RestoreServers(ssh, silence)
    for work in works(servers, restoring, ssh, settings.catalogue_dir, settings.keep.jobs_days):
        command, do = COMMAND_OF[work.kind], partial(work_on, work=work, storage=storage)
        at_once = settings.backup.concurrency if work.kind is JobType.BACKUP_CREATE else 1
        routes.append(Route(command, do, at_once, node=here, on_failure=announce_failure))
        routes.append(Route(command, work.accept or partial(accept_maintenance_request, kind=work.kind)))
    imports = Imports(node, settings.backup.import_roots)
    take = partial(import_repository, storage=storage, imports=imports)
    routes.append(Route(RepositoryImport, take, node=here, on_failure=forget_import))
    routes.append(Route(RepositoryImport, partial(accept_maintenance_request, kind=JobType.REPOSITORY_IMPORT)))
    manage = manage_by(imports)
    routes.append(Route(RepositoryManage, partial(work_on, work=manage, storage=storage), node=here))
    routes.append(Route(RepositoryManage, refuse_from_outside))
    itself = partial(back_up_itself, itself=Itself(settings, node, storage))
    routes += [Route(SelfBackup, itself, 1, node=here), Route(SelfBackup, itself)]
    routes.append(Route(RestoreUndo, partial(undo_restore, servers=restoring)))
    return Service(
        name="backup",
        routes=tuple(routes),
        emits=_EMITS,
        answers=(*(subject(verb, "*") for verb in VERBS), *ASKED),
        tasks=(
            *Endpoint(parts.db, settings.backup, settings.state_dir).tasks(),
            PoolCapacity(parts.db, here, settings.state_dir).task(),
            Refusals(parts.db, settings.state_dir).task(),
            keeper.task(),
            ImportedKeeper(parts.db, here, storage, settings.backup.catalogue_every).task(),
            *CatalogueKeeper(parts.db, here, settings.catalogue_dir, settings.backup.catalogue_every).tasks(),
            SelfBackupKeeper(parts.db, here, settings.self_backup).task(),
            Answers(parts.db, parts.bus, here, storage, keeper, settings.catalogue_dir).task(),
            Transfers(parts.db, parts.bus, here, storage, keeper, settings.catalogue_dir).task(),
        ),
    )
