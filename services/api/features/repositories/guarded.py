"""What takes backups away sooner, or lets them be taken: what may need a second person."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import exists, select, update

from services.api.features.repositories.schemas import RepositoryChange
from services.api.kernel.errors import Outdated
from services.api.kernel.etag import ANY, Precondition, meant_for
from services.api.kernel.pages import require
from services.api.kernel.scheduling import Owner, replace_schedules
from services.api.kernel.versions import claimed
from services.api.security.approvals import agreed
from shared.db.queries.retention import load_policies
from shared.db.stores.requests import refuse_to_write, request_maintenance
from shared.db.stores.secrets import repository_key
from shared.db.tables.base import db_now
from shared.db.tables.server import Server
from shared.db.tables.storage import Archive, Repository
from shared.domain.four_eyes import About, Command, Guarded, lowers
from shared.domain.job import JobType
from shared.domain.messages.approvals import APPROVAL_FREEZE_CHANGED, APPROVAL_RESTORE_CHANGED
from shared.domain.messages.importing import NOTHING_IMPORTED
from shared.domain.messages.repositories import REPOSITORY_NOT_FROZEN, REPOSITORY_NOT_RESTORED, RETENTION_MISSING
from shared.errors import Conflict

if TYPE_CHECKING:
    from services.api.kernel.principal import Principal
    from services.api.security.approvals import Actions
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.message import Message


def definition_command(repository_id: uuid.UUID, body: RepositoryChange) -> Command:
    """Return what gives a repository this definition."""
    return Command(Guarded.LOWER_RETENTION, str(repository_id), body.model_dump(mode="json"))


async def define(tx: UnitOfWork, asking: Principal, command: Command, given: Precondition = ANY) -> Repository:
    """Give a repository its quota, retention and maintenance; a lower retention may need a second person."""
    identity = uuid.UUID(command.target)
    repository = await claimed(tx, Repository, identity, "repository", meant_for(given, command.version))
    body = RepositoryChange.model_validate(dict(command.fields))
    if lowers(repository.retention or None, body.retention):
        kept = Command(command.kind, command.target, command.fields, repository.version)
        await agreed(tx, asking, kept, _about(repository))
    repository.quota_bytes, repository.prune_after_backup = body.quota_bytes, body.prune_after_backup
    repository.compact_threshold_percent = body.compact_threshold_percent
    repository.retention = body.retention.model_dump() if body.retention else None
    if body.schedules is not None:
        server = require(await tx.session.get(Server, repository.server_id), "server")
        owner = Owner(repository_id=repository.id, server=server.name, repository=repository.name)
        await replace_schedules(tx, owner, body.schedules)
    return repository


async def prune(tx: UnitOfWork, asking: Principal, command: Command) -> Job:
    """Queue a prune; past the deletion limit it may need a second person."""
    repository = require(await tx.session.get(Repository, uuid.UUID(command.target)), "repository")
    if not await load_policies(tx.session, repository):
        raise Conflict(RETENTION_MISSING())
    if command.fields.get("override_deletion_limit"):
        await agreed(tx, asking, command, _about(repository))
    job = await request_maintenance(tx, JobType.REPOSITORY_PRUNE, repository.id, **command.fields)
    await tx.session.refresh(job)
    return job


async def unfreeze(tx: UnitOfWork, asking: Principal, command: Command) -> None:
    """Let a frozen repository be pruned again."""
    repository = await _locked(tx, command)
    if not repository.frozen_reason:
        raise Conflict(REPOSITORY_NOT_FROZEN())
    reason = command.fields["reason"]
    seen = [[one["code"], one.get("reason", "")] for one in repository.frozen_for] or repository.frozen_reason
    await _as_seen(tx, asking, command, _about(repository, reason), seen, APPROVAL_FREEZE_CHANGED)
    if any(cause["code"] == "repository_key_changed" for cause in repository.frozen_for):
        await tx.secrets.delete(repository_key(repository.id))  # the one that is there is taken for ours from now on
    repository.frozen_reason, repository.frozen_at, repository.frozen_for = "", None, []
    repository.proven_transaction = repository.rewritten_after = None  # what a person repaired by hand is ours now
    repository.unfrozen_by, repository.unfrozen_reason = asking.name, reason
    repository.unfrozen_at = await tx.session.scalar(select(db_now()))


async def accept_restored(tx: UnitOfWork, asking: Principal, command: Command) -> None:
    """Let prunes follow backups again after the database was restored."""
    repository = await _locked(tx, command)
    if not repository.restored_pending:
        raise Conflict(REPOSITORY_NOT_RESTORED())
    reason = command.fields["reason"]
    seen = repository.restored_at.isoformat() if repository.restored_at else ""
    await _as_seen(tx, asking, command, _about(repository, reason), seen, APPROVAL_RESTORE_CHANGED)
    repository.restored_accepted_by, repository.restored_accepted_reason = asking.name, reason
    repository.restored_accepted_at = await tx.session.scalar(select(db_now()))


async def confirm_retention(tx: UnitOfWork, asking: Principal, command: Command, given: Precondition = ANY) -> None:
    """Let prunes take what was imported: a release of all of it, which may need a second person."""
    identity = uuid.UUID(command.target)
    repository = await claimed(tx, Repository, identity, "repository", meant_for(given, command.version))
    about, reason = _about(repository, command.fields["reason"]), command.fields["reason"]
    refuse_to_write(repository.mode, JobType.REPOSITORY_PRUNE, repository.name)
    imported = (Archive.repository_id == repository.id, Archive.imported.is_(True))
    any_there = await tx.session.scalar(select(exists().where(*imported)))
    if not (repository.keeps_imported and any_there):
        raise Conflict(NOTHING_IMPORTED())
    await agreed(tx, asking, Command(command.kind, command.target, command.fields, repository.version), about)
    now, who = await tx.session.scalar(select(db_now())), asking.name
    repository.retention_confirmed_at, repository.retention_confirmed_by = now, who
    repository.retention_confirmed_reason = reason
    accepted = update(Archive).where(*imported, Archive.accepted_at.is_(None), Archive.trusted.is_(False))
    await tx.session.execute(accepted.values(accepted_at=now, accepted_by=who, accepted_reason=reason))


async def _as_seen(
    tx: UnitOfWork, asking: Principal, command: Command, about: About, seen: object, changed: Message
) -> None:
    """Ask for agreement to what there is now; what was agreed to is not done to anything else."""
    if asking.approval is not None and command.fields.get("seen") != seen:
        raise Outdated(changed())
    await agreed(tx, asking, Command(command.kind, command.target, {**command.fields, "seen": seen}), about)


async def _locked(tx: UnitOfWork, command: Command) -> Repository:
    found = await tx.session.get(Repository, uuid.UUID(command.target), with_for_update=True)
    return require(found, "repository")


def _about(repository: Repository, reason: str = "") -> About:
    return About("repositories", repository.name, repository.server_id, reason)


GUARDED: Actions = {
    Guarded.LOWER_RETENTION: define,
    Guarded.PASS_DELETION_LIMIT: prune,
    Guarded.UNFREEZE: unfreeze,
    Guarded.ACCEPT_RESTORED: accept_restored,
    Guarded.CONFIRM_RETENTION: confirm_retention,
}
"""What is done once another person has agreed."""
