"""What keeps the backups of a backup job for less time: what may need a second person."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from services.api.features.backup_jobs.places import check_place
from services.api.features.backup_jobs.schemas import BackupJobIn
from services.api.kernel.etag import ANY, Precondition, meant_for
from services.api.kernel.scheduling import Owner, replace_schedules
from services.api.kernel.versions import claimed
from services.api.security.approvals import agreed
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.storage import Repository
from shared.domain.four_eyes import About, Command, Guarded, lowers

if TYPE_CHECKING:
    from services.api.kernel.principal import Principal
    from services.api.security.approvals import Actions
    from shared.db.unit_of_work import UnitOfWork


def definition_command(backup_job_id: uuid.UUID, body: BackupJobIn) -> Command:
    """Return what gives a backup job this definition."""
    fields = body.model_dump(mode="json", exclude={"version"})
    return Command(Guarded.LOWER_JOB_RETENTION, str(backup_job_id), fields)


async def define(tx: UnitOfWork, asking: Principal, command: Command, given: Precondition = ANY) -> BackupJob:
    """Replace a backup job's definition; where its backups would be kept for less time it may need a second person."""
    definition = await _claimed(tx, command, given)
    body = BackupJobIn.model_validate(dict(command.fields))
    await check_place(tx, body)
    moves = body.repository_id != definition.repository_id  # then its backups go by their repository alone
    await _agreed(tx, asking, command, definition, None if moves else body.retention)
    if moves:
        # Those that it made there before go by what it brings along.
        there = (await tx.session.get_one(Repository, body.repository_id)).retention or None
        if lowers(there, body.retention or there):
            await _ask(tx, asking, command, definition)
    for name, value in body.model_dump(exclude={"schedules"}).items():
        setattr(definition, name, value)
    await tx.session.flush()
    if body.schedules is not None:
        await replace_schedules(tx, Owner(backup_job_id=definition.id, name=definition.name), body.schedules)
    return definition


async def delete(tx: UnitOfWork, asking: Principal, command: Command, given: Precondition = ANY) -> None:
    """Delete a backup job; where its repository keeps less than it did, that may need a second person."""
    definition = await _claimed(tx, command, given)
    await _agreed(tx, asking, command, definition, None)
    await tx.session.delete(definition)


async def _claimed(tx: UnitOfWork, command: Command, given: Precondition) -> BackupJob:
    precondition = meant_for(given, command.version)
    return await claimed(tx, BackupJob, uuid.UUID(command.target), "backup job", precondition)


async def _agreed(tx: UnitOfWork, asking: Principal, command: Command, definition: BackupJob, own: object) -> None:
    repository = await tx.session.get_one(Repository, definition.repository_id)
    common = repository.retention or None
    if lowers(definition.retention or common, own or common):
        await _ask(tx, asking, command, definition)


async def _ask(tx: UnitOfWork, asking: Principal, command: Command, definition: BackupJob) -> None:
    kept = Command(command.kind, command.target, command.fields, definition.version)
    await agreed(tx, asking, kept, About("backup-jobs", definition.name, definition.server_id))


GUARDED: Actions = {Guarded.LOWER_JOB_RETENTION: define, Guarded.DELETE_JOB: delete}
"""What is done once another person has agreed."""
