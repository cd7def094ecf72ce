"""What is expected of the entries of a restore test's tar: of some files by path, or of all in borg's order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.domain.sampling import Candidate

_ROUNDED = 2
"""borg counts in floating point where it lists: so many microseconds tell nothing."""
_LATEST = 2**33 * 10**6


class Met(NamedTuple):
    """An entry of the tar: `f` file, `h` further name of one, `d` directory, `o` all others; time in microseconds."""

    kind: str
    size: int
    mode: int
    mtime: int


class Expected(Protocol):
    """What is told of each entry, in the order of the tar."""

    def meets(self, path: bytes, met: Met) -> None:
        """Take an entry's header."""
        ...

    def ends(self, path: bytes, met: Met) -> None:
        """Take note that an entry was read to its end."""
        ...


def agree(met: Met, size: int | None, mode: int | None, mtime: int | None) -> bool:
    """Tell whether an entry is as it was recorded; what is not known is not compared."""
    if (size is not None and met.size != size) or (mode is not None and met.mode != mode):
        return False
    if mtime is None or not 0 < mtime < _LATEST:  # borg lists no time outside of these
        return True
    return abs(met.mtime - mtime) <= _ROUNDED


@dataclass
class ByPath:
    """What is expected of files by their paths, in whatever order they come."""

    files: dict[bytes, Candidate]
    whole: dict[bytes, Met] = field(default_factory=dict[bytes, Met])

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> ByPath:
        """Take what was chosen."""
        return cls({one.path: one for one in candidates})

    def meets(self, path: bytes, met: Met) -> None:
        """Nothing: a path that comes twice counts by what comes last."""
        del met
        self.whole.pop(path, None)

    def ends(self, path: bytes, met: Met) -> None:
        """Take note of a whole file."""
        self.whole[path] = met

    def left(self, items: Sequence[bytes]) -> list[bytes]:
        """Return which of these were not read to their end."""
        return [item for item in items if item not in self.whole]

    def agrees(self, path: bytes) -> bool:
        """Tell whether a whole file is as it was recorded."""
        met, one = self.whole[path], self.files[path]
        return met.kind == "f" and agree(met, one.size, one.mode, one.mtime)
