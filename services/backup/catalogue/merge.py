"""Adds an archive's listing to a catalogue, and takes an archive out of it; each in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from services.backup.catalogue.store import ROOT

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from shared.borg.entries import Entry

_BATCH = 5000
_NEVER = 2**62
_FIND = "SELECT id FROM node WHERE parent = ? AND name = ?"
_COVERS = (
    "SELECT first, type, mode, owner, size, mtime, ctime, link FROM version "
    "WHERE node = ? AND chain = ? AND first <= ? AND last >= ?"
)
_ADD = (
    "INSERT OR REPLACE INTO version(node, chain, first, last, type, mode, owner, size, mtime, ctime, link) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Archived(NamedTuple):
    """An archive as the records know it."""

    borg_id: bytes
    chain: bytes | None
    """Its backup job's id; None: it belongs to no series."""
    started_at: int
    """In microseconds since 1970, UTC."""


def archives(connection: sqlite3.Connection) -> set[bytes]:
    """Return the archives that a catalogue holds, by borg's ids."""
    return {row[0] for row in connection.execute("SELECT borg_id FROM archive")}


class Merge:
    """Takes an archive's entries in borg's order; memory grows with its directories alone. Commit it, or give it up."""

    def __init__(self, connection: sqlite3.Connection, archive: Archived) -> None:
        """Begin the transaction."""
        self._db = connection
        self._archive = archive
        connection.execute("BEGIN IMMEDIATE")
        self._chain, self._before, self._seq = self._place()
        self._directories: dict[bytes, int] = {b"": ROOT}
        self._owners: dict[tuple[object, ...], int] = {}
        self._same: list[tuple[int, int, int, int]] = []
        self._entries = self._bytes = 0
        self.files = 0
        """As borg counts them: regular files, each by its first name."""

    def __call__(self, entry: Entry) -> None:
        """Take one entry: its row of the archive before covers this one too, if nothing changed."""
        self._entries += 1
        self.files += entry.type == "-"
        self._bytes += entry.size
        node = self._node(entry.path)
        row = (
            ord(entry.type), entry.mode, self._owner(entry), entry.size, entry.mtime, entry.ctime, entry.link or None
        )  # fmt: skip
        known = self._db.execute(_COVERS, (node, self._chain, self._before, self._before)).fetchone()
        if known is not None and tuple(known[1:]) == row:
            self._same.append((self._seq, node, self._chain, known[0]))
            if len(self._same) >= _BATCH:
                self._flush()
        else:
            self._db.execute(_ADD, (node, self._chain, self._seq, self._seq, *row))

    def commit(self) -> int:
        """Make it visible as a whole; return how many entries there were."""
        self._flush()
        self._db.execute(
            "INSERT INTO archive(chain, seq, borg_id, started_at, entries, bytes) VALUES (?, ?, ?, ?, ?, ?)",
            (self._chain, self._seq, self._archive.borg_id, self._archive.started_at, self._entries, self._bytes),
        )
        self._db.execute("COMMIT")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self._entries

    def give_up(self) -> None:
        """Leave the catalogue as it was."""
        self._db.execute("ROLLBACK")

    def _place(self) -> tuple[int, int, int]:
        """Return the chain, the newest number in it, and this archive's; a number is never given twice."""
        found = self._db.execute("SELECT id FROM chain WHERE backup_job = ?", (self._archive.chain,)).fetchone()
        if found is not None:
            newest, latest = self._db.execute(
                "SELECT coalesce(max(seq), 0), coalesce(max(started_at), 0) FROM archive WHERE chain = ?", found
            ).fetchone()
            if self._archive.started_at >= latest:
                return found[0], newest, self._number()
        of = self._archive.chain if found is None else None  # one that comes late stands alone until all is built anew
        chain = self._db.execute("INSERT INTO chain(backup_job) VALUES (?) RETURNING id", (of,)).fetchone()[0]
        return chain, 0, self._number()

    def _number(self) -> int:
        given = self._db.execute("SELECT value FROM meta WHERE key = 'seq'").fetchone()
        number = 1 + (given[0] if given else 0)
        self._db.execute("INSERT OR REPLACE INTO meta(key, value) VALUES ('seq', ?)", (number,))
        return number

    def _node(self, path: bytes) -> int:
        """Return a path's number; of a directory it is remembered, since its files follow."""
        if (known := self._directories.get(path)) is not None:
            return known
        above, _, name = path.rpartition(b"/")
        parent = self._directories.get(above)
        if parent is None:
            parent = self._directories[above] = self._node(above)
        found = self._db.execute(_FIND, (parent, name)).fetchone()
        if found is not None:
            return int(found[0])
        made = int(self._db.execute("INSERT INTO node(parent, name) VALUES (?, ?)", (parent, name)).lastrowid or 0)
        self._db.execute("INSERT INTO names(rowid, name) VALUES (?, ?)", (made, name.decode(errors="replace")))
        return made

    def _owner(self, entry: Entry) -> int:
        key = (entry.uid, entry.gid, entry.user, entry.group)
        if key not in self._owners:
            found = self._db.execute(
                "SELECT id FROM owner WHERE uid IS ? AND gid IS ? AND user = ? AND grp = ?", key
            ).fetchone()
            self._owners[key] = int(
                found[0]
                if found
                else self._db.execute("INSERT INTO owner(uid, gid, user, grp) VALUES (?, ?, ?, ?)", key).lastrowid or 0
            )
        return self._owners[key]

    def _flush(self) -> None:
        self._db.executemany("UPDATE version SET last = ? WHERE node = ? AND chain = ? AND first = ?", self._same)
        self._same.clear()


def drop(connection: sqlite3.Connection, borg_ids: Iterable[bytes]) -> None:
    """Take archives out, with each row that covers no archive any more, and each name that has no row."""
    connection.execute("BEGIN IMMEDIATE")
    for borg_id in borg_ids:
        row = connection.execute("DELETE FROM archive WHERE borg_id = ? RETURNING chain, seq", (borg_id,)).fetchone()
        if row is not None:
            _drop(connection, *row)
    connection.execute("COMMIT")


def _drop(connection: sqlite3.Connection, chain: int, seq: int) -> None:
    """A row is dead if it begins after the archive before and ends before the one that follows."""
    before, after = connection.execute(
        "SELECT max(CASE WHEN seq < ?1 THEN seq END), min(CASE WHEN seq > ?1 THEN seq END) "
        "FROM archive WHERE chain = ?2",
        (seq, chain),
    ).fetchone()
    dead = connection.execute(
        "DELETE FROM version WHERE chain = ? AND first > ? AND last < ? RETURNING node",
        (chain, -1 if before is None else before, _NEVER if after is None else after),
    ).fetchall()
    waiting = {row[0] for row in dead}
    while waiting:
        waiting = {parent for node in waiting if (parent := _forget(connection, node)) is not None}


def _forget(connection: sqlite3.Connection, node: int) -> int | None:
    """Remove a name that has neither row nor child; return the directory above, which may be next."""
    row = connection.execute(
        "SELECT parent, name FROM node WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM version WHERE node = ?1) "
        "AND NOT EXISTS (SELECT 1 FROM node AS child WHERE child.parent = ?1)",
        (node,),
    ).fetchone()
    if row is None:
        return None
    connection.execute("DELETE FROM node WHERE id = ?", (node,))
    connection.execute(
        "INSERT INTO names(names, rowid, name) VALUES ('delete', ?, ?)", (node, row[1].decode(errors="replace"))
    )
    return int(row[0])
