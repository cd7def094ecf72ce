"""The catalogue of one repository: a SQLite file that knows every name, and from which archive to which it looked how.

An unchanged file costs nothing in the next archive: its row covers one more. It is a cache: derived from the archives,
and built again when it is lost, damaged or of another version. The node's own disk holds it, never the pool: there the
names of files would stand in clear beside an encrypted repository.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uuid
    from collections.abc import Generator

VERSION = 1
ROOT = 0
_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE chain(id INTEGER PRIMARY KEY, backup_job BLOB UNIQUE);
CREATE TABLE archive(id INTEGER PRIMARY KEY, chain INTEGER NOT NULL, seq INTEGER NOT NULL, borg_id BLOB NOT NULL UNIQUE,
  started_at INTEGER NOT NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL, UNIQUE(chain, seq));
CREATE TABLE owner(id INTEGER PRIMARY KEY, uid INTEGER, gid INTEGER, user BLOB, grp BLOB, UNIQUE(uid, gid, user, grp));
CREATE TABLE node(id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name BLOB NOT NULL, UNIQUE(parent, name));
CREATE TABLE version(node INTEGER NOT NULL, chain INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  type INTEGER NOT NULL, mode INTEGER NOT NULL, owner INTEGER NOT NULL, size INTEGER NOT NULL, mtime INTEGER,
  ctime INTEGER, link BLOB, sha256 BLOB, PRIMARY KEY(node, chain, first)) WITHOUT ROWID;
CREATE VIRTUAL TABLE names USING fts5(name, content='', detail=full, columnsize=0, tokenize='trigram');
"""


def file_of(directory: Path, repository_id: uuid.UUID) -> Path:
    """Return where a repository's catalogue lies."""
    return directory / f"{repository_id.hex}.sqlite"


@contextlib.contextmanager
def writing(file: Path) -> Generator[sqlite3.Connection]:
    """Open a catalogue to write, made anew where there is none that can be used; blocking."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if file.exists() and not _is_usable(file):
        remove(file)
    if not file.exists():
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            connection.execute("PRAGMA page_size=8192")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
        connection.execute("PRAGMA synchronous=NORMAL")
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def reading(file: Path) -> Generator[sqlite3.Connection | None]:
    """Open a catalogue to read; None where there is none that can be read. Blocking."""
    if not file.exists():
        yield None
        return
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        usable = connection.execute("PRAGMA user_version").fetchone()[0] == VERSION
        yield connection if usable else None
    finally:
        connection.close()


def indexed(file: Path) -> set[str]:
    """Return which archives a catalogue holds, by borg's ids; none where it has to be built."""
    try:
        with reading(file) as connection:
            if connection is None:
                return set()
            return {row[0].hex() for row in connection.execute("SELECT borg_id FROM archive")}
    except sqlite3.DatabaseError:
        return set()


def put_in_place(beside: Path, file: Path) -> None:
    """Let a catalogue that was built anew take the place of the one that was read."""
    if not beside.exists():  # there was nothing to index
        remove(file)
        return
    with beside.open("rb") as written:
        os.fsync(written.fileno())
    for left in ("-wal", "-shm"):  # first: with the new file the old one's log would be read as its own
        Path(f"{file}{left}").unlink(missing_ok=True)
    beside.replace(file)


def remove(file: Path) -> None:
    """Remove a catalogue with what SQLite keeps beside it."""
    for beside in ("", "-wal", "-shm"):
        Path(f"{file}{beside}").unlink(missing_ok=True)


def _is_usable(file: Path) -> bool:
    """Tell whether it is of this version and sound; an empty file is one that was never filled."""
    try:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            sound = connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
    except sqlite3.DatabaseError:
        return False
    return bool(sound) and version in (0, VERSION) and (version == VERSION or file.stat().st_size == 0)
