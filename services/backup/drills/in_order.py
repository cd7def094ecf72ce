"""What is expected of a restore test's tar entry by entry, as borg lists the archive: there may be millions."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING
from zlib import crc32

from services.backup.drills.expected import agree

if TYPE_CHECKING:
    from services.backup.drills.expected import Met
    from shared.borg.entries import Entry

_SHOWN = 200
_KINDS = {"-": "f", "h": "h", "d": "d"}


class InOrder:
    """What is expected entry by entry: borg lists an archive in the order in which it exports it.

    It takes some 30 bytes an entry, since an archive may hold millions.
    """

    def __init__(self) -> None:
        """Expect nothing yet."""
        self._kinds, self._paths = bytearray(), array("L")
        self._sizes, self._modes, self._times = array("q"), array("l"), array("q")
        self._next = 0
        self.files = self.size = 0
        """Files and further names of them that are expected, and their bytes."""
        self.read = 0
        self.differing: list[bytes] = []
        """The first ones."""
        self.differ = 0

    def expect(self, entry: Entry) -> None:
        """Take an entry of the listing."""
        kind = _KINDS.get(entry.type, "o")
        self._kinds.append(ord(kind))
        self._paths.append(crc32(entry.path))
        self._sizes.append(entry.size)
        self._modes.append(entry.mode)
        self._times.append(-1 if entry.mtime is None else entry.mtime)
        self.files += kind in "fh"
        self.size += entry.size if kind == "f" else 0

    def meets(self, path: bytes, met: Met) -> None:
        """Hold an entry against the listing."""
        at, self._next = self._next, self._next + 1
        if at < len(self._kinds) and self._as_listed(at, path, met):
            return
        self.differ += 1
        if len(self.differing) < _SHOWN:
            self.differing.append(path)

    def ends(self, path: bytes, met: Met) -> None:
        """Count a whole file."""
        del path
        self.read += met.kind in "fh"

    def _as_listed(self, at: int, path: bytes, met: Met) -> bool:
        kind = chr(self._kinds[at])
        if self._paths[at] != crc32(path) or (kind != met.kind and not (kind == "h" and met.kind == "f")):
            return False
        if kind in "oh":  # a further name has its data with the first one, or comes as a file if that is not chosen
            return True
        size = self._sizes[at] if kind == "f" else None
        return agree(met, size, self._modes[at], self._times[at])
