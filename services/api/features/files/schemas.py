"""Schemas of the files inside backups."""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from shared.domain.files import FileRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES: dict[str, FileType] = {
    "-": "file", "d": "directory", "l": "symlink", "h": "hardlink", "p": "fifo", "c": "device", "b": "device",
    "s": "socket",
}  # fmt: skip
FileType = Literal["file", "directory", "symlink", "hardlink", "fifo", "device", "socket", "other"]


class FileOut(BaseModel):
    """A name in a directory of a backup."""

    name: str = Field(description="Bytes that are no UTF-8 as U+FFFD; control characters are as they are.")
    name_b64: str | None = Field(description="The name's bytes, where they are no UTF-8.")
    type: FileType
    mode: int | None = Field(description="Permissions; null where the backup holds no entry of a directory itself.")
    uid: int | None
    gid: int | None
    user: str
    group: str
    size: int | None
    modified_at: datetime | None
    target: str = Field(description="Where a link leads, for showing.")


class FilesOut(BaseModel):
    """A page of a directory, in the order of the names' bytes."""

    items: list[FileOut]
    next: str | None = Field(description="`after` of the next page; null on the last one.")
    source: Literal["archive", "catalogue"] = Field(
        description="`archive`: borg read the archive for it, which takes seconds for many files."
    )


def to_schema(row: FileRow) -> FileOut:
    """Show a row; a time that no calendar has is left out."""
    return FileOut(
        name=text_of(row.name),
        name_b64=base64_of(row.name),
        type=type_of(row.type),
        mode=row.mode,
        uid=row.uid,
        gid=row.gid,
        user=row.user.decode(errors="replace"),
        group=row.group.decode(errors="replace"),
        size=row.size,
        modified_at=moment(row.mtime),
        target=row.link.decode(errors="replace"),
    )


def moment(microseconds: int | None) -> datetime | None:
    """Read a time; None for one that no calendar has."""
    try:
        return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return None


class VersionOut(BaseModel):
    """One content that a path had."""

    type: FileType
    size: int
    modified_at: datetime | None
    backups: int = Field(description="So many backups hold it.")
    first_at: datetime
    last_at: datetime
    backup_id: uuid.UUID | None = Field(
        description="The newest backup that holds it; null if it has just been deleted."
    )


class VersionsOut(BaseModel):
    """What a path was in all backups of a repository, the newest first."""

    items: list[VersionOut]
    more: bool = Field(description="There are more than were asked for.")


class UsageRow(BaseModel):
    """A name in a directory, with all below it; hard links count once."""

    name: str
    name_b64: str | None = Field(description="The name's bytes, where they are no UTF-8.")
    files: int
    size: int


class UsageOut(BaseModel):
    """How much stands below each name of a directory, the largest first."""

    items: list[UsageRow]
    files: int
    size: int
    more: bool = Field(description="There are more names than were asked for; `files` and `size` count them too.")
    partial: bool = Field(description="Time was over before all was added up.")


class DifferenceOut(BaseModel):
    """A path that differs; directories whose entries alone changed are left out."""

    path: str
    path_b64: str | None = Field(description="The path's bytes, where they are no UTF-8.")
    type: FileType
    change: Literal["added", "removed", "changed"]
    size_before: int | None
    size_after: int | None


class DiffOut(BaseModel):
    """What differs between two backups, the largest first; the counts and bytes are of all."""

    items: list[DifferenceOut]
    more: bool
    added: int
    added_bytes: int
    removed: int
    removed_bytes: int
    changed: int
    changed_bytes: int


class HitOut(BaseModel):
    """A path that fits a search."""

    server_id: uuid.UUID
    server: str
    repository_id: uuid.UUID
    repository: str
    path: str
    path_b64: str | None = Field(description="The path's bytes, where they are no UTF-8.")
    type: FileType
    size: int
    modified_at: datetime | None
    backup_id: uuid.UUID | None = Field(description="The newest backup that holds it.")
    first_at: datetime
    last_at: datetime
    gone_since: datetime | None = Field(description="When the first backup was made that did not hold it any more.")


class IncompleteOut(BaseModel):
    """A backup node that gave no answer, and why."""

    node: str
    code: str


class SearchOut(BaseModel):
    """Hits: whole names first, then the newest."""

    items: list[HitOut]
    more: bool = Field(description="There are more: narrow the search.")
    incomplete: list[IncompleteOut] = Field(description="Nodes whose backups are not among these hits.")
    not_indexed: list[uuid.UUID] = Field(description="Repositories whose catalogue is still to be built.")


def type_of(letter: str) -> FileType:
    """Name a type as borg writes it."""
    return _TYPES.get(letter, "other")


def text_of(raw: bytes) -> str:
    """Show a name or a path."""
    return raw.decode(errors="replace")


def base64_of(raw: bytes) -> str | None:
    """Return the bytes of what is no UTF-8."""
    return None if raw.decode(errors="replace").encode() == raw else base64.b64encode(raw).decode()
