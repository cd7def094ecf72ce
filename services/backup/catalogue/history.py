"""What a catalogue answers about time: in which backups a path stood, and what differs between two. Blocking."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from services.backup.catalogue.lookup import node_of, path_of, shown
from shared.domain.files import MOST_BYTES, Change, DiffAnswer, Difference, Version, VersionsAnswer
from shared.domain.messages.files import PATH_NOT_IN_CATALOGUE
from shared.errors import Invalid

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from services.backup.catalogue.lookup import Place

_VERSIONS = """
SELECT type, size, mtime, count(*), min(started_at), max(started_at), (
  SELECT borg_id FROM archive AS newest WHERE newest.chain = version.chain AND newest.seq <= version.last
  ORDER BY newest.seq DESC LIMIT 1)
FROM version JOIN archive ON archive.chain = version.chain AND archive.seq BETWEEN first AND last
WHERE node = ? GROUP BY version.chain, first ORDER BY max(started_at) DESC"""
_GONE = """
SELECT old.node, old.type, old.size, new.type, new.size FROM version AS old
LEFT JOIN version AS new ON new.node = old.node
  AND new.chain = :b_chain AND new.first <= :b_seq AND new.last >= :b_seq
WHERE old.chain = :a_chain AND old.first <= :a_seq AND old.last >= :a_seq
AND (new.node IS NULL OR old.type != new.type OR old.size != new.size OR old.mtime IS NOT new.mtime
  OR old.link IS NOT new.link OR old.mode != new.mode OR old.owner != new.owner)"""
_NEW = """
SELECT new.node, NULL, NULL, new.type, new.size FROM version AS new
WHERE new.chain = :b_chain AND new.first <= :b_seq AND new.last >= :b_seq
AND NOT EXISTS (SELECT 1 FROM version AS old WHERE old.node = new.node
  AND old.chain = :a_chain AND old.first <= :a_seq AND old.last >= :a_seq)"""
# Within one chain a row that covers both is the same in both: it is left out before anything is compared.
_SAME_CHAIN = " AND NOT ({0}.first <= min(:a_seq, :b_seq) AND {0}.last >= max(:a_seq, :b_seq))"
_ROW_BYTES = 200


def versions_of(connection: sqlite3.Connection, path: bytes, limit: int) -> VersionsAnswer:
    """Return each content that a path had, the newest first, and in how many backups from when to when."""
    node = node_of(connection, path)
    found: dict[tuple[str, int, int | None], Version] = {}
    for kind, size, mtime, count, begun, ended, borg_id in connection.execute(_VERSIONS, (node,)):
        key = chr(kind), size, mtime
        before = found.get(key)
        if before is None:
            found[key] = Version(
                type=key[0],
                size=size,
                mtime=mtime,
                archives=count,
                first_at=begun,
                last_at=ended,
                borg_id=borg_id.hex(),
            )
        else:
            both = {"archives": before.archives + count, "first_at": min(before.first_at, begun)}
            found[key] = before.model_copy(update=both)
    if not found:
        raise Invalid(PATH_NOT_IN_CATALOGUE(path=shown(path)))
    rows = list(found.values())
    return VersionsAnswer(rows=rows[:limit], more=len(rows) > limit)


def diff(connection: sqlite3.Connection, a: Place, b: Place, limit: int) -> DiffAnswer:
    """Compare two archives: what was added, removed and changed, the largest first, and how much in all."""
    totals: dict[str, list[int]] = {"added": [0, 0], "removed": [0, 0], "changed": [0, 0]}

    def counted() -> Iterator[tuple[int, int, Change, int | None, int | None, int]]:
        for node, old_type, old_size, new_type, new_size in _differences(connection, a, b):
            change: Change = "added" if old_type is None else "removed" if new_type is None else "changed"
            if old_type == new_type == ord("d"):
                continue  # a directory's time changes with each name in it
            size = max(old_size or 0, new_size or 0)
            totals[change][0] += 1
            totals[change][1] += size
            yield size, -node, change, old_size, new_size, old_type or new_type or 0

    largest = heapq.nlargest(limit + 1, counted())
    rows: list[Difference] = []
    used = 0
    for _, node, change, old, new, kind in largest[:limit]:
        path = path_of(connection, -node)
        used += _ROW_BYTES + 2 * len(path)
        if rows and used > MOST_BYTES:
            break
        rows.append(Difference(path=path, type=chr(kind), change=change, before=old, after=new))
    return DiffAnswer(
        rows=rows, more=len(rows) < len(largest),
        added=totals["added"][0], added_bytes=totals["added"][1],
        removed=totals["removed"][0], removed_bytes=totals["removed"][1],
        changed=totals["changed"][0], changed_bytes=totals["changed"][1],
    )  # fmt: skip


def _differences(
    connection: sqlite3.Connection, a: Place, b: Place
) -> Iterator[tuple[int, int | None, int | None, int | None, int | None]]:
    values = {"a_chain": a.chain, "a_seq": a.seq, "b_chain": b.chain, "b_seq": b.seq}
    same = a.chain == b.chain
    yield from connection.execute(_GONE + (_SAME_CHAIN.format("old") if same else ""), values)
    yield from connection.execute(_NEW + (_SAME_CHAIN.format("new") if same else ""), values)
