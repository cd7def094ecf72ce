"""A storage pool carries a mark with its id: without it the disk is not mounted, and nothing is made or run there."""

from __future__ import annotations

import contextlib
import os
import uuid
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, exists, or_, select, update

from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive, Repository, StoragePool
from shared.domain.text import clean
from shared.errors import Permanent, Transient

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy.ext.asyncio import AsyncSession

    from services.backup.ports import RepositoryPlace, Storage
    from shared.borg.node import Grant
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context

MARK = ".borgfleet-pool"
_MOST_KNOWN = 50
_TEXT = "{id}\nThis directory is a storage pool of Borgfleet. Without this file its disk is taken for unmounted.\n"


@dataclass(frozen=True, slots=True)
class PoolPlace:
    """A storage pool as its node sees it."""

    id: uuid.UUID
    name: str
    path: str
    marked: bool
    """Its mark was written or found once: from then on it must be there."""
    known: tuple[str, ...] = ()
    """Where repositories were made in it, some of many; asked for as long as it has no mark."""


async def pools_of(session: AsyncSession, *which: uuid.UUID, node: str | None = None) -> list[PoolPlace]:
    """Read pools, by id or all of a node."""
    query = select(StoragePool).where(StoragePool.node == node if node is not None else StoragePool.id.in_(which))
    pools = list(await session.scalars(query))
    return [
        PoolPlace(pool.id, pool.name, pool.path, pool.marked_at is not None, await _known(session, pool))
        for pool in pools
    ]


async def _known(session: AsyncSession, pool: StoragePool) -> tuple[str, ...]:
    if pool.marked_at is not None:
        return ()
    query = select(Repository.path).where(Repository.pool_id == pool.id, was_made()).limit(_MOST_KNOWN)
    return tuple(await session.scalars(query))


def was_made() -> ColumnElement[bool]:
    """Select the repositories that borg made once."""
    return or_(Repository.borg_id.is_not(None), exists().where(Archive.repository_id == Repository.id))


def claim_pool(pool: PoolPlace) -> None:
    """Make sure that a pool's directory is the pool and not what lies under its mount point; blocking.

    A pool that never had a mark gets it: a new one, or one of an older version if its repositories are there.
    """
    path = Path(pool.path)
    with told(pool):
        if not path.is_dir():
            message = f"{path} is not a directory on this node"
            raise Permanent(message, code="pool_missing", remedy="mount or create it; it is never made on its own")
        found = read_mark(path)
        if found is None and not pool.marked and (not pool.known or any(map(borg_id_of, pool.known))):
            _write_mark(path, pool.id)
            return
    if found != str(pool.id):
        raise _not_mounted(pool, found)


@contextlib.contextmanager
def told(pool: PoolPlace) -> Generator[None]:
    """Tell an error of the file system as one of the pool."""
    try:
        yield
    except OSError as error:
        message = (
            f"the storage pool {pool.name} cannot be used: {error.strerror or error} at {error.filename or pool.path}"
        )
        remedy = "look at the disk, and at the rights of the directory"
        raise Permanent(message, code="pool_unusable", remedy=remedy) from error


def _not_mounted(pool: PoolPlace, found: str | None) -> Permanent:
    if found is None:
        message = f"the storage pool {pool.name} is not mounted: {pool.path} has no {MARK}"
        remedy = f"mount its disk at {pool.path}; docs/operations/running.md says what else it may be"
    else:
        message = f"{pool.path} is not the storage pool {pool.name}: its {MARK} names another pool, {clean(found, 50)}"
        remedy = f"mount the right disk; if it is the right one, write {pool.id} into {pool.path}/{MARK}"
    return Permanent(message, code="pool_not_mounted", remedy=remedy)


def read_mark(pool: Path) -> str | None:
    """Return the id in a pool's mark; None where there is no mark."""
    try:
        words = (pool / MARK).read_bytes()[:200].split()
    except FileNotFoundError:
        return None
    return words[0].decode(errors="replace") if words else "nothing"


def _write_mark(pool: Path, pool_id: uuid.UUID) -> None:
    """Write it in one step: a mark that is half there would keep the pool from being used."""
    temporary = pool / f"{MARK}.{uuid.uuid4().hex}"  # a run and the measuring may both be the first, at once
    with temporary.open("w") as file:
        file.write(_TEXT.format(id=pool_id))
        file.flush()
        os.fsync(file.fileno())
    temporary.chmod(0o644)
    temporary.replace(pool / MARK)
    sync_directory(pool)


def sync_directory(path: Path) -> None:
    """Let the names in a directory outlive a power failure."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def borg_id_of(repository: str) -> str | None:
    """Return the id in a repository's configuration; None where there is no repository."""
    config = ConfigParser(interpolation=None)
    try:
        text = (Path(repository) / "config").read_text(errors="replace")
        config.read_string(text)
    except (FileNotFoundError, NotADirectoryError, ConfigError):
        return None
    return config.get("repository", "id", fallback=None)


async def require_place(ctx: Context, storage: Storage, place: RepositoryPlace) -> None:
    """Let nothing begin on a pool that is not mounted, nor on a repository that is gone or is another one.

    It stands before everything that looks at the repository: what is missing because a disk is not mounted is no loss.
    """
    pool = place.pool
    if pool is None:
        return
    found = await storage.borg_id_of(place)
    if not pool.marked:
        await ctx.run(lambda tx: record_mark(tx, pool.id))
    if place.made and found is None:
        message = f"the repository {place.label} is not at {place.path} any more"
        remedy = "put it back, from a copy if need be; it is never made anew. docs/operations/running.md says more"
        raise Permanent(message, code="repository_missing", remedy=remedy)
    if place.borg_id and found != place.borg_id:
        message = f"{place.path} holds another repository, {clean(found or '', 64)}, and not {place.borg_id}"
        remedy = "put the right one back in its place; docs/operations/running.md says more"
        raise Permanent(message, code="repository_replaced", remedy=remedy)
    if place.made and found and not place.borg_id:
        await ctx.run(lambda tx: record_borg_id(tx, place.id, found))


async def prepare_repository(ctx: Context, storage: Storage, place: RepositoryPlace, grant: Grant) -> None:
    """Make a repository on its first use, and keep which one it is."""
    prepared = await storage.ensure(place, grant)
    for sentence in prepared.told:
        ctx.log("warning", "kernel", sentence)
    if place.borg_id is None:
        await ctx.run(lambda tx: record_borg_id(tx, place.id, prepared.borg_id))


def silent_pool(name: str, path: str, seconds: float) -> Transient:
    """Say that a pool's file system hangs."""
    message = f"the storage pool {name} does not answer: {path} could not be read within {seconds:.0f} seconds"
    remedy = "look at its disk, or at the network and the server that share it"
    return Transient(message, code="pool_silent", remedy=remedy)


async def record_mark(tx: UnitOfWork, pool_id: uuid.UUID) -> None:
    """Keep that a pool has its mark: from now on it must be there."""
    unmarked = update(StoragePool).where(StoragePool.id == pool_id, StoragePool.marked_at.is_(None))
    await tx.session.execute(unmarked.values(marked_at=db_now()))


async def record_borg_id(tx: UnitOfWork, repository_id: uuid.UUID, borg_id: str) -> None:
    """Keep which repository borg made; from then on no other one is taken for it, and it is never made again."""
    unknown = update(Repository).where(Repository.id == repository_id, Repository.borg_id.is_(None))
    await tx.session.execute(unknown.values(borg_id=borg_id))
