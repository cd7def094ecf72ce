"""This node's hands on repositories that plain borg made: where they lie, what they hold, who works on them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from services.backup.node import foreign
from services.backup.node.apart import Disks
from services.backup.node.pools import silent_pool
from shared.borg.importing import read_repository

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from services.backup.ports import RepositoryPlace
    from shared.borg.importing import FoundRepository
    from shared.borg.node import BorgNode, Grant

T = TypeVar("T")


class Imports:
    """Looks at what is to be imported; every directory that is none of a pool has to be opened by the settings."""

    _disks = Disks()

    def __init__(self, node: BorgNode, roots: Sequence[str] = ()) -> None:
        """Take the node's borg, and the directories outside of pools from which it may import: none by default."""
        self._node, self._roots = node, tuple(roots)

    async def look(self, place: RepositoryPlace) -> str:
        """Return where a repository really lies; Permanent where this node may not look, or where there is none."""
        pool = place.pool.path if place.pool else place.disk

        def looked() -> str:
            real = foreign.real_place(place.path, pool, self._roots)
            foreign.require_repository(real)
            return real

        return await self._read(place, looked)

    async def size(self, place: RepositoryPlace) -> int:
        """Return how many bytes it takes on its disk."""
        return await self._read(place, lambda: _size(Path(place.path) / "data"))

    async def found(self, place: RepositoryPlace, grant: Grant, known: Collection[str] = ()) -> FoundRepository:
        """Return what it holds; of a view, or of itself where it is ours."""
        return await read_repository(self._node, grant, known, passphrase=place.passphrase)

    async def ready(self, place: RepositoryPlace) -> tuple[str, ...]:
        """Make sure that it can be written to and that nothing works on it; remove and return what the dead left."""

        def take() -> tuple[str, ...]:
            foreign.require_writable(place.path)
            return foreign.take_locks(place.path)

        return await self._read(place, take)

    async def _read(self, place: RepositoryPlace, work: Callable[[], T]) -> T:
        name = place.pool.name if place.pool else place.disk
        return await self._disks.read(place.disk, lambda _alive: work(), partial(silent_pool, name, place.disk))


def _size(data: Path) -> int:
    return sum(
        file.stat().st_size for directory in data.iterdir() if directory.is_dir() for file in directory.iterdir()
    )
