"""Makes a repository on its first use: beside its place and then renamed, so that a kill leaves nothing half made."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from services.backup.node.pools import borg_id_of, claim_pool, sync_directory
from services.backup.ports import Prepared
from shared.borg import commands, segments
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.backup.ports import RepositoryPlace
    from shared.borg.node import BorgNode, Grant

T = TypeVar("T")
_BORGS_OWN = re.compile(r"README|data|(config|nonce|lock|hints|index|integrity)\b.*")


class _Read(Protocol):
    """Works on the files of the repository's pool: see `Disks`."""

    async def __call__(self, repository: RepositoryPlace, work: Callable[[Callable[[], None]], T], /) -> T: ...


async def ensure_repository(node: BorgNode, repository: RepositoryPlace, grant: Grant, read: _Read) -> Prepared:
    """Return the repository that is there, or make it; one that was made once is never made again."""
    path = Path(repository.path)
    if found := await read(repository, lambda alive: _whole(path, alive)):
        return Prepared(found)
    pool = path.parent.parent
    await read(repository, lambda _alive: _require_pool(repository, pool))
    if repository.made:
        message = f"the repository {repository.label} is not at {path} any more, or not whole"
        raise Permanent(message, code="repository_missing", remedy="put it back, from a copy if need be")
    fresh = pool / f".new-{repository.id.hex}-{grant.epoch}"
    told = await read(repository, lambda alive: _make_room(repository, fresh, alive))
    base = node.state_dir / f"init-{repository.id.hex}"
    try:
        # borg notes where it met a repository: with a base of its own, the rename is no relocation.
        argv = commands.init(node.borg, str(fresh), repository.encryption)
        await node.run(replace(grant, base_dir=str(base)), argv, passphrase=repository.passphrase)
        await read(repository, lambda alive: _put_in_place(repository, fresh, alive))
    finally:
        await asyncio.to_thread(shutil.rmtree, base, ignore_errors=True)
    made = await read(repository, lambda alive: _whole(path, alive))
    if made is None:
        message = f"borg made the repository {repository.label}, but it is not whole at {path}"
        raise Permanent(message, code="repository_missing", remedy="look at the storage pool's disk")
    return Prepared(made, told)


def _require_pool(repository: RepositoryPlace, pool: Path) -> None:
    """Let nothing be made under a mount point: the pool was there when the run began, and may have gone since."""
    if repository.pool is not None:
        claim_pool(replace(repository.pool, marked=True))
    elif not pool.is_dir():
        message = f"the storage pool's directory {pool} is not there"
        raise Permanent(message, code="pool_missing", remedy="mount or create it; it is never made on its own")


def _whole(path: Path, alive: Callable[[], None]) -> str | None:
    """Return the id of a repository that borg finished making; None of one that it did not."""
    found = borg_id_of(str(path))
    return found if found and segments.last_transaction(str(path), alive) is not None else None


def _make_room(repository: RepositoryPlace, fresh: Path, alive: Callable[[], None]) -> tuple[str, ...]:
    """Remove what earlier tries left beside, and move aside what one of an older version left in the place itself.

    Both never held an archive: beside lies what was never in its place, and in the place what was never committed.
    """
    path, pool = Path(repository.path), fresh.parent
    for leftover in pool.glob(f".new-{repository.id.hex}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if not path.exists() or not any(path.iterdir()):
        return ()
    foreign = [entry.name for entry in path.iterdir() if not _BORGS_OWN.fullmatch(entry.name)]
    if foreign or segments.last_transaction(str(path), alive) is not None:
        message = f"{path} is there already, and is no repository that this backup may use"
        remedy = "look what it is; move it away, or give the repository another name"
        raise Permanent(message, code="place_taken", remedy=remedy)
    number = 1
    while (aside := pool / f".broken-{repository.id.hex}-{number}").exists():
        number += 1
    path.rename(aside)
    return (f"{path} was left half made by a run that was cut short, without any archive: it was moved to {aside}",)


def _put_in_place(repository: RepositoryPlace, fresh: Path, alive: Callable[[], None]) -> None:
    """Rename once all is on disk; a power failure leaves the one or the other."""
    path = Path(repository.path)
    _require_pool(repository, fresh.parent)
    for directory, _, files in os.walk(fresh, topdown=False):
        for name in files:
            alive()
            with (Path(directory) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_directory(Path(directory))
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700)
        sync_directory(path.parent.parent)
    fresh.rename(path)
    sync_directory(path.parent)
    sync_directory(fresh.parent)
