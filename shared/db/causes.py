"""Why the database cannot do what is asked, and what to do: the one table of the drivers' numbers and names."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from shared.errors import AppError, Permanent, Transient

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError


@dataclass(frozen=True, slots=True)
class Cause:
    """What a person is told; `lasting`: it does not pass by itself."""

    code: str
    sentence: str
    remedy: str
    lasting: bool = False

    def error(self) -> AppError:
        """Return it as the error that leaves the database's door."""
        if self.lasting:
            return Permanent(self.sentence, code=self.code, remedy=self.remedy)
        return Transient(self.sentence, code=self.code, remedy=self.remedy, retry_after=1.0)


BUSY = Cause(
    "database_busy",
    "the database cannot do this now",
    "nothing: it is tried again; if it stays, see the database's log",
)
AWAY = Cause(
    "database_busy", "the database cannot be reached", "see that the database server runs and that the network is up"
)
CONNECTIONS = Cause(
    "database_busy",
    "the database server takes no more connections",
    "raise its max_connections (or this user's limit), or lower BORGFLEET_DATABASE__POOL_SIZE",
)
BLOCKED = Cause(
    "database_host_blocked",
    "the database server refuses this host after too many connections that failed",
    "run FLUSH HOSTS on the database server, and see why connections to it break",
)
DISK_FULL = Cause(
    "database_disk_full",
    "the disk of the database is full",
    "free space where the database server keeps its data and its temporary files (datadir, tmpdir): it then goes on",
)
READ_ONLY = Cause(
    "database_read_only",
    "the database can only be read",
    "see whether another server has taken over, and whether read_only is set or its disk is mounted read-only",
)
MEMORY = Cause(
    "database_out_of_memory",
    "the database server has too little memory, or too few threads or locks",
    "see its log and its limits: memory, threads, sort_buffer_size, innodb_buffer_pool_size",
)
DISK_ERROR = Cause(
    "database_disk_error",
    "the database cannot read or write one of its files",
    "see the database server's log, and the health and limits of its disk",
)
DAMAGED = Cause(
    "database_damaged",
    "the database's files are damaged",
    "stop Borgfleet, keep a copy of the files, and restore the database from its backup",
    lasting=True,
)
DENIED = Cause(
    "database_denied",
    "the database server refuses this user, this password or this host",
    "see that database.url and its password fit, and that this user has all rights on its database",
    lasting=True,
)
UNKNOWN = Cause(
    "database_unknown",
    "the database server has no database of this name",
    "create it, or correct the name in BORGFLEET_DATABASE__URL",
    lasting=True,
)

NO_TLS = Cause(
    "database_tls",
    "no encrypted connection to the database comes about: it offers none, or its certificate is not the right one",
    "see its ssl_cert, that BORGFLEET_DATABASE__CA_FILE signed it, and that it names the host of the URL",
)
READ_ONLY_NUMBERS = (1290, 1792, 1836)

_OF_MARIA: dict[Cause, tuple[int, ...]] = {
    # Changed since read, lock wait timeout, deadlock, read lock, interrupted, table changed, XA deadlock, to be
    # prepared again, too many transactions, killed, over its time.
    BUSY: (1020, 1205, 1213, 1223, 1317, 1412, 1614, 1615, 1637, 1927, 1969, 3024),
    # Cannot connect, gone away, lost connection, Galera not ready, shutting down, errors of the network.
    AWAY: (2002, 2003, 2006, 2013, 2055, 1047, 1053, 1158, 1159, 1160, 1161),
    CONNECTIONS: (1040, 1203, 1226),
    BLOCKED: (1129,),
    DISK_FULL: (1021, 1114),
    READ_ONLY: READ_ONLY_NUMBERS,
    NO_TLS: (2026, 3159),
    MEMORY: (1037, 1038, 1041, 1135, 1206),
    # Of a file: writing, opening, closing, reading, creating, renaming; from the engine; at COMMIT and ROLLBACK.
    DISK_ERROR: (2, 3, 1004, 1005, 1016, 1023, 1024, 1025, 1026, 1030, 1180, 1181),
    DAMAGED: (1033, 1034, 1035, 1194, 1195, 1712, 1877, 1932),
    DENIED: (1044, 1045, 1130, 1142, 1143, 1227, 1370, 1698),
    UNKNOWN: (1046, 1049),
}
_BY_NUMBER = {number: cause for cause, numbers in _OF_MARIA.items() for number in numbers}
_BY_ERRNO = {
    errno.ENOSPC: DISK_FULL, errno.EDQUOT: DISK_FULL, errno.EROFS: READ_ONLY, errno.ENOMEM: MEMORY,
    errno.EAGAIN: MEMORY, errno.EIO: DISK_ERROR, errno.EMFILE: DISK_ERROR, errno.ENFILE: DISK_ERROR,
    errno.EFBIG: DISK_FULL,
}  # fmt: skip
"""What the operating system said to MariaDB: alone, below 1000, or within the text of another number."""
_ERRNO = re.compile(r"(?:errno:?|error:?|errcode:?) \"?(\d{1,3})\b", re.IGNORECASE)
_LAST_ERRNO = 119  # from 120 on they are those of MariaDB's storage engines
_NAMES = {
    "SQLITE_BUSY": BUSY, "SQLITE_LOCKED": BUSY, "SQLITE_PROTOCOL": BUSY, "SQLITE_INTERRUPT": BUSY,
    "SQLITE_SCHEMA": BUSY,
    "SQLITE_FULL": DISK_FULL, "SQLITE_READONLY": READ_ONLY, "SQLITE_NOMEM": MEMORY, "SQLITE_IOERR_NOMEM": MEMORY,
    "SQLITE_IOERR": DISK_ERROR, "SQLITE_CANTOPEN": BUSY, "SQLITE_PERM": DENIED, "SQLITE_CORRUPT": DAMAGED,
    "SQLITE_NOTADB": DAMAGED,
}  # fmt: skip


def cause_of(error: DBAPIError, file: Path | None = None) -> Cause | None:
    """Return why the database cannot do what was asked, whatever it was; None if it is about the statement itself."""
    name = str(getattr(error.orig, "sqlite_errorname", ""))
    arguments: list[object] = list(error.orig.args) if error.orig else []
    if name:
        found = next((_NAMES[known] for known in sorted(_NAMES, reverse=True) if _is_kind(name, known)), None)
        return _of_file(found, name, file) if found and file else found
    number = arguments[0] if arguments else None
    if "database is locked" in str(number):
        return BUSY
    found = _of_number(number, str(arguments[-1])) if isinstance(number, int) else None
    return AWAY if found is None and error.connection_invalidated else found


def file_of(url: str) -> Path | None:
    """Return the file of an SQLite database; None for another, or one in memory."""
    parts = make_url(url)
    name = parts.database or ""
    is_file = parts.get_backend_name() == "sqlite" and name not in ("", ":memory:") and not name.startswith("file:")
    return Path(name) if is_file else None


def require_place(url: str) -> None:
    """Raise Permanent if SQLite will never open its file; asked before, since its driver fails noisily."""
    file = file_of(url)
    cause = _of_place(file) if file else None
    if cause is not None and cause.lasting:
        raise cause.error()


def _is_kind(name: str, known: str) -> bool:
    return name == known or name.startswith(f"{known}_")


def _of_number(number: int, text: str) -> Cause | None:
    if 0 < number <= _LAST_ERRNO and number in _BY_ERRNO:
        return _BY_ERRNO[number]
    if number == errno.EDQUOT and "quota" in text.lower():
        return DISK_FULL
    found = _BY_NUMBER.get(number)
    if found is DISK_ERROR:
        by_system = next((_BY_ERRNO[int(said)] for said in _ERRNO.findall(text) if int(said) in _BY_ERRNO), None)
        # That a table cannot be made or altered may also be the statement's fault; a file that cannot be written not.
        return by_system or (None if number in (1004, 1005, 1016, 1025) else found)
    return found


def _of_file(found: Cause, name: str, file: Path) -> Cause:
    """Name the file, and look what is wrong with its place: SQLite says the same of several things."""
    place = file.parent
    if _is_kind(name, "SQLITE_CANTOPEN"):
        return _of_place(file) or found
    if found is DISK_ERROR and _is_full(place):
        found = DISK_FULL
    sentence, remedy = {
        DISK_FULL.code: (f"the disk of the database's file {file} is full", f"free space in {place}: it then goes on"),
        READ_ONLY.code: (
            f"the database's file {file} cannot be written",
            f"see that the disk of {place} is mounted for writing, and that the user who runs Borgfleet may write it",
        ),
        DISK_ERROR.code: (
            f"the database's file {file} cannot be read or written",
            f"see the system's log, and the health of the disk of {place}",
        ),
        DAMAGED.code: (f"the database's file {file} is damaged, or no SQLite database", DAMAGED.remedy),
    }.get(found.code, (found.sentence, found.remedy))
    return Cause(found.code, sentence, remedy, found.lasting)


def _of_place(file: Path) -> Cause | None:
    """Return what keeps SQLite from opening a file; None if nothing is seen: then it may pass."""
    place = file.parent
    try:
        read_only = bool(os.statvfs(f"{place}/.").f_flag & os.ST_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        sentence = f"there is no directory {place} for the database's file {file.name}"
        remedy = "make it, mount its disk, or name the right place in BORGFLEET_DATA_DIR or BORGFLEET_DATABASE__URL"
        return Cause("database_file_missing", sentence, remedy, lasting=True)
    except PermissionError:
        return _denied(file)
    if file.is_dir():
        remedy = "name a file in BORGFLEET_DATABASE__URL"
        return Cause("database_file_missing", f"{file} is a directory and no database", remedy, lasting=True)
    if read_only:
        remedy = f"mount the disk of {place} for writing"
        return Cause(READ_ONLY.code, f"the database's file {file} cannot be written", remedy)
    may_use = os.access(place, os.W_OK | os.X_OK, effective_ids=True)
    may_open = not file.exists() or os.access(file, os.R_OK | os.W_OK, effective_ids=True)
    return None if may_use and may_open else _denied(file)


def _denied(file: Path) -> Cause:
    sentence = f"the database's file {file} may not be opened by the user who runs Borgfleet"
    remedy = f"let this user own {file.parent} and what is in it"
    return Cause("database_file_denied", sentence, remedy, lasting=True)


def _is_full(place: Path) -> bool:
    try:
        return os.statvfs(place).f_bavail == 0
    except OSError:
        return False
