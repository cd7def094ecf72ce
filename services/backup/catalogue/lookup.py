"""What a catalogue answers about one archive: a directory, a path, and how much stands below. Blocking, in a thread.

A name is in an archive if a row covers it. A directory may be there without a row: an archive of `/srv/data` has no
entry of `/srv`.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from services.backup.catalogue.store import ROOT
from shared.domain.files import MOST_BYTES, FileRow, ListAnswer, Usage, UsageAnswer
from shared.domain.messages.files import PATH_IS_NO_DIRECTORY, PATH_NOT_IN_ARCHIVE
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ROW_BYTES = 300
"""What a row takes beside its names."""
# borg may list a path twice in one archive: the later row is what an extraction leaves behind.
_VERSION = """
SELECT type, mode, uid, gid, user, grp, size, mtime, link FROM version JOIN owner ON owner.id = version.owner
WHERE node = ? AND chain = ? AND first <= ? AND last >= ? ORDER BY first DESC LIMIT 1"""
_CHILDREN = "SELECT id, name FROM node WHERE parent = ? AND name > ? ORDER BY name"
_DIRECTLY_BELOW = """
SELECT 1 FROM node JOIN version ON version.node = node.id
WHERE parent = ? AND chain = ? AND first <= ? AND last >= ? LIMIT 1"""
_SOMETHING_BELOW = """
WITH RECURSIVE below(id) AS (
  SELECT id FROM node WHERE parent = ?1
  UNION ALL SELECT node.id FROM node JOIN below ON node.parent = below.id)
SELECT 1 FROM below JOIN version ON version.node = below.id
WHERE chain = ?2 AND first <= ?3 AND last >= ?3 LIMIT 1"""
_USAGE = """
WITH RECURSIVE below(id, top) AS (
  SELECT id, id FROM node WHERE parent = ?1
  UNION ALL SELECT node.id, below.top FROM node JOIN below ON node.parent = below.id)
SELECT top, type, size FROM below JOIN version ON version.node = below.id
WHERE chain = ?2 AND first <= ?3 AND last >= ?3"""


class Place(NamedTuple):
    """Where an archive stands in a catalogue."""

    chain: int
    seq: int


class Seen(NamedTuple):
    """How a name looks in an archive."""

    type: str
    mode: int
    uid: int | None
    gid: int | None
    user: bytes
    group: bytes
    size: int
    mtime: int | None
    link: bytes


def place_of(connection: sqlite3.Connection, borg_id: str) -> Place | None:
    """Find an archive; None where it is not indexed."""
    query = "SELECT chain, seq FROM archive WHERE borg_id = ?"
    row = connection.execute(query, (bytes.fromhex(borg_id),)).fetchone()
    return Place(*row) if row else None


def node_of(connection: sqlite3.Connection, path: bytes) -> int | None:
    """Find a path's number; None where no archive ever held it."""
    node = ROOT
    for name in filter(None, path.split(b"/")):
        row = connection.execute("SELECT id FROM node WHERE parent = ? AND name = ?", (node, name)).fetchone()
        if row is None:
            return None
        node = row[0]
    return node


def path_of(connection: sqlite3.Connection, node: int) -> bytes:
    """Return a number's path, without a leading slash."""
    names: list[bytes] = []
    while node != ROOT:
        row = connection.execute("SELECT parent, name FROM node WHERE id = ?", (node,)).fetchone()
        if row is None:
            break
        node = row[0]
        names.append(row[1])
    return b"/".join(reversed(names))


def seen(connection: sqlite3.Connection, place: Place, node: int) -> Seen | None:
    """Return how a name looks in an archive; None where it has no entry there."""
    row = connection.execute(_VERSION, (node, place.chain, place.seq, place.seq)).fetchone()
    return None if row is None else Seen._make((chr(row[0]), *row[1:8], row[8] or b""))


def shown(path: bytes) -> str:
    """Show a path."""
    return "/" + path.decode(errors="replace")


def list_directory(
    connection: sqlite3.Connection, place: Place, path: bytes, after: bytes | None, limit: int
) -> ListAnswer:
    """Return a page of a directory, by name; Invalid where the archive holds no such directory."""
    directory = _directory(connection, place, path)
    rows: list[FileRow] = []
    size = 0
    for name, found in _children(connection, place, directory, after or b""):
        row = _row(name, found)
        size += _ROW_BYTES + 2 * (len(name) + len(row.link) + len(row.user) + len(row.group))
        if len(rows) == limit or (rows and size > MOST_BYTES):
            return ListAnswer(rows=rows, more=True, source="catalogue")
        rows.append(row)
    return ListAnswer(rows=rows, source="catalogue")


def use_of(connection: sqlite3.Connection, place: Place, path: bytes, limit: int) -> UsageAnswer:
    """Add up what stands below each name of a directory, the largest first; what was reached, when time is over."""
    directory = _directory(connection, place, path)
    files: dict[int, int] = {}
    sizes: dict[int, int] = {}
    partial = False
    try:
        for top, kind, size in connection.execute(_USAGE, (directory, place.chain, place.seq)):
            files[top] = files.get(top, 0) + (kind == ord("-"))
            sizes[top] = sizes.get(top, 0) + (size if kind == ord("-") else 0)
    except sqlite3.OperationalError:
        partial = True  # the deadline broke it off
        connection.set_progress_handler(None, 0)
    largest = sorted(sizes, key=lambda top: (-sizes[top], top))
    names = dict(_names(connection, largest[:limit]))
    rows = [Usage(name=names[top], files=files[top], size=sizes[top]) for top in largest[:limit]]
    return UsageAnswer(
        rows=rows, files=sum(files.values()), size=sum(sizes.values()), more=len(largest) > limit, partial=partial
    )


def _directory(connection: sqlite3.Connection, place: Place, path: bytes) -> int:
    node = node_of(connection, path)
    found = None if node is None else seen(connection, place, node)
    if found is not None and found.type != "d":
        raise Invalid(PATH_IS_NO_DIRECTORY(path=shown(path)))
    if node is None or (node != ROOT and found is None and not _is_implied(connection, place, node)):
        raise Invalid(PATH_NOT_IN_ARCHIVE(path=shown(path)))
    return node


def _children(
    connection: sqlite3.Connection, place: Place, directory: int, after: bytes
) -> Iterator[tuple[bytes, Seen | None]]:
    for node, name in connection.execute(_CHILDREN, (directory, after)):
        found = seen(connection, place, node)
        if found is not None or _is_implied(connection, place, node):
            yield name, found


def _is_implied(connection: sqlite3.Connection, place: Place, node: int) -> bool:
    directly = connection.execute(_DIRECTLY_BELOW, (node, place.chain, place.seq, place.seq)).fetchone()
    return (directly or connection.execute(_SOMETHING_BELOW, (node, place.chain, place.seq)).fetchone()) is not None


def _names(connection: sqlite3.Connection, nodes: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    for node in nodes:
        yield node, connection.execute("SELECT name FROM node WHERE id = ?", (node,)).fetchone()[0]


def _row(name: bytes, found: Seen | None) -> FileRow:
    if found is None:
        return FileRow(name=name, type="d")
    values: dict[str, Any] = found._asdict()
    return FileRow(name=name, **values)
