"""Makes one backup of Borgfleet itself. The master key is never in it: that is what the recovery kit is for."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from services.backup.node.apart import apart
from services.backup.node.leaves import extending
from services.backup.node.pools import pools_of, require_place
from services.backup.ports import RepositoryPlace
from shared.borg import commands
from shared.borg.entries import Entry, EntryReader
from shared.db.clock import read_now
from shared.db.engines import Link
from shared.db.stores.requests import request_self_backup, requested_before
from shared.db.stores.secrets import repository_key, repository_passphrase
from shared.db.tables.storage import Repository, StoragePool
from shared.domain.job import JobState
from shared.domain.messages.recovery_kit import (
    OWN_INCOMPLETE,
    OWN_KEY_CHANGED,
    OWN_NOT_LISTED,
    OWN_PLACE_TAKEN,
    OWN_POOL_UNKNOWN,
)
from shared.errors import Permanent, Transient
from shared.kit.dump import dump, kind_of
from shared.kit.own import ENCRYPTION, chosen_pool, own_in
from shared.secrets.envelope import new_passphrase
from shared.tls import Certificates

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime

    from services.backup.node.storage import NodeStorage
    from shared.borg.node import BorgNode, Grant
    from shared.borg.output import Listed
    from shared.config.settings import Settings
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.events.itself import SelfBackup
    from shared.runtime.context import Context

_ROOM = "self-backup"
_HOST_KEYS = "ssh_host_*"
ABOUT = "about.json"
FORMAT = 1
_DISK_SECONDS = 120.0
"""For so long the state directory's disk may give no answer."""


@dataclass(frozen=True, slots=True)
class Itself:
    """What is backed up, and by what."""

    settings: Settings
    node: BorgNode
    storage: NodeStorage


async def back_up_itself(event: SelfBackup, ctx: Context, *, itself: Itself) -> None:
    """Claim the job, copy, back up, see that it is there, record it; an outside request is first made a job."""
    if event.job_id is None:
        await ctx.run(lambda tx: _accept(tx, ctx.key, itself.settings.self_backup.pool))
        return
    job = await ctx.claim(event.job_id)
    if job is None:
        return

    place, key = await ctx.run(lambda tx: _load(tx, job))
    ctx.progress("preparing the repository")
    epoch = await ctx.hold(place.lease, place.label, on_beat=extending(ctx, itself.storage, place))
    await require_place(ctx, itself.storage, place)
    async with itself.storage.open(place, epoch) as grant:
        await itself.storage.ensure(place, grant)
        await _keep_key(ctx, itself, place, key)
        name = await _made(ctx, itself, place, grant, job)
        deleted = await _tidied(ctx, itself, place, grant, name)
    result = {"archive": name, "repository": place.path, "deleted": deleted}
    await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED, result=result))


async def _accept(tx: UnitOfWork, key: str, name: str) -> None:
    if await requested_before(tx, key):
        return
    pool = await chosen_pool(tx.session, name)
    if pool is None:
        raise Permanent(OWN_POOL_UNKNOWN(pool=name or None))
    await request_self_backup(tx, pool, request_key=key)


async def _load(tx: UnitOfWork, job: Job) -> tuple[RepositoryPlace, str | None]:
    """Return where it goes, and the key that the repository has to have; None as long as it was never made."""
    pool = await tx.session.get(StoragePool, uuid.UUID(str(job.params.get("pool_id"))))
    if pool is None:
        raise Permanent(OWN_POOL_UNKNOWN())
    own = own_in(pool)
    if await tx.session.scalar(select(Repository.id).where(Repository.path == own.path)) is not None:
        raise Permanent(OWN_PLACE_TAKEN(path=own.path))
    passphrase = await tx.secrets.ensure(repository_passphrase(own.id), new_passphrase)
    key = await tx.secrets.find(repository_key(own.id))
    (known,) = await pools_of(tx.session, pool.id)
    place = RepositoryPlace(
        id=own.id,
        server_id=own.id,
        path=own.path,
        encryption=ENCRYPTION,
        passphrase=passphrase,
        label="Borgfleet itself",
        to_server=False,
        pool=known,
        borg_id=key.split()[1] if key else None,
        made=key is not None,
    )
    return place, key


async def _keep_key(ctx: Context, itself: Itself, place: RepositoryPlace, recorded: str | None) -> None:
    """Keep the key of a repository that was just made; refuse one whose key is another one."""
    found = await itself.storage.key(place)
    if recorded is None:
        await ctx.run(lambda tx: tx.secrets.put(repository_key(place.id), found or ""))
    elif found != recorded:
        raise Permanent(OWN_KEY_CHANGED(path=place.path))


async def _made(ctx: Context, itself: Itself, place: RepositoryPlace, grant: Grant, job: Job) -> str:
    """Make an archive and see that the repository lists it; return its name."""
    now = await ctx.run(lambda tx: read_now(tx.session))
    name = f"borgfleet-{now:%Y-%m-%dT%H%M%SZ}-{job.id.hex[-12:]}"
    async with _staged(itself.settings) as directory:
        ctx.progress("copying the database")
        await _copy(ctx, itself.settings, directory, now)
        ctx.progress("backing up")
        options = commands.CreateOptions([str(directory)], exclude_caches=False)
        argv = commands.create(itself.node.borg, place.path, name, options)
        await itself.node.run(grant, argv, passphrase=place.passphrase)
        ctx.progress("verifying")
        made = next((one for one in await itself.storage.archives(place, grant) if one.name == name), None)
        if made is None:
            raise Permanent(OWN_NOT_LISTED(archive=name))
        if lacking := await _lacking(itself, place, grant, name, directory):
            await itself.storage.delete(place, grant, name, made.borg_id)  # else `recover` would take it: the newest
            raise Transient(OWN_INCOMPLETE(archive=name, files=", ".join(lacking)))
    return name


async def _lacking(itself: Itself, place: RepositoryPlace, grant: Grant, name: str, directory: Path) -> list[str]:
    """Return what an archive lacks of the directory, or has in another length: borg only warns of that."""
    held: dict[str, int] = {}

    def keep(entry: Entry) -> None:
        held[f"/{os.fsdecode(entry.path)}"] = entry.size

    reader = EntryReader(keep)
    await itself.storage.entries(place, grant, name, reader)
    reader.close()
    meant = await apart(lambda: {str(one): one.stat().st_size for one in directory.iterdir()}, _DISK_SECONDS, _ROOM)
    lacking = sorted(Path(path).name for path, size in meant.items() if held.get(path) != size)
    return lacking or ([] if str(directory / ABOUT) in meant else [ABOUT])


@contextlib.asynccontextmanager
async def _staged(settings: Settings) -> AsyncGenerator[Path]:
    """Give a directory of its own for what is copied, for nobody else to read; what killed runs left goes with it."""
    room = settings.state_dir / _ROOM

    def made() -> Path:
        # A run that lost its lease and goes on all the same loses its files here, and fails by `_require_whole`.
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=room))

    own = await apart(made, _DISK_SECONDS, _ROOM)

    def removed() -> None:
        shutil.rmtree(own, ignore_errors=True)
        with contextlib.suppress(OSError):  # the next run's is in it
            room.rmdir()

    try:
        yield own
    finally:
        await apart(removed, _DISK_SECONDS, _ROOM)


async def _copy(ctx: Context, settings: Settings, directory: Path, now: datetime) -> None:
    """Copy the database, and what else a new machine needs; not the master key."""
    url, database = settings.database_url(), settings.database
    certificates = Certificates(database.ca_file, database.cert_file, database.key_file)
    await dump(url, Link(certificates if database.encrypted else None), directory)
    async with ctx.db.read() as session:
        revisions = sorted(await session.scalars(text("SELECT version_num FROM alembic_version")))
    about: dict[str, Any] = {
        "format": FORMAT,
        "database": kind_of(url),
        "revisions": revisions,
        "version": version("borgfleet"),
        "made_at": now.isoformat(),
        "node": settings.backup.node,
    }
    await apart(lambda: _put_beside(settings, directory, about), _DISK_SECONDS, _ROOM)


def _put_beside(settings: Settings, directory: Path, about: dict[str, Any]) -> None:
    """Put beside the dump what a new machine needs to be the old one; blocking."""
    (directory / ABOUT).write_text(json.dumps(about, indent=2))
    (directory / "settings.json").write_text(json.dumps(settings.redacted(), indent=2))
    for source in (*sorted((settings.data_dir / "sshd").glob(_HOST_KEYS)), settings.state_dir / "host-id"):
        if source.is_file():
            shutil.copy2(source, directory / source.name)


async def _tidied(ctx: Context, itself: Itself, place: RepositoryPlace, grant: Grant, newest: str) -> int:
    """Delete the oldest ones beyond how many are kept, never the newest; return how many went."""
    listed: list[Listed] = await itself.storage.archives(place, grant)
    ours = sorted((one for one in listed if one.name.startswith("borgfleet-")), key=lambda one: one.name)
    going = [one for one in ours[: -itself.settings.self_backup.keep] if one.name != newest]
    if not going:
        return 0
    ctx.progress("deleting")
    for one in going:
        await itself.storage.delete(place, grant, one.name, one.borg_id)
    await itself.storage.compact(place, grant)
    return len(going)
