"""What each source gave to an archive: counts `borg list` as it comes, in memory that does not grow with it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.backup.evidence import Given
from shared.domain.lines import LineCutter

if TYPE_CHECKING:
    from collections.abc import Sequence

_REGULAR = (b"-", b"h")
"""As borg says it: a file, and another name of a file that it has listed."""


class GivenCounter:
    """Takes the listing of `commands.list_files` in blocks."""

    def __init__(self, sources: Sequence[str]) -> None:
        """Take the sources; a file below two of them counts for both."""
        self._sources = sources
        self._roots = [source.strip("/").encode(errors="surrogateescape") for source in sources]
        self._below = [root + b"/" if root else b"" for root in self._roots]
        self._files = [0] * len(sources)
        self._sizes = [0] * len(sources)
        self._cutter = LineCutter()

    def __call__(self, block: bytes) -> None:
        """Count the entries that end in this block."""
        # Names may hold newlines, so entries end with NUL; the cutter knows newlines.
        for entry in self._cutter.feed(block.replace(b"\n", b"?").replace(b"\0", b"\n")):
            kind, _, rest = entry.partition(b" ")
            size, _, path = rest.partition(b" ")
            if path and kind in _REGULAR:
                self._count(path, int(size) if size.isdigit() else 0)

    def _count(self, path: bytes, size: int) -> None:
        for number, below in enumerate(self._below):
            if path.startswith(below) or path == self._roots[number]:
                self._files[number] += 1
                self._sizes[number] += size

    @property
    def given(self) -> tuple[Given, ...]:
        """What was counted, in the order of the sources."""
        counted = zip(self._sources, self._files, self._sizes, strict=True)
        return tuple(Given(path=path, files=files, size=size) for path, files, size in counted)
