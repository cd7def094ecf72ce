"""One directory out of an archive's listing, in memory that grows with that directory alone. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.domain.files import MOST_BYTES, FileRow, ListAnswer
from shared.domain.messages.files import PATH_IS_NO_DIRECTORY, PATH_NOT_IN_ARCHIVE
from shared.errors import Invalid

if TYPE_CHECKING:
    from shared.borg.entries import Entry
    from shared.domain.files import ListAsked

_ROW_BYTES = 300
"""What a row takes beside its names."""


class Directory:
    """Takes the entries of an archive and keeps what stands directly in one directory."""

    def __init__(self, path: bytes) -> None:
        """Take its path, without slashes at its ends; empty for the root of the archive."""
        self._path = path
        self._prefix = path + b"/" if path else b""
        self._found: dict[bytes, Entry | None] = {}
        self._itself: Entry | None = None

    def __call__(self, entry: Entry) -> None:
        """Look at an entry; what lies deeper makes the directory between known, which may have no entry of its own."""
        if entry.path == self._path:
            self._itself = entry
            return
        if not entry.path.startswith(self._prefix):
            return
        name, deeper, _ = entry.path[len(self._prefix) :].partition(b"/")
        if not deeper:
            self._found[name] = entry
        else:
            self._found.setdefault(name, None)

    def page(self, asked: ListAsked) -> ListAnswer:
        """Return a page; Invalid where the archive holds no such directory."""
        shown = "/" + self._path.decode(errors="replace")
        if not self._found and self._itself is None and self._path:
            raise Invalid(PATH_NOT_IN_ARCHIVE(path=shown))
        if self._itself is not None and self._itself.type != "d":
            raise Invalid(PATH_IS_NO_DIRECTORY(path=shown))
        names = sorted(name for name in self._found if asked.after is None or name > asked.after)
        rows: list[FileRow] = []
        size = 0
        for name in names[: asked.limit]:
            row = _row(name, self._found[name])
            size += _ROW_BYTES + 2 * (len(row.name) + len(row.link) + len(row.user) + len(row.group))
            if rows and size > MOST_BYTES:
                break
            rows.append(row)
        return ListAnswer(rows=rows, more=len(rows) < len(names), source="archive")


def _row(name: bytes, entry: Entry | None) -> FileRow:
    if entry is None:
        return FileRow(name=name, type="d")
    return FileRow(
        name=name, type=entry.type, mode=entry.mode, uid=entry.uid, gid=entry.gid, user=entry.user, group=entry.group,
        size=entry.size, mtime=entry.mtime, link=entry.link,
    )  # fmt: skip
