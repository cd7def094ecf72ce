"""Reads the tar of a restore test entry by entry, and tells of each."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from typing_extensions import override

from services.backup.drills.expected import Met
from services.backup.restore.tar import TarReader, number

if TYPE_CHECKING:
    from collections.abc import Collection

    from services.backup.drills.expected import Expected

_FILE, _LINK, _DIRECTORY = b"0\0" + b"7", b"1", b"5"


class DrillReader(TarReader):
    """Tells of each entry as it begins, and as it is whole; one that breaks off never is."""

    def __init__(self, expected: Expected, hashed: Collection[bytes] | None) -> None:
        """Take who is told, and which files are to be hashed; None: all."""
        super().__init__(hashed)
        self._expected = expected
        self._at: tuple[bytes, Met] | None = None

    @property
    def at(self) -> bytes | None:
        """The entry that is being read."""
        return self._at[0] if self._at else None

    @override
    def _header(self, header: bytes) -> None:
        if self._at is not None:
            self._expected.ends(*self._at)
            self._at = None
        super()._header(header)

    @override
    def _entry(self, kind: bytes, path: bytes, link: bytes | None, header: bytes, size: int) -> int:
        left = super()._entry(kind, path, link, header, size)
        what = "f" if kind and kind in _FILE else {_LINK: "h", _DIRECTORY: "d"}.get(kind, "o")
        met = Met(what, left, number(header[100:108]) & 0o7777, _time(self.given.get(b"mtime"), header))
        self._at = path.rstrip(b"/") or path, met
        self._expected.meets(*self._at)
        return left


def _time(extended: bytes | None, header: bytes) -> int:
    try:
        seconds = Decimal(number(header[136:148]) if extended is None else extended.decode())
    except (InvalidOperation, UnicodeDecodeError):
        return -1
    return int(seconds * 1_000_000)
