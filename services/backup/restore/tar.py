"""Reads a tar as it passes: counts it, hashes its files, and refuses what would be written outside the target.

Who made the archive is not trusted. A tar that names `..`, an absolute path, or anything below one of its own symbolic
links is broken off before the server's tar has seen that entry.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Collection

_BLOCK = 512
_LARGEST_EXTRA = 1024 * 1024
"""What a longer header may hold: names of 4 KiB, and extended attributes of 64 KiB each."""
_REGULAR, _LINK, _SYMLINK, _DIRECTORY = b"0\0" + b"7", b"1", b"2", b"5"
_SPECIAL = b"346"
_EXTRA = b"xLK"
_SHOWN = 200
_OCTAL_DIGITS = b"01234567"


def hostile(path: bytes, why: str) -> Permanent:
    """Say what an archive tried."""
    message = f"the archive is hostile, and nothing of it was placed: {shown(path)!r} {why}"
    remedy = "take the server or the person who made this archive for hostile; restore from another backup"
    return Permanent(message, code="hostile_archive", remedy=remedy)


def shown(path: bytes) -> str:
    """Return a path for people; what is no UTF-8 shows as U+FFFD."""
    return path.decode(errors="replace")[:_SHOWN]


@dataclass
class Passed:
    """What a tar held."""

    files: int = 0
    size: int = 0
    links: int = 0
    directories: int = 0
    others: int = 0
    """Symbolic links, devices and pipes."""
    hashes: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    """Path -> SHA-256 of the files that were to be hashed."""

    @property
    def names(self) -> int:
        """How many names are no directories."""
        return self.files + self.links + self.others


class TarReader:
    """Takes a tar block by block."""

    def __init__(self, hashed: Collection[bytes] | None = None) -> None:
        """Take which files are to be hashed; None: all."""
        self.passed = Passed()
        self.ended = False
        """The tar said that it is at its end, and did not merely stop."""
        self._hashed = hashed
        self._buffer = bytearray()
        self._left = 0
        self._padding = 0
        self._sink: Any = None
        self._path = b""
        self._extra: tuple[bytes, bytearray] | None = None
        self._given: dict[bytes, bytes] = {}
        self.given: dict[bytes, bytes] = {}
        """The extended headers of the entry that is being read."""
        self._symlinks: set[bytes] = set()

    def feed(self, block: bytes) -> None:
        """Take what passes; Permanent `hostile_archive` or `tar_garbled`, before the whole of it may go on."""
        view = memoryview(block)
        while view and not self.ended:
            if self._left:
                view = self._data(view)
            elif self._padding:
                skipped = min(self._padding, len(view))
                self._padding -= skipped
                view = view[skipped:]
            else:
                wanted = _BLOCK - len(self._buffer)
                self._buffer += view[:wanted]
                view = view[wanted:]
                if len(self._buffer) == _BLOCK:
                    header, self._buffer = bytes(self._buffer), bytearray()
                    self._header(header)

    def _data(self, view: memoryview) -> memoryview:
        part = view[: self._left]
        self._left -= len(part)
        if self._extra is not None:
            self._extra[1].extend(part)
        elif self._sink is not None:
            self._sink.update(part)
        if not self._left:
            self._whole()
        return view[len(part) :]

    def _whole(self) -> None:
        """End an entry's data."""
        if self._extra is not None:
            (kind, data), self._extra = self._extra, None
            if kind == b"x":
                self._given |= _pax(bytes(data))
            else:
                self._given[b"path" if kind == b"L" else b"linkpath"] = bytes(data).rstrip(b"\0")
        elif self._sink is not None:
            self.passed.hashes[self._path], self._sink = self._sink.digest(), None

    def _header(self, header: bytes) -> None:
        if not any(header):
            self.ended = True
            return
        if sum(header[:148]) + sum(header[156:]) + 8 * 32 != number(header[148:156]):
            raise _garbled("a header's checksum is wrong")
        kind, size = header[156:157], number(header[124:136])
        if kind in (b"x", b"L", b"K"):
            if size > _LARGEST_EXTRA:
                raise _garbled(f"a header of {size} bytes")
            self._extra = kind, bytearray()
        else:
            given, self._given = self._given, {}
            self.given = given
            size = int(given.get(b"size", size))
            size = self._entry(kind, given.get(b"path") or _name(header), given.get(b"linkpath"), header, size)
        self._left, self._padding = size, -size % _BLOCK
        if not size and (self._extra is not None or self._sink is not None):
            self._whole()

    def _entry(self, kind: bytes, path: bytes, link: bytes | None, header: bytes, size: int) -> int:
        """Judge and count one entry; return how many bytes of data follow."""
        path = path.rstrip(b"/") or path
        self._judge(path, path)
        passed = self.passed
        self._path = path
        if kind and kind in _REGULAR:
            passed.files += 1
            passed.size += size
            if self._hashed is None or path in self._hashed:
                self._sink = hashlib.sha256()
            return size
        if kind == _LINK:
            self._judge((link or _text(header[157:257])).rstrip(b"/"), path)
            passed.links += 1
        elif kind == _DIRECTORY:
            passed.directories += 1
        elif kind == _SYMLINK or kind in _SPECIAL:
            self._symlinks |= {path} if kind == _SYMLINK else set()
            passed.others += 1
        else:
            raise hostile(path, f"is of a kind that no archive holds: {kind!r}")
        return 0

    def _judge(self, name: bytes, entry: bytes) -> None:
        """Refuse a name that leads out of the target, or through a symbolic link of the archive's own."""
        parts = name.split(b"/")
        if not name or name.startswith(b"/") or b".." in parts or b"." in parts or b"" in parts or b"\0" in name:
            raise hostile(entry, f"leads to {shown(name)!r}")
        if self._symlinks:
            for number in range(1, len(parts) + 1):
                if b"/".join(parts[:number]) in self._symlinks:
                    raise hostile(entry, f"leads through the symbolic link {shown(b'/'.join(parts[:number]))!r}")


def _garbled(why: str) -> Permanent:
    message = f"what borg wrote is no tar that can be checked: {why}"
    return Permanent(message, code="tar_garbled", remedy="report it with the versions of borg and Borgfleet")


def number(field_: bytes) -> int:
    """Return what a number of a header says; a negative one is at least told from others."""
    if field_[:1] in (b"\x80", b"\xff"):
        return int.from_bytes(field_[1:], "big")
    digits = field_.strip(b" \0")
    if digits.strip(_OCTAL_DIGITS):
        raise _garbled(f"a number is none: {field_!r}")
    return int(digits or b"0", 8)


def _text(field_: bytes) -> bytes:
    return field_.partition(b"\0")[0]


def _name(header: bytes) -> bytes:
    name, prefix = _text(header[:100]), _text(header[345:500])
    posix = header[257:263] == b"ustar\0"
    return prefix + b"/" + name if posix and prefix else name


def _pax(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    while data:
        length, _, rest = data.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(data):
            raise _garbled("an extended header is cut")
        key, _, value = rest[: int(length) - len(length) - 1].partition(b"=")
        found[key] = value.removesuffix(b"\n")
        data = data[int(length) :]
    return found
