"""Reads what a run needs, and refuses early what cannot work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from services.backup.node.pools import pools_of, was_made
from services.backup.ports import BackupPlan, Hooks, RepositoryPlace
from services.backup.truth.measures import read_measures
from services.backup.truth.reference import reference_of
from services.backup.window import window_of
from shared.borg.commands import CreateOptions
from shared.borg.environment import Endpoint
from shared.db.clock import read_now
from shared.db.stores.secrets import FLEET_KEY, repository_key, repository_passphrase
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.server import Server
from shared.db.tables.storage import Archive, BackupNode, Repository, StoragePool
from shared.domain.importing import KEYFILES
from shared.domain.names import repository_path
from shared.errors import Permanent
from shared.secrets.envelope import new_passphrase
from shared.ssh.port import Credentials, Target

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from services.backup.truth.reference import Reference
    from services.backup.window import Window
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork


async def load_plan(tx: UnitOfWork, job: Job) -> BackupPlan:
    """Read definition, server, repository, secrets and the last archive's figures."""
    query = (
        select(BackupJob, Server, StoragePool)
        .join(Server, Server.id == BackupJob.server_id)
        .join(Repository, Repository.id == BackupJob.repository_id)
        .join(StoragePool, StoragePool.id == Repository.pool_id)
        .where(BackupJob.id == job.backup_job_id)
    )
    row = (await tx.session.execute(query)).one_or_none()
    if row is None:
        message = "the backup job was deleted while this run was queued"
        raise Permanent(message, code="backup_job_missing", remedy="nothing to do")
    definition, server, pool = row
    window = await window_of(tx, job)
    endpoint = await _endpoint(tx, pool.node, definition.transport)
    return BackupPlan(
        job_id=job.id,
        backup_job_id=definition.id,
        backup_job=definition.name,
        target=reach_server(server),
        credentials=Credentials(private_key=await tx.secrets.get(FLEET_KEY)),
        repository=await load_repository(tx, definition.repository_id),
        options=_options(definition),
        transport=definition.transport,
        endpoint=endpoint,
        hooks=Hooks(definition.pre_hook, definition.post_hook, definition.hook_seconds),
        time_limit=_time_limit(definition.time_limit_seconds, window),
        window=window,
        reference=await load_reference(tx, definition.id, definition.sources),
        run=job.run,
        pools={str(one.id): (one.name, one.path) for one in await tx.session.scalars(select(StoragePool))},
    )


async def load_repository(tx: UnitOfWork, repository_id: uuid.UUID) -> RepositoryPlace:
    """Read where a repository lies and its passphrase; the passphrase is made when it is first needed."""
    query = (
        select(Repository, Server, StoragePool)
        .join(Server, Server.id == Repository.server_id)
        .join(StoragePool, StoragePool.id == Repository.pool_id)
        .where(Repository.id == repository_id)
    )
    repository, server, pool = (await tx.session.execute(query)).one()
    passphrase = await tx.secrets.ensure(repository_passphrase(repository.id), new_passphrase)
    imported = repository.imported_at is not None
    own = select(Archive.id).where(Archive.repository_id == repository.id, Archive.imported.is_(False)).limit(1)
    return RepositoryPlace(
        id=repository.id,
        server_id=server.id,
        path=repository.path if imported else repository_path(pool.path, server.name, repository.name),
        encryption=repository.encryption,
        passphrase=passphrase,
        label=f"{server.name}/{repository.name}",
        compact_threshold=repository.compact_threshold_percent,
        quota=repository.quota_bytes,
        pool=(await pools_of(tx.session, pool.id))[0],
        borg_id=repository.borg_id,
        made=bool(await tx.session.scalar(select(Repository.id).where(Repository.id == repository.id, was_made()))),
        imported=imported,
        read_only=repository.read_only,
        key=await tx.secrets.get(repository_key(repository.id)) if repository.encryption in KEYFILES else "",
        taken_over=imported and await tx.session.scalar(own) is None,
    )


def reach_server(server: Server) -> Target:
    """Return how a server is reached; Permanent where it is not set up."""
    if server.host_key is None:
        message = f"the host key of {server.name} is not approved"
        raise Permanent(message, code="host_key_unknown", remedy="run the server's set-up and approve its host key")
    if server.state != "ready":
        message = f"{server.name} is not set up (state: {server.state})"
        raise Permanent(message, code="server_not_ready", remedy="run the server's set-up")
    sudo = server.facts.get("privilege") == "sudo"
    return Target(server.name, server.host, server.port, server.username, server.host_key, sudo)


async def _endpoint(tx: UnitOfWork, node_name: str, transport: str) -> Endpoint:
    node = await tx.session.get(BackupNode, node_name)
    if node is None or (transport == "direct" and node.endpoint_host_key is None):
        message = f"the backup node {node_name} has no storage endpoint"
        raise Permanent(message, code="no_endpoint", remedy="give the node a storage sshd, or use the tunnel transport")
    return Endpoint(node.name, node.endpoint_host, node.endpoint_port, node.endpoint_user)


def _options(definition: BackupJob) -> CreateOptions:
    return CreateOptions(
        sources=definition.sources,
        excludes=definition.excludes,
        patterns=definition.patterns,
        compression=definition.compression,
        one_file_system=definition.one_file_system,
        exclude_caches=definition.exclude_caches,
        upload_limit_kib=definition.upload_limit_kib,
    )


async def load_reference(
    tx: UnitOfWork, backup_job_id: uuid.UUID, sources: Sequence[str] | None = None
) -> Reference | None:
    """Return what a run of a backup job with these sources is held against; None if there is nothing yet."""
    good, trusted = await read_measures(tx, backup_job_id)
    return reference_of(good, now=await read_now(tx.session), sources=sources, trusted=trusted)


async def backup_job_named(tx: UnitOfWork, name: str | None) -> BackupJob:
    """Find the backup job an outside publisher named; Permanent, with the reason, if it cannot be run."""
    if name is None:
        message = "neither job_id nor backup_job is given"
        raise Permanent(message, code="backup_job_missing", remedy='publish {"backup_job": "<name>"}')
    definition = await tx.session.scalar(select(BackupJob).where(BackupJob.name == name))
    if definition is None:
        message = f"no backup job is named {name}"
        raise Permanent(message, code="backup_job_unknown", remedy="GET /api/backup-jobs lists the names")
    if not definition.enabled:
        message = f"the backup job {name} is switched off"
        raise Permanent(message, code="backup_job_disabled", remedy="POST /api/backup-jobs/{id}/toggle switches it on")
    return definition


def _time_limit(seconds: int | None, window: Window) -> int | None:
    """Return the seconds a run may take: its own limit or what is left of its window, whichever is less."""
    limits = [seconds, None if window.seconds_left is None else int(window.seconds_left)]
    return min((limit for limit in limits if limit), default=None)
