"""Which files a restore test reads as a sample: the newest changed, the largest, and some by chance. Pure."""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NEWEST, LARGEST = 10, 10


class Candidate(NamedTuple):
    """A regular file of an archive."""

    path: bytes
    size: int
    mode: int | None = None
    mtime: int | None = None
    """In microseconds since 1970, UTC; None as `mode`: not known."""
    changed: int = 0
    """The greater, the later it was new or changed."""
    version: tuple[int, int, int] | None = None
    """Which row of the catalogue it is."""


class Sampler:
    """Takes the files of one archive in any order, and keeps few: the newest changed, the largest, some by chance.

    By chance, and still the same ones for the same seed, in whatever order they come.
    """

    def __init__(self, seed: str, files: int, most_bytes: int, *, favour: bool) -> None:
        """Take the seed and the limits; `favour`: keep the newest changed and the largest beside those by chance."""
        self._seed = hashlib.sha256(seed.encode()).digest()
        self._files, self._most = files, most_bytes
        self._few = (min(NEWEST, files), min(LARGEST, files)) if favour else (0, 0)
        self._newest: list[tuple[int, bytes, Candidate]] = []
        self._largest: list[tuple[int, bytes, Candidate]] = []
        self._chance: list[tuple[int, bytes, Candidate]] = []

    def add(self, candidate: Candidate) -> None:
        """Take one file; one that alone is beyond the limit is never chosen."""
        if candidate.size > self._most:
            return
        key = candidate.path
        if candidate.version is not None:  # paths of the catalogue are made for those alone that are chosen
            key = b"%d" % candidate.version[0]
        _keep(self._newest, (candidate.changed, key, candidate), self._few[0])
        _keep(self._largest, (candidate.size, key, candidate), self._few[1])
        chance = int.from_bytes(hashlib.blake2b(key, digest_size=7, key=self._seed).digest(), "big")
        _keep(self._chance, (chance, key, candidate), self._files)

    @property
    def newest(self) -> list[Candidate]:
        """The newest changed, the newest first."""
        return [row[2] for row in sorted(self._newest, key=_order, reverse=True)]

    @property
    def largest(self) -> list[Candidate]:
        """The largest, the largest first."""
        return [row[2] for row in sorted(self._largest, key=_order, reverse=True)]

    @property
    def chance(self) -> list[Candidate]:
        """Some by chance."""
        return [row[2] for row in sorted(self._chance, key=_order, reverse=True)]


def _order(row: tuple[int, bytes, Candidate]) -> tuple[int, bytes]:
    return row[0], row[1]


def _keep(heap: list[tuple[int, bytes, Candidate]], row: tuple[int, bytes, Candidate], most: int) -> None:
    """Keep the rows with the greatest numbers."""
    if len(heap) < most:
        heapq.heappush(heap, row)
    elif most and _order(row) > _order(heap[0]):
        heapq.heapreplace(heap, row)


def choose(archives: Mapping[str, Sampler], files: int, most_bytes: int) -> dict[str, list[Candidate]]:
    """Choose the sample: by archive, those that are favoured first, in the order in which the archives are given.

    In turn from each archive: the newest changed, at most a third; then the largest, at most a third and half of the
    bytes; the rest is by chance, so that some always is.
    """
    chosen = _Chosen(files, most_bytes)
    third = max(1, files // 3)
    newest = {archive: sampler.newest for archive, sampler in archives.items()}
    largest = {archive: sampler.largest for archive, sampler in archives.items()}
    chance = {archive: sampler.chance for archive, sampler in archives.items()}
    chosen.take(_in_turn(newest), most=most_bytes // 3, files=third)
    chosen.take(_in_turn(largest), most=most_bytes // 2, files=third)
    chosen.take(_in_turn(chance))
    return chosen.by_archive


def _in_turn(queues: Mapping[str, Sequence[Candidate]]) -> Iterable[tuple[str, Candidate]]:
    for turn in range(max(map(len, queues.values()), default=0)):
        yield from ((archive, queue[turn]) for archive, queue in queues.items() if turn < len(queue))


@dataclass(slots=True)
class _Chosen:
    files: int
    left: int
    """Bytes."""
    by_archive: dict[str, list[Candidate]] = field(default_factory=dict[str, list[Candidate]])
    _seen: set[tuple[object, ...]] = field(default_factory=set[tuple[object, ...]])

    def take(
        self, candidates: Iterable[tuple[str, Candidate]], *, most: int | None = None, files: int | None = None
    ) -> None:
        """Take what is new and fits; `most` and `files`: no more bytes, and no more of them, than that."""
        most = self.left if most is None else min(most, self.left)
        until = 0 if files is None else max(0, self.files - files)
        for archive, one in candidates:
            key = archive, one.path, one.version
            if self.files <= until or one.size > most or key in self._seen:
                continue
            self._seen.add(key)
            self.by_archive.setdefault(archive, []).append(one)
            self.files, self.left, most = self.files - 1, self.left - one.size, most - one.size
