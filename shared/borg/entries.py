r"""An archive's entries as borg lists them, with names that lose nothing: any byte but NUL may stand in one.

borg writes its listing in `unicode_escape`, so that what is no UTF-8 arrives as `\udce9` and not as a question mark.
Each field ends with a NUL, and each record holds as many; a newline that ends a record may also begin a name.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shared.borg.commands import LOCK_WAIT, literal
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ESCAPED = "unicode_escape"
ENVIRONMENT = {"PYTHONIOENCODING": ESCAPED}
"""Of the borg that lists; what it says of its errors comes so too, see `unescaped`."""
_FIELDS = ("type", "mode", "uid", "gid", "user", "group", "size", "isomtime", "isoctime", "linktarget", "bpath")
_NUL = rb"\x00"
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_BITS = {"r": 4, "w": 2, "x": 1, "s": 1, "t": 1}
_SPECIAL = (stat.S_ISUID, stat.S_ISGID, stat.S_ISVTX)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory, link or device of an archive; times in microseconds since 1970, UTC."""

    path: bytes
    """Without a leading slash."""
    type: str
    """`-` file, `d` directory, `l` symbolic link, `h` another name of a file listed before, `b c p s`."""
    mode: int
    uid: int | None
    gid: int | None
    user: bytes
    group: bytes
    size: int
    mtime: int | None
    ctime: int | None
    link: bytes = b""
    """Where a link leads: for showing only, since borg may have replaced bytes of it."""


def list_entries(borg: str, path: str, archive: str, below: Sequence[bytes] = ()) -> list[str]:
    """Return the argv that lists an archive, or what is at and below some of its paths."""
    target = f"{path}::{literal(archive)}"
    entry = "--format=" + "".join(f"{{{name}}}{{NUL}}" for name in _FIELDS) + "{NL}"
    argv = [borg, "list", "--log-json", entry, f"--lock-wait={LOCK_WAIT}", "--", target]
    return [*argv, *(os.fsdecode(b"pp:" + one) for one in below)]


class EntryReader:
    """Takes the listing in blocks and hands on each entry; holds no more than one of them."""

    def __init__(self, entry: Callable[[Entry], None]) -> None:
        """Take who gets the entries, in borg's order."""
        self._entry = entry
        self._rest = b""
        self._fields: list[str] = []
        self._first = True

    def __call__(self, block: bytes) -> None:
        """Read a block."""
        whole = self._rest + block
        end = _last_nul(whole)
        self._rest = whole[end:]
        # The last NUL's own field is complete; what follows it is cut off above.
        self._fields += whole[:end].decode("unicode_escape").split("\0")[:-1] if end else ()
        count = len(_FIELDS)
        upto = len(self._fields) - len(self._fields) % count
        for start in range(0, upto, count):
            self._read(self._fields[start : start + count])
        del self._fields[:upto]

    def close(self) -> None:
        """Make sure that the listing came to its end."""
        if self._fields or self._rest not in (b"", rb"\n"):
            message = "the listing of an archive broke off in the middle of an entry"
            raise Permanent(message, code="borg_garbled", remedy="see the job's log; it is tried again at the next run")

    def _read(self, fields: list[str]) -> None:
        kind, mode, uid, gid, user, group, size, mtime, ctime, link, path = fields
        if not self._first:
            kind = kind.removeprefix("\n")
        self._first = False
        if mode.startswith("h"):
            kind = "h"
        self._entry(
            Entry(
                _bytes(path).lstrip(b"/"), kind, mode_of(mode), _number(uid), _number(gid), _bytes(user), _bytes(group),
                _number(size) or 0, _time(mtime), _time(ctime), _bytes(link),
            )
        )  # fmt: skip


def unescaped(raw: bytes) -> list[bytes]:
    """Return the lines of stderr that a borg with this environment wrote as one: their ends are escaped as well."""
    try:
        return raw.decode(ESCAPED).encode("utf-8", "surrogateescape").splitlines()
    except UnicodeError:  # cut within an escape, or never borg's
        return [raw]


def mode_of(shown: str) -> int:
    """Return the permissions that `ls` would show like this."""
    found = 0
    for place, letter in enumerate(shown[1:10]):
        found |= _BITS.get(letter.lower() if letter in "ST" else letter, 0) << 3 * (2 - place // 3)
        if letter in "sStT":
            found |= _SPECIAL[place // 3]
            if letter in "ST":
                found &= ~(1 << 3 * (2 - place // 3))
    return found


def _last_nul(text: bytes) -> int:
    """Return where the last NUL ends that is one: before it stands an even number of backslashes."""
    at = len(text)
    while (at := text.rfind(_NUL, 0, at)) >= 0:
        before = at - len(text[:at].rstrip(b"\\"))
        if before % 2 == 0:
            return at + len(_NUL)
    return 0


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _time(text: str) -> int | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at.replace(tzinfo=at.tzinfo or UTC) - _EPOCH) // _MICROSECOND
