"""An archive's entries as borg writes its listing."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta

from shared.borg.entries import Entry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = {"d": stat.S_IFDIR, "l": stat.S_IFLNK, "p": stat.S_IFIFO, "c": stat.S_IFCHR, "b": stat.S_IFBLK}


def as_listed(entry: Entry) -> bytes:
    """Return one entry's record."""
    mode = stat.filemode(_KINDS.get(entry.type, stat.S_IFREG) | entry.mode)
    if entry.type == "h":
        mode = f"h{mode[1:]}"
    fields = [
        "-" if entry.type == "h" else entry.type, mode, str(entry.uid), str(entry.gid), _text(entry.user),
        _text(entry.group), str(entry.size), _time(entry.mtime), _time(entry.ctime), _text(entry.link), _text(entry.path),
    ]  # fmt: skip
    return ("".join(f"{field}\0" for field in fields) + "\n").encode("unicode_escape")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _time(at: int | None) -> str:
    return "" if at is None else (_EPOCH + timedelta(microseconds=at)).isoformat()
