"""Searches the names of all backups of a repository. Blocking, in a thread, until a deadline.

Words of three and more characters are looked up; shorter ones are looked for in each name. All must occur in the name.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

from services.backup.catalogue.lookup import path_of
from shared.domain.files import Hit

if TYPE_CHECKING:
    import sqlite3
    import uuid
    from collections.abc import Iterator

    from shared.domain.files import Wanted

_TRIGRAM = 3
_CANDIDATES = 20_000
"""So many names are looked at; whoever finds more than that has to narrow it down."""
_LAST = """
SELECT type, size, mtime, archive.chain, archive.seq, archive.borg_id, started_at FROM version
JOIN archive ON archive.chain = version.chain AND archive.seq BETWEEN first AND last
WHERE node = ? ORDER BY started_at DESC, seq DESC LIMIT 1"""
_FIRST = """
SELECT min(started_at) FROM version
JOIN archive ON archive.chain = version.chain AND archive.seq BETWEEN first AND last WHERE node = ?"""
_GONE_SINCE = "SELECT min(started_at) FROM archive WHERE chain = ? AND seq > ?"


class _Found(NamedTuple):
    whole: bool
    last_at: int
    node: int
    row: tuple[int, int, int | None, bytes, int | None]


def search(
    connection: sqlite3.Connection, repository_id: uuid.UUID, wanted: Wanted, limit: int
) -> tuple[list[Hit], bool]:
    """Return the best hits, whole names first, then the newest; and whether there are more."""
    found = heapq.nlargest(limit + 1, _found(connection, wanted))
    hits: list[Hit] = []
    for one in found[:limit]:
        kind, size, mtime, borg_id, gone = one.row
        (first_at,) = connection.execute(_FIRST, (one.node,)).fetchone()
        hits.append(
            Hit(
                repository_id=repository_id, path=path_of(connection, one.node), type=chr(kind), size=size, mtime=mtime,
                borg_id=borg_id.hex(), first_at=first_at, last_at=one.last_at, gone_since=gone, whole=one.whole,
            )
        )  # fmt: skip
    return hits, len(found) > limit


def _found(connection: sqlite3.Connection, wanted: Wanted) -> Iterator[_Found]:
    whole = " ".join(wanted.words).lower()
    for node, name in _candidates(connection, wanted):
        text = name.decode(errors="replace").lower()
        if not all(word in text for word in wanted.words) or not text.endswith(wanted.ending):
            continue
        row = connection.execute(_LAST, (node,)).fetchone()
        if row is None:
            continue
        kind, size, mtime, chain, seq, borg_id, last_at = row
        (gone,) = connection.execute(_GONE_SINCE, (chain, seq)).fetchone()
        if wanted.fits(size, gone=gone is not None) and _is_within(connection, node, wanted.within):
            yield _Found(text == whole, last_at, node, (kind, size, mtime, borg_id, gone))


def _candidates(connection: sqlite3.Connection, wanted: Wanted) -> Iterator[tuple[int, bytes]]:
    indexed = [word for word in wanted.words if len(word) >= _TRIGRAM]
    if not indexed:
        yield from connection.execute("SELECT id, name FROM node ORDER BY id DESC")
        return
    match = " AND ".join('"' + word.replace('"', '""') + '"' for word in indexed)
    query = "SELECT rowid FROM names WHERE names MATCH ? ORDER BY rowid DESC LIMIT ?"
    for (node,) in connection.execute(query, (match, _CANDIDATES)):
        yield node, connection.execute("SELECT name FROM node WHERE id = ?", (node,)).fetchone()[0]


def _is_within(connection: sqlite3.Connection, node: int, within: bytes) -> bool:
    return not within or path_of(connection, node).startswith(within + b"/")
