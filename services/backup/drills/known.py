"""What the catalogue knows for a restore test: the files of an archive to choose from, and earlier hashes. Blocking.

The catalogue is a cache: where it is missing or lacks the archive it knows nothing, and borg lists. Where it is broken,
sqlite3.DatabaseError says so.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from services.backup.catalogue.lookup import node_of, path_of, place_of
from services.backup.catalogue.store import reading
from shared.domain.sampling import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from shared.domain.sampling import Sampler

_FILES = """
SELECT node, first, size, mode, mtime FROM version WHERE chain = ? AND first <= ? AND last >= ? AND type = 45"""
_BUSY_MS = 5000
# The later of two rows is what an extraction leaves behind.
_ROW = """
SELECT first, size, mode, mtime, ctime, sha256, type FROM version WHERE node = ? AND chain = ? AND first <= ?
AND last >= ? ORDER BY first DESC LIMIT 1"""


class Known(NamedTuple):
    """A file's row."""

    version: tuple[int, int, int]
    size: int
    mode: int
    mtime: int | None
    told: bool
    """Its content cannot have changed without another row: the time of its inode's last change is known."""
    sha256: bytes | None


def sample(file: Path, borg_id: str, sampler: Sampler) -> bool:
    """Let a sampler see all files of an archive; False where the catalogue does not know it."""
    with reading(file) as connection:
        place = place_of(connection, borg_id) if connection else None
        if connection is None or place is None:
            return False
        for node, first, size, mode, mtime in connection.execute(_FILES, (place.chain, place.seq, place.seq)):
            sampler.add(Candidate(b"", size, mode, mtime, first, (node, place.chain, first)))
        return True


def with_paths(file: Path, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Give what was chosen its paths, each once; ValueError where the catalogue was built anew meanwhile."""
    found: dict[bytes, Candidate] = {}
    with reading(file) as connection:
        for one in candidates:
            path = path_of(connection, one.version[0]) if connection and one.version else one.path
            if not path:
                raise ValueError(path)
            before = found.get(path)
            if before is None or before.changed < one.changed:
                found[path] = one._replace(path=path)
    return list(found.values())


def known(file: Path, borg_id: str, paths: Iterable[bytes]) -> dict[bytes, Known]:
    """Return the rows of files of an archive."""
    found: dict[bytes, Known] = {}
    with reading(file) as connection:
        place = place_of(connection, borg_id) if connection else None
        if connection is None or place is None:
            return found
        for path in paths:
            node = node_of(connection, path)
            row = connection.execute(_ROW, (node, place.chain, place.seq, place.seq)).fetchone() if node else None
            if row is not None and row[6] == ord("-"):
                first, size, mode, mtime, ctime, sha256, _ = row
                found[path] = Known((node or 0, place.chain, first), size, mode, mtime, ctime is not None, sha256)
    return found


def remember(file: Path, hashes: Mapping[tuple[int, int, int], bytes]) -> int:
    """Keep hashes for later tests; who merges an archive meanwhile goes first. Return how many were kept."""
    if not hashes or not file.exists():
        return 0
    rows = [(sha256, *version) for version, sha256 in hashes.items()]
    keep = "UPDATE version SET sha256 = ? WHERE node = ? AND chain = ? AND first = ? AND sha256 IS NULL"
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
            with connection:
                return connection.executemany(keep, rows).rowcount
    except sqlite3.DatabaseError:
        return 0
