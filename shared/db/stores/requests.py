"""Requests for work: one function a kind of job, the same for the API and for outside events."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from shared.db.clock import read_now
from shared.db.stores.jobs import takes_turns
from shared.db.stores.secrets import import_key, import_passphrase
from shared.db.tables.job import Job
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository, StoragePool
from shared.domain.importing import is_barred
from shared.domain.job import TERMINAL, JobState, JobType
from shared.domain.job_kinds import MOVES
from shared.domain.messages.backups import UNDO_BUSY, UNDO_DONE, UNDO_NO_SWAP, UNDO_NOTHING, UNDO_SERVER_GONE
from shared.domain.messages.importing import REPOSITORY_READ_ONLY
from shared.domain.restoring import CONFIRMED
from shared.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.db.tables.backup_job import BackupJob
    from shared.db.tables.storage import Archive
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.importing import ImportAsked, ImportSecrets

_TITLE = 200
_AFTER_TROUBLE = timedelta(hours=6)
"""What did not end well found something that time alone may not mend: it is not repeated each minute."""
_TROUBLE = TERMINAL - {JobState.SUCCEEDED}

AFTER_BACKUP = "prune-after:"
"""How the request key of a prune begins that nobody asked for: it follows a good backup."""


async def request_backup(tx: UnitOfWork, backup_job: BackupJob, *, request_key: str | None = None) -> Job:
    """Queue a run of a backup job, on the node that holds its repository."""
    job = Job(type=JobType.BACKUP_CREATE.value, backup_job_id=backup_job.id, request_key=request_key)
    job.priority, job.params = backup_job.priority, retries_of(backup_job)
    return await _enqueue_on_node(tx, job, backup_job.repository_id)


def retries_of(backup_job: BackupJob) -> dict[str, Any]:
    """Return, for a run's parameters, how often it is tried again and after how long."""
    own = {"max_failures": backup_job.max_failures, "retry_seconds": backup_job.retry_seconds}
    return {name: value for name, value in own.items() if value is not None}


async def request_delete(tx: UnitOfWork, archive: Archive, *, request_key: str | None = None) -> Job:
    """Queue the deletion of an archive, on the node that holds it."""
    job = Job(type=JobType.ARCHIVE_DELETE.value, archive_id=archive.id, request_key=request_key)
    return await _enqueue_on_node(tx, job, archive.repository_id)


async def request_restore(
    tx: UnitOfWork, archive: Archive, params: dict[str, Any] | None = None, *, request_key: str | None = None
) -> Job:
    """Queue the restore of an archive, on the node that holds it; `params`: of `RestoreAsked`.

    Conflict where it would move names that an undo is giving back.
    """
    job = Job(type=JobType.ARCHIVE_RESTORE.value, archive_id=archive.id, request_key=request_key, params=params or {})
    await _enqueue_on_node(tx, job, archive.repository_id)
    await refuse_amid_moves(tx, job)
    return job


async def request_undo(tx: UnitOfWork, restore: Job, *, request_key: str | None = None) -> Job:
    """Queue the undo of a restore that swapped; Conflict where it cannot be undone now."""
    swap_noted(restore)
    server_id = moved_on(restore)
    job = Job(type=JobType.RESTORE_UNDO.value, request_key=request_key, title=restore.title)
    job.server_id, job.repository_id, job.archive_id = restore.server_id, restore.repository_id, restore.archive_id
    job.params = {"restore_id": str(restore.id), "target_server_id": str(server_id)}
    known = await _locked(tx, server_id)
    await tx.session.refresh(restore)
    noted = swap_noted(restore)
    if known is None:
        raise Conflict(UNDO_SERVER_GONE())
    await refuse_amid_moves(tx, job)
    if not noted.get("possible"):
        raise Conflict(UNDO_NOTHING())
    await tx.jobs.enqueue(job)
    return job


async def refuse_amid_moves(tx: UnitOfWork, job: Job) -> None:
    """Conflict where a job is to change names on a server while an undo does, or is to undo while anything does."""
    if job.type == JobType.RESTORE_UNDO.value:
        others: Sequence[str] = tuple(MOVES)
    elif job.type == JobType.ARCHIVE_RESTORE.value and job.params.get("mode") in CONFIRMED:
        others = (JobType.RESTORE_UNDO.value,)
    else:
        return
    if job.params.get("preview"):
        return
    server_id = moved_on(job)
    name = await _locked(tx, server_id)
    if (busy := await _moving(tx, server_id, others, but=job.id)) is not None:
        raise Conflict(UNDO_BUSY(server=name, job=busy))


def moved_on(job: Job) -> uuid.UUID:
    """Return the server on which a restore or its undo changes something."""
    return uuid.UUID(job.params.get("target_server_id") or str(job.server_id))


async def _locked(tx: UnitOfWork, server_id: uuid.UUID) -> str | None:
    """Return a server's name, locked: of two who ask at the same time the second one finds the first one's job.

    By Core, for it is the state of things that counts, and not what whoever asks may see.
    """
    server = select(Server.__table__.c.name).where(Server.__table__.c.id == server_id).with_for_update()
    return (await tx.session.execute(server)).scalar()


def swap_noted(restore: Job) -> dict[str, Any]:
    """Return what a restore noted of its swap, which may be nothing; Conflict if it did not swap, or is undone."""
    if restore.type != JobType.ARCHIVE_RESTORE.value or restore.params.get("mode") != "swap":
        raise Conflict(UNDO_NO_SWAP())
    noted: dict[str, Any] = (restore.result or {}).get("undo") or {}
    if noted.get("job_id"):
        raise Conflict(UNDO_DONE(job=noted["job_id"]))
    return noted


async def _moving(
    tx: UnitOfWork, server_id: uuid.UUID, types: Sequence[str], *, but: uuid.UUID | None
) -> uuid.UUID | None:
    """Return another job of these types that moves, or is to move, things on a server."""
    jobs = Job.__table__.c
    query = select(jobs.id, jobs.server_id, jobs.params).where(
        jobs.state.in_((JobState.QUEUED.value, JobState.RUNNING.value)), jobs.type.in_(types)
    )
    for job_id, own, params in await tx.session.execute(query):
        there = params.get("target_server_id") or str(own)
        if job_id != but and not params.get("preview") and there == str(server_id):
            return job_id
    return None


async def request_maintenance(
    tx: UnitOfWork, kind: JobType, repository_id: uuid.UUID, /, *, request_key: str | None = None, **params: Any
) -> Job:
    """Queue a prune, a compaction or a check of a repository, on the node that holds it."""
    job = Job(type=kind.value, request_key=request_key, params=params)
    return await _enqueue_on_node(tx, job, repository_id)


async def request_upkeep(
    tx: UnitOfWork, kind: JobType, repository_id: uuid.UUID, trouble: frozenset[JobState] = _TROUBLE
) -> None:
    """Queue what a node does by itself for a repository, unless one waits or runs, or ended in trouble not long ago."""
    mine = (Job.type == kind.value, Job.repository_id == repository_id)
    query = select(Job.state, Job.finished_at).where(*mine).order_by(Job.created_at.desc()).limit(1)
    last = (await tx.session.execute(query)).one_or_none()
    if last is not None:
        state, ended = JobState(last[0]), last[1]
        if state not in TERMINAL:
            return
        if state in trouble and ended and ended > await read_now(tx.session) - _AFTER_TROUBLE:
            return
    await request_maintenance(tx, kind, repository_id)


async def request_setup(tx: UnitOfWork, server: Server, *, request_key: str | None = None) -> Job:
    """Queue the set-up of a server."""
    job = Job(type=JobType.SERVER_SETUP.value, title=server.name, server_id=server.id, request_key=request_key)
    await tx.jobs.enqueue(job)
    return job


async def request_collect(tx: UnitOfWork, servers: Sequence[Server] | None, *, request_key: str | None = None) -> Job:
    """Queue a look at one server, at a set of them, or (None) at all."""
    job = Job(type=JobType.STATS_COLLECT.value, title="all servers", request_key=request_key, params={})
    if servers is not None and len(servers) == 1:
        job.server_id, job.title = servers[0].id, servers[0].name
    elif servers is not None:
        job.params, job.title = {"servers": [str(server.id) for server in servers]}, f"{len(servers)} servers"
    await tx.jobs.enqueue(job)
    return job


async def request_import(tx: UnitOfWork, asked: ImportAsked, secrets: ImportSecrets, *, by: str) -> Job:
    """Queue the import of a repository that plain borg made, on the node of its pool; its secrets are sealed."""
    pool, server = await tx.session.get_one(StoragePool, asked.pool_id), await tx.session.get_one(
        Server, asked.server_id)  # fmt: skip
    params = asked.model_dump(mode="json") | {"by": by}
    job = Job(type=JobType.REPOSITORY_IMPORT.value, title=f"{server.name} - {asked.path}"[:_TITLE], params=params)
    job.node, job.server_id = pool.node, server.id
    await tx.jobs.enqueue(job)
    await tx.secrets.put(import_passphrase(job.id), secrets.passphrase)
    if secrets.keyfile:
        await tx.secrets.put(import_key(job.id), secrets.keyfile)
    return job


def refuse_to_write(mode: str, kind: str, label: str) -> None:
    """Conflict where a kind of job would write to a repository that is read only: the one place that refuses it."""
    if is_barred(mode, kind):
        raise Conflict(REPOSITORY_READ_ONLY(repository=label))


async def request_self_backup(tx: UnitOfWork, pool: StoragePool, *, request_key: str | None = None) -> Job:
    """Queue a backup of Borgfleet itself into a pool, on the node that holds that."""
    job = Job(type=JobType.SELF_BACKUP.value, title="Borgfleet itself", node=pool.node, request_key=request_key)
    job.params = {"pool_id": str(pool.id)}
    await tx.jobs.enqueue(job)
    return job


async def requested_before(tx: UnitOfWork, request_key: str) -> bool:
    """Tell whether this very request was met already."""
    return await tx.session.scalar(select(Job.id).where(Job.request_key == request_key)) is not None


async def _enqueue_on_node(tx: UnitOfWork, job: Job, repository_id: uuid.UUID) -> Job:
    query = (
        select(Server.id, Server.name, Repository.name, Repository.mode, StoragePool.node)
        .join(Repository, Repository.server_id == Server.id)
        .join(StoragePool, StoragePool.id == Repository.pool_id)
        .where(Repository.id == repository_id)
    )
    server_id, server, repository, mode, node = (await tx.session.execute(query)).one()
    job.title = f"{server} - {repository}"
    refuse_to_write(mode, job.type, f"{server}/{repository}")
    job.node, job.server_id, job.repository_id = node, server_id, repository_id
    await tx.jobs.enqueue(job)
    if takes_turns(job):
        await tx.admission.admit()
    return job
