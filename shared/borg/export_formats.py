"""Writes what is exported of an archive in another form than a tar: one file, a zip, or a tar within zstd.

Lies beside export_archive.py, which puts one of these in the place of the tar that borg would open. Each stands on what
borg brings along: no other program is needed on the node.
"""

from __future__ import annotations

import importlib
import os
import shutil
import stat
import time
import warnings
import zipfile
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

# borg has no types.
_helpers: Any = importlib.import_module("borg.helpers")
_compress: Any = importlib.import_module("borg.compress")

_BLOCK = 1024 * 1024
_RAW_BLOCK = 128 * 1024
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_LEVEL = 3
_EARLIEST, _LATEST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)
LEFT_OUT = "_LEFT_OUT.txt"


class NotThere(_helpers.Error):
    """The archive holds nothing at {}."""

    exit_mcode = 77


class NoFile(_helpers.Error):
    """{} is no regular file."""

    exit_mcode = 77


class Zstd:
    """A stream that compresses: each block becomes a frame of its own, and frames in a row are one zstd file."""

    def __init__(self, stream: Any) -> None:
        """Write to a stream of bytes."""
        self._stream = stream
        self._buffer = bytearray()
        self._compressor = _compress.ZSTD(level=_LEVEL)

    def write(self, data: bytes) -> int:
        """Take bytes; whole blocks are written on."""
        self._buffer += data
        while len(self._buffer) >= _BLOCK:
            self._frame(self._buffer[:_BLOCK])
            del self._buffer[:_BLOCK]
        return len(data)

    def finish(self) -> None:
        """Write what is left; without any frame it would be no zstd file."""
        self._frame(self._buffer)

    def _frame(self, block: bytearray) -> None:
        packed: bytes = self._compressor.compress(bytes(block))
        # borg writes in front of a frame which compression it is, and keeps what gets no smaller as it is.
        is_frame = packed[2 : 2 + len(_ZSTD_MAGIC)] == _ZSTD_MAGIC and len(packed) < len(block)
        self._stream.write(packed[2:] if is_frame else _stored(block))


def _stored(data: bytearray) -> bytes:
    """Return a zstd frame that holds data as they are (RFC 8878): its head with a window of a MiB, then raw blocks."""
    starts = range(0, max(1, len(data)), _RAW_BLOCK)
    frame = bytearray(_ZSTD_MAGIC + b"\x00\x50")
    for start in starts:
        block = data[start : start + _RAW_BLOCK]
        frame += (len(block) << 3 | (start == starts[-1])).to_bytes(3, "little") + block
    return bytes(frame)


class OneFile:
    """The bytes of one regular file, whichever of its hard links it is."""

    def __init__(self, stream: Any, path: str) -> None:
        """Take the file's path."""
        self._stream = stream
        self._path = path
        self._found = False

    def addfile(self, info: Any, content: Any) -> None:
        """Write the file; what lies around it is left out."""
        if info.name != self._path or self._found:
            return
        if not info.isreg():
            raise NoFile(_shown(self._path))
        self._found = True
        if content is not None:
            shutil.copyfileobj(content, self._stream)

    def close(self) -> None:
        """Say so if it was not there."""
        if not self._found:
            raise NotThere(_shown(self._path))
        self._stream.flush()


class Zip:
    """A zip that is written as it comes; what a zip cannot hold is listed in it."""

    def __init__(self, stream: Any, item: Callable[[], Any], content_of: Callable[[Any], Any]) -> None:
        """Take how the item of the entry that comes is found, and the content of one that came before."""
        self._item = item
        self._content_of = content_of
        self._zip = zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._linked: dict[str, tuple[Any, int]] = {}
        self._left_out: list[str] = []
        warnings.simplefilter("ignore", UserWarning)  # borg lists a path twice where a file was read twice

    def addfile(self, info: Any, content: Any) -> None:
        """Add an entry."""
        if info.isdir():
            self._zip.writestr(self._entry(info, stat.S_IFDIR, "/"), b"")
        elif info.issym():
            entry = self._entry(info, stat.S_IFLNK)
            entry.compress_type = zipfile.ZIP_STORED
            self._zip.writestr(entry, os.fsencode(info.linkname))
        elif info.isreg():
            item = self._item()
            if item.get("hardlink_master") or "source" in item:
                self._linked[info.name] = item.chunks, info.size
            self._write(info, content, info.size)
        elif info.islnk() and info.linkname in self._linked:
            # A zip knows no hard links: each name has the data.
            chunks, size = self._linked[info.linkname]
            self._write(info, self._content_of(chunks), size)
        else:
            kind = "a device" if info.ischr() or info.isblk() else "a pipe" if info.isfifo() else "of another kind"
            self._left_out.append(f"{escaped(info.name)}: {kind}")

    def close(self) -> None:
        """Write the list of what was left out, and the directory at the end."""
        if self._left_out:
            self._zip.writestr(LEFT_OUT, "\n".join([*self._left_out, ""]))
        self._zip.close()

    def _write(self, info: Any, content: Any, size: int) -> None:
        entry = self._entry(info, stat.S_IFREG)
        entry.file_size = size  # whether it needs zip64 is asked before its data come
        with self._zip.open(entry, "w") as file:
            if content is not None:
                shutil.copyfileobj(content, file)

    def _entry(self, info: Any, kind: int, end: str = "") -> zipfile.ZipInfo:
        moment = max(_EARLIEST, min(_LATEST, _moment(info.mtime)))
        entry = zipfile.ZipInfo(escaped(info.name) + end, cast("tuple[int, int, int, int, int, int]", moment))
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.create_system = 3  # Unix: what follows are its modes
        entry.external_attr = (kind | info.mode) << 16 | (0x10 if end else 0)
        return entry


def escaped(name: str) -> str:
    r"""Return a name as a zip can hold it: with `%XX` for bytes that are no UTF-8, and for NUL and backslash."""
    raw = os.fsencode(name)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = "".join(f"%{byte:02X}" if byte > 126 or byte == ord("%") else chr(byte) for byte in raw)  # noqa: PLR2004 - not ASCII
    return text.replace("\0", "%00").replace("\\", "%5C")


def _moment(seconds: float) -> tuple[int, ...]:
    try:
        return tuple(time.gmtime(seconds)[:6])
    except (OverflowError, ValueError, OSError):
        return _EARLIEST


def _shown(path: str) -> str:
    return os.fsencode(path).decode(errors="replace")
