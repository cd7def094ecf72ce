"""Reads what a restore needs, and refuses early what cannot work."""

from __future__ import annotations

import base64
import os
import posixpath
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy import select

from services.backup.plan import load_repository, reach_server
from services.backup.ports import RepositoryPlace
from shared.db.stores.secrets import FLEET_KEY
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.server import Server
from shared.db.tables.storage import Archive, StoragePool
from shared.domain.restoring import RestoreAsked
from shared.errors import Permanent
from shared.ssh.port import Credentials, Target

if TYPE_CHECKING:
    import uuid

    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork

_DEFAULT_PARENT = "/var/restore/borgfleet"


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """All that one restore needs, read in one transaction."""

    job_id: uuid.UUID
    run: int
    archive_id: uuid.UUID
    backup_job_id: uuid.UUID | None
    archive: str
    borg_id: str
    damage: str
    repository: RepositoryPlace
    server_id: uuid.UUID
    target: Target
    credentials: Credentials
    asked: RestoreAsked
    path: str
    """Where it goes; what goes to where it was has its staging directory here, and is placed from it."""
    stamp: str
    """When it was asked for: part of new names, the same in each attempt."""
    by_id: bool = False
    """Plain borg made the archive: its name is not looked at."""
    sources_of: tuple[str, ...] = ()
    """Backup jobs that back the place up."""
    placed: dict[str, Any] = field(default_factory=dict[str, Any])
    """What an earlier attempt has placed already, as it is to be told."""

    @property
    def parent(self) -> str:
        """The directory that is to hold the place."""
        return posixpath.dirname(self.path)

    @property
    def name(self) -> str:
        """The place's own name there."""
        return posixpath.basename(self.path)

    @property
    def top(self) -> bytes:
        """The directory of the archive that becomes the place; empty: all of it does."""
        return self.asked.top

    @property
    def told(self) -> str:
        """The place as people know it."""
        return self.parent if self.asked.in_place else self.path

    def below_top(self, path: bytes) -> bytes:
        """Return a path of the archive as it stands below the directory that holds all of what was chosen."""
        return path[len(self.top) + 1 :] if self.top else path

    def placing(self) -> dict[str, Any]:
        """Return the plan of `placer.py`."""
        items = [self.below_top(path) for path in self.asked.paths]
        return {
            "mode": self.asked.mode, "existing": self.asked.existing, "stamp": self.stamp,
            "previous": f"previous-{self.run}" if self.run else "previous",
            "top": base64.b64encode(self.top).decode(),
            "items": [base64.b64encode(item).decode() for item in items],
        }  # fmt: skip

    def chosen(self, *, full: bool, count: bool) -> dict[str, Any]:
        """Return the plan of `export_archive.py`."""
        parents = {b"/".join(path.split(b"/")[:n]) for path in self.asked.paths for n in range(1, path.count(b"/") + 1)}
        return {
            "name": self.archive, "id": self.borg_id, "by_id": self.by_id, "items": self.asked.items, "full": full,
            "count": count, "parents": [base64.b64encode(path).decode() for path in sorted(parents)],
        }  # fmt: skip


async def place_to_restore(tx: UnitOfWork, job: Job) -> RepositoryPlace:
    """Return where the archive lies."""
    archive = await _archive(tx, job)
    return replace(await load_repository(tx, archive.repository_id), to_server=False)


async def load_restore(tx: UnitOfWork, job: Job, place: RepositoryPlace) -> RestorePlan:
    """Read archive, server and what is asked for."""
    archive = await _archive(tx, job)
    asked = _asked(job)
    server = await tx.session.get(Server, asked.target_server_id or archive.server_id)
    if server is None:
        message = "the server that this was to be restored to was removed"
        raise Permanent(message, code="server_unknown", remedy="restore to another server")
    path = asked.target_path or f"{_DEFAULT_PARENT}/{archive.started_at:%Y-%m-%dT%H%M%SZ}-{job.id.hex}"
    if asked.in_place:
        path = posixpath.join("/", os.fsdecode(asked.top), f".borgfleet-restore-{job.id.hex}")
    for one in [f"/{os.fsdecode(item)}" for item in asked.paths] if asked.in_place else [path]:
        await _refuse_pools(tx, server, one)
    return RestorePlan(
        job_id=job.id,
        run=job.run,
        archive_id=archive.id,
        backup_job_id=archive.backup_job_id,
        archive=archive.name,
        by_id=archive.imported,
        borg_id=archive.borg_id or "",
        damage=archive.damage,
        repository=place,
        server_id=server.id,
        target=reach_server(server),
        credentials=Credentials(private_key=await tx.secrets.get(FLEET_KEY)),
        asked=asked,
        path=path,
        stamp=f"{job.created_at:%Y%m%dT%H%M%SZ}",
        sources_of=() if asked.in_place else await _backed_up_by(tx, server, path),
        placed=(job.result or {}).get("placed_in", {}).get(str(job.run), {}),
    )


async def _backed_up_by(tx: UnitOfWork, server: Server, path: str) -> tuple[str, ...]:
    """Name the backup jobs of a server that would back up what is restored there."""
    jobs = await tx.session.scalars(select(BackupJob).where(BackupJob.server_id == server.id).order_by(BackupJob.name))
    return tuple(
        one.name
        for one in jobs
        if any(path == source or path.startswith(source.rstrip("/") + "/") for source in one.sources)
    )


async def _archive(tx: UnitOfWork, job: Job) -> Archive:
    archive = await tx.session.get(Archive, job.archive_id)
    if archive is None or archive.borg_id is None or archive.missing:
        message = "the backup was deleted, or is missing from its repository"
        raise Permanent(message, code="archive_missing", remedy="choose another backup")
    return archive


def _asked(job: Job) -> RestoreAsked:
    try:
        return RestoreAsked.model_validate(job.params)
    except ValidationError as error:
        message = f"the parameters of this restore make no sense: {error.errors()[0]['msg']}"
        raise Permanent(message, code="job_params_invalid", remedy="ask for the restore anew") from error


async def _refuse_pools(tx: UnitOfWork, server: Server, path: str) -> None:
    """Let nothing be restored into a storage pool: a server may be the very machine that holds one."""
    for pool in await tx.session.scalars(select(StoragePool)):
        inside = path == pool.path or path.startswith(f"{pool.path}/")
        if inside and server.host in ("127.0.0.1", "::1", "localhost"):
            message = f"{path} lies in the storage pool {pool.name}"
            raise Permanent(message, code="target_inside_pool", remedy="restore to another path")
