"""Lists an archive by borg's own command; marks with `!` each file of whose content a part is not in the repository.

A script, run by the Python that runs the node's borg: `list_whole.py list ... PATH::NAME`; the arguments are borg's,
and its format begins with the entry's type. borg's listing alone reads what an archive says of its files. Their content
is elsewhere: a server whose borg took it for stored, by a cache that is wrong or by intent, makes an archive that lists
well and cannot be extracted. Whether an object is there, the repository's index tells; nothing of it is read. Of a
file's further names only the first one has the content: each of them is marked that has no such first one before it.
"""

from __future__ import annotations

import importlib
import stat
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# borg has no types.
_archiver: Any = importlib.import_module("borg.archiver")
_Formatter: Any = _archiver.ItemFormatter


class WholeFormatter(_Formatter):
    """borg's own, with the mark in the place of the type."""

    def __init__(self, archive: Any, *given: Any, **named: Any) -> None:
        """Take the archive that is listed; borg also makes one of no archive, to know the names of its fields."""
        super().__init__(archive, *given, **named)  # pyright: ignore[reportUnknownMemberType] - borg has no types
        self._repository = getattr(archive, "repository", None)
        self._whole_names = set[int]()
        """First names of files that have more, with all content there: by their hash, as there may be millions."""

    def format_item(self, item: Any) -> str:
        """Return an entry as it is printed."""
        of_borg: Any = super()
        text: str = of_borg.format_item(item)
        return text if self._is_whole(item) else f"!{text[1:]}"

    def _is_whole(self, item: Any) -> bool:
        chunks = item.get("chunks")
        if chunks is None:
            # What is no file has no content, and the source of a symbolic link is what it points to.
            return not stat.S_ISREG(item.mode) or hash(item.get("source")) in self._whole_names
        whole = all(chunk.id in self._repository for chunk in chunks)
        if whole and item.get("hardlink_master"):
            self._whole_names.add(hash(item.path))
        return whole


def main(argv: Sequence[str]) -> None:
    """Let borg's main list."""
    _archiver.ItemFormatter = WholeFormatter
    sys.argv = ["borg", *argv]
    _archiver.main()


if __name__ == "__main__":
    main(sys.argv[1:])
