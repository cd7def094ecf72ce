"""Reads a repository's segments without borg, entry by entry: what was put, what was deleted, what is committed."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

MANIFEST = bytes(32)
PUT, DELETE, COMMIT = 0, 1, 2
_MAGIC = b"BORG_SEG"
_HEADER = struct.Struct("<IIB")
_COMMITTED = _HEADER.pack(zlib.crc32(_HEADER.pack(0, _HEADER.size, COMMIT)[4:]), _HEADER.size, COMMIT)
_ID = 32
_ROUND, _ALL = 100_000, 1 << 40


def _unheard() -> None:
    """Take a sign of life that nobody waits for."""


class Entry(NamedTuple):
    """One entry of a segment; `size` counts its header, its id and its data."""

    kind: int
    id: bytes
    segment: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class History:
    """What was written after a transaction."""

    upto: int | None
    """The last transaction; None where there is none."""
    rewritten: frozenset[bytes] = frozenset()
    """Objects from before that were deleted or replaced; of very many only the first."""


def last_transaction(path: str, alive: Callable[[], None] = _unheard) -> int | None:
    """Return the last segment that ends with a commit, as borg sees it; None where nothing was ever committed.

    Here and below `alive` is called for each entry: what takes long because there is much is not taken for hung.
    """
    return next((number for number, file in _newest_first(path) if _is_committed(file, number, alive)), None)


def history(path: str, after: int | None, *, most: int = _ROUND, alive: Callable[[], None] = _unheard) -> History:
    """Read what was committed after a transaction; Permanent `segments_damaged` where that cannot be read.

    An honest client deletes only what it put itself a moment before, and replaces the manifest alone. What was never
    committed is not looked at: borg throws it away and uses the numbers again.
    """
    upto = last_transaction(path, alive)
    if upto is None or (after is not None and upto <= after):
        return History(upto)
    first = 0 if after is None else after + 1
    files = dict(_newest_first(path, first))
    for number in range(first, upto + 1):
        if number not in files and after is not None:
            raise _damaged(number, "is missing")
    numbered = sorted((number, file) for number, file in files.items() if number <= upto)
    return History(upto, _rewritten(numbered, most, alive))


def entries(file: Path, segment: int, alive: Callable[[], None] = _unheard) -> Iterator[Entry]:
    """Return a segment's entries; the data itself is not read."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            if stream.read(len(_MAGIC)) != _MAGIC:
                raise _damaged(segment, "does not begin as a segment")
            offset = len(_MAGIC)
            while offset < size:
                alive()
                entry = _entry(stream, segment, offset)
                offset += entry.size
                if offset > size:
                    raise _damaged(segment, "is cut short")
                yield entry
                stream.seek(offset)
    except OSError as error:
        raise _damaged(segment, f"cannot be read: {error.strerror}") from error


def manifest(path: str, upto: int, alive: Callable[[], None] = _unheard) -> bytes | None:
    """Return the manifest as of a transaction, sealed as borg left it; None where it was deleted or never written."""
    for number, file in _newest_first(path):
        if number <= upto and (found := [one for one in entries(file, number, alive) if one.id == MANIFEST]):
            return read(file, found[-1]) if found[-1].kind == PUT else None
    return None


def read(file: Path, entry: Entry) -> bytes:
    """Return what was put, its checksum held."""
    with file.open("rb") as stream:
        stream.seek(entry.offset)
        whole = stream.read(entry.size)
    if len(whole) != entry.size or zlib.crc32(whole[4:]) != _HEADER.unpack_from(whole)[0]:
        raise _damaged(entry.segment, f"holds other bytes at {entry.offset} than were written")
    return whole[_HEADER.size + _ID :]


def originals(path: str, after: int, alive: Callable[[], None] = _unheard) -> tuple[list[Entry], int]:
    """Return, of what was deleted or replaced after a transaction, how it was put before, and how many are gone."""
    found: dict[bytes, Entry] = {}
    wanted = history(path, after, most=_ALL, alive=alive).rewritten - {MANIFEST}
    for entry in _all(segments(path, -1, after) if wanted else [], alive):
        if entry.id in wanted and entry.kind == PUT:
            found[entry.id] = entry
    return list(found.values()), len(wanted - found.keys())


def segments(path: str, after: int, upto: int) -> list[tuple[int, Path]]:
    """Return the segments after one, up to another, in order; compaction may have taken some of them."""
    return sorted((number, file) for number, file in _newest_first(path, after + 1) if number <= upto)


def _rewritten(numbered: list[tuple[int, Path]], most: int, alive: Callable[[], None]) -> frozenset[bytes]:
    """Find what was deleted without having been put since; in rounds, so that a million deletions cost no memory."""
    skip = 0
    while True:
        gone = _deletions(numbered, skip, most, alive)
        unexplained = dict(gone)
        for entry in _all(numbered, alive):
            if not unexplained:
                break
            deleted_at = unexplained.get(entry.id)
            if entry.kind == PUT and deleted_at is not None and (entry.segment, entry.offset) < deleted_at:
                del unexplained[entry.id]
        if unexplained or len(gone) < most:
            return frozenset(unexplained)
        skip += most


def _deletions(
    numbered: list[tuple[int, Path]], skip: int, most: int, alive: Callable[[], None]
) -> dict[bytes, tuple[int, int]]:
    """Return where each object was deleted first; the manifest only if it was not put again."""
    found: dict[bytes, tuple[int, int]] = {}
    without_manifest: tuple[int, int] | None = None
    for entry in _all(numbered, alive):
        if entry.id == MANIFEST:
            without_manifest = (entry.segment, entry.offset) if entry.kind == DELETE else None
        elif entry.kind == DELETE and entry.id not in found:
            if skip:
                skip -= 1
            elif len(found) < most:
                found[entry.id] = (entry.segment, entry.offset)
    if without_manifest is not None:
        found[MANIFEST] = (-1, 0)  # nothing stands before it: no put excuses this one
    return found


def _all(numbered: list[tuple[int, Path]], alive: Callable[[], None]) -> Iterator[Entry]:
    for number, file in numbered:
        yield from entries(file, number, alive)


def _entry(stream: BinaryIO, segment: int, offset: int) -> Entry:
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise _damaged(segment, "is cut short")
    checksum, size, kind = _HEADER.unpack(header)
    if kind == COMMIT and size == _HEADER.size:
        whole, object_id = header, b""
    elif kind in (PUT, DELETE) and size >= _HEADER.size + _ID:
        object_id = stream.read(_ID)
        whole = header + object_id
    else:
        raise _damaged(segment, f"holds no entry at {offset}")
    # What is all header is checked here: a flipped bit must not look like somebody's deletion.
    if len(whole) == size and zlib.crc32(whole[4:]) != checksum:
        raise _damaged(segment, f"holds other bytes at {offset} than were written")
    return Entry(kind, object_id, segment, offset, size)


def _is_committed(file: Path, segment: int, alive: Callable[[], None]) -> bool:
    """Tell whether a segment ends with a commit; a commit's bytes at the end of an object's data are none."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - len(_COMMITTED)))
            if stream.read() != _COMMITTED:
                return False
        kinds = [entry.kind for entry in entries(file, segment, alive)]
    except (OSError, Permanent):
        return False
    return COMMIT in kinds and set(kinds[kinds.index(COMMIT) :]) == {COMMIT}


def highest(path: str) -> int | None:
    """Return the number of the highest segment, committed or not; None where there is none."""
    return next((number for number, _ in _newest_first(path)), None)


def committed(path: str, upto: int) -> Iterator[tuple[int, Path]]:
    """Return the segments up to a transaction, the highest first."""
    return ((number, file) for number, file in _newest_first(path) if number <= upto)


def _newest_first(path: str, first: int = 0) -> Iterator[tuple[int, Path]]:
    """Return the segments from one on, the highest first."""
    groups = _numbered(Path(path) / "data", directories=True)
    for _, group in groups:
        found = _numbered(group, directories=False)
        yield from ((number, file) for number, file in found if number >= first)
        if found and found[-1][0] < first:
            return


def _numbered(directory: Path, *, directories: bool) -> list[tuple[int, Path]]:
    if not directory.is_dir():
        return []
    named = ((entry.name, entry) for entry in directory.iterdir())
    right = ((int(name), file) for name, file in named if name.isascii() and name.isdecimal())
    return sorted(((number, file) for number, file in right if file.is_dir() == directories), reverse=True)


def _damaged(segment: int, what: str) -> Permanent:
    message = f"segment {segment} of the repository {what}"
    remedy = "look at the disk, then run a check of this repository; see docs/operations/verification.md"
    return Permanent(message, code="segments_damaged", remedy=remedy)
