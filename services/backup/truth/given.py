"""What each source gave to an archive: counts `borg list` as it comes, in memory that does not grow with it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.backup.truth.evidence import Given
from shared.domain.lines import LineCutter

if TYPE_CHECKING:
    from collections.abc import Sequence

_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")
_LACKING = b"!"
_REGULAR = (b"-", b"h", _LACKING)
"""A file, and another name of a file that was listed, as borg says it; a file that lacks content, as we mark it."""


class GivenCounter:
    """Takes the listing of `commands.list_files`, as list_whole.py prints it, in blocks."""

    def __init__(self, sources: Sequence[str]) -> None:
        """Take the sources, and what else is counted by itself; a file below two of them counts for both."""
        self._sources = sources
        self._roots: dict[bytes, list[int]] = {}
        for number, source in enumerate(sources):
            for root in _as_listed(source):
                self._roots.setdefault(root, []).append(number)
        self._files = [0] * len(sources)
        self._sizes = [0] * len(sources)
        self._lacking = [0] * len(sources)
        self._directory: bytes | None = None
        self._holders: list[int] = []
        self._cutter = LineCutter()

    def __call__(self, block: bytes) -> None:
        """Count the entries that end in this block."""
        # Names may hold newlines, so entries end with NUL; the cutter knows newlines.
        for entry in self._cutter.feed(block.replace(b"\n", b"?").replace(b"\0", b"\n")):
            kind, _, rest = entry.partition(b" ")
            size, _, path = rest.partition(b" ")
            if path and kind in _REGULAR:
                self._count(path, int(size) if size.isdigit() else 0, lacks=kind == _LACKING)

    def _count(self, path: bytes, size: int, *, lacks: bool) -> None:
        directory = path.rpartition(b"/")[0]
        if directory != self._directory:  # borg lists a directory's files one after the other
            self._directory, self._holders = directory, self._above(directory)
        for number in (*self._holders, *self._roots.get(path, ())):
            self._files[number] += 1
            self._sizes[number] += size
            self._lacking[number] += lacks

    def _above(self, directory: bytes) -> list[int]:
        found = list(self._roots.get(b"", ()))
        while directory:
            found += self._roots.get(directory, ())
            directory = directory.rpartition(b"/")[0]
        return found

    @property
    def given(self) -> tuple[Given, ...]:
        """What was counted, in the order of the sources."""
        counted = zip(self._sources, self._files, self._sizes, self._lacking, strict=True)
        return tuple(
            Given(path=path, files=files, size=size, lacking=lacking) for path, files, size, lacking in counted
        )


def _as_listed(path: str) -> set[bytes]:
    r"""Return how borg may list a path; where it holds `\xe9`, that may stand for a byte that is no UTF-8."""
    plain = path.strip("/").encode(errors="surrogateescape").replace(b"\n", b"?")
    return {plain, _BYTE.sub(lambda match: bytes([int(match[1], 16)]), plain)}
