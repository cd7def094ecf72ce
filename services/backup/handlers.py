"""What the backup service does: each kind of work on a repository is one row, and `work_on` does them all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from services.backup.catalogue.index import load_index, place_to_index, record_index, run_index
from services.backup.create.record import announce, record_backup, remember
from services.backup.create.run import run_backup
from services.backup.drills.plan import load_test, place_to_test
from services.backup.drills.record import record_test
from services.backup.drills.run import run_test
from services.backup.importing.manage import (
    load_manage,
    place_to_manage,
    record_manage,
    refuse_from_outside,
    run_manage,
)
from services.backup.inventory.beside import record_verified, verify_beside
from services.backup.inventory.proof import Manner
from services.backup.inventory.recover import load_recover, place_to_recover, record_recover, run_recover
from services.backup.inventory.verify import load_verify, place_to_verify
from services.backup.maintenance.check import Checked, load_check, place_to_check, record_check, run_check
from services.backup.maintenance.compact import load_compact, place_to_compact, record_compact, run_compact
from services.backup.maintenance.delete import load_delete, place_of, record_deletion, run_delete
from services.backup.maintenance.prune import load_prune, place_to_prune, record_prune, run_prune
from services.backup.plan import load_plan
from services.backup.requests import accept_backup_request, accept_delete_request, accept_restore_request
from services.backup.restore.plan import load_restore, place_to_restore
from services.backup.restore.record import record_restore
from services.backup.restore.run import run_restore
from services.backup.work import Work, work_on
from shared.domain.job import JobType

if TYPE_CHECKING:
    from pathlib import Path

    from services.backup.node.imports import Imports
    from services.backup.ports import Servers, Storage
    from services.backup.restore.server import RestoreServers
    from shared.events.backup import BackupRequested
    from shared.runtime.context import Context
    from shared.ssh.port import Ssh

_KEPT_DAYS = 90.0
"""For so long an ended job is kept, where nobody says otherwise."""

DELETE = Work(
    JobType.ARCHIVE_DELETE, place_of, load_delete, run_delete, record_deletion, accept=accept_delete_request,
    nothing={"absent": True}, before_commit="after_delete_before_commit",
)  # fmt: skip
PRUNE = Work(
    JobType.REPOSITORY_PRUNE, place_to_prune, load_prune, run_prune, record_prune,
    in_window=True, before_commit="after_delete_before_commit",
)  # fmt: skip
COMPACT = Work(
    JobType.REPOSITORY_COMPACT, place_to_compact, load_compact, run_compact, record_compact,
    in_window=True,
)  # fmt: skip
CHECK = Work(
    JobType.REPOSITORY_CHECK, place_to_check, load_check, run_check, record_check,
    manner=partial(Manner, examines=True), with_damage=Checked.and_damaged,
)  # fmt: skip
VERIFY = Work(
    JobType.REPOSITORY_VERIFY, place_to_verify, load_verify, verify_beside, record_verified,
    alone=False, nothing={"finished": True, "objects": 0},
)  # fmt: skip
RECOVER = Work(
    JobType.REPOSITORY_RECOVER, place_to_recover, load_recover, run_recover, record_recover,
    manner=partial(Manner, told=False, examines=True, anew=True),
)  # fmt: skip


def manage_by(imports: Imports) -> Work[Any, Any, Any]:
    """Return the work that takes over what was imported."""
    return Work(
        JobType.REPOSITORY_MANAGE, place_to_manage, load_manage, partial(run_manage, imports=imports), record_manage,
        accept=refuse_from_outside, nothing={"managed": True},
    )  # fmt: skip


def backup_by(servers: Servers) -> Work[Any, Any, Any]:
    """Return the work that makes a backup; alone of all kinds it needs the server that is backed up."""
    return Work(
        JobType.BACKUP_CREATE, load_plan, announce, partial(run_backup, servers=servers), record_backup,
        accept=accept_backup_request, keep=remember, before_commit="after_borg_before_commit",
    )  # fmt: skip


def restore_by(servers: RestoreServers, kept_days: float = _KEPT_DAYS) -> Work[Any, Any, Any]:
    """Return the work that restores: it reads a view, so that no backup waits for it."""
    return Work(
        JobType.ARCHIVE_RESTORE, place_to_restore, load_restore, partial(run_restore, servers=servers),
        partial(record_restore, kept_days=kept_days), alone=False, accept=accept_restore_request,
        before_commit="after_place_before_commit",
    )  # fmt: skip


def index_in(directory: Path) -> Work[Any, Any, Any]:
    """Return the work that keeps catalogues of files, on this node's own disk: it reads a view as well."""
    return Work(
        JobType.ARCHIVE_INDEX, place_to_index, load_index, partial(run_index, directory=directory), record_index,
        alone=False,
    )  # fmt: skip


def drill_in(directory: Path, ssh: Ssh) -> Work[Any, Any, Any]:
    """Return the work that tests whether backups can be restored: it reads a view, and keeps nothing."""
    return Work(
        JobType.RESTORE_TEST, place_to_test, load_test, partial(run_test, ssh=ssh, directory=directory), record_test,
        alone=False, in_window=True, before_commit="after_test_before_commit",
    )  # fmt: skip


async def make_backup(event: BackupRequested, ctx: Context, *, storage: Storage, servers: Servers) -> None:
    """Make one backup."""
    await work_on(event, ctx, work=backup_by(servers), storage=storage)


def works(
    servers: Servers, restoring: RestoreServers, ssh: Ssh, catalogues: Path, kept_days: float = _KEPT_DAYS
) -> tuple[Work[Any, Any, Any], ...]:
    """Return each kind of work on a repository; `catalogues`: the directory that holds them."""
    backup, restore = backup_by(servers), restore_by(restoring, kept_days)
    reading = index_in(catalogues), drill_in(catalogues, ssh)
    return backup, DELETE, restore, PRUNE, COMPACT, CHECK, VERIFY, RECOVER, *reading
