"""Files inside backups, as a backup node is asked for them and answers."""

from __future__ import annotations

import base64
import uuid
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator

LIST, VERSIONS, SEARCH, DIFF, USAGE = "list", "versions", "search", "diff", "usage"
VERBS = (LIST, VERSIONS, SEARCH, DIFF, USAGE)
MOST_ROWS = 500
MOST_BYTES = 512 * 1024
"""Of one answer: nats-server carries a megabyte."""
LONGEST_PATH = 16 * 1024
LIST_SECONDS = 60.0
"""borg reads some 200,000 entries a second; without a catalogue all below a directory are read."""

CATALOGUE_SECONDS = 10.0
"""A question that the catalogue alone can answer."""


def subject(verb: str, node: str) -> str:
    """Return where a backup node is asked."""
    return f"ask.catalogue.{verb}.{node}"


def _decoded(value: object) -> bytes:
    return value if isinstance(value, bytes) else base64.b64decode(str(value), validate=True)


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


Base64: TypeAlias = Annotated[
    bytes,
    PlainValidator(_decoded, json_schema_input_type=str),
    PlainSerializer(_encoded, return_type=str, when_used="json"),
]
"""Bytes of a name or a path, which may be no UTF-8."""


class ListAsked(BaseModel):
    """One page of a directory of a backup."""

    model_config = ConfigDict(frozen=True)

    archive_id: uuid.UUID
    """Of the record."""
    path: Base64 = b""
    after: Base64 | None = None
    """The last name of the page before."""
    limit: int = Field(default=200, ge=1, le=MOST_ROWS)


class FileRow(BaseModel):
    """One name in a directory; times in microseconds since 1970, UTC."""

    model_config = ConfigDict(frozen=True)

    name: Base64
    type: str
    mode: int | None = None
    """None, as all that follows, of a directory that the archive only implies."""
    uid: int | None = None
    gid: int | None = None
    user: Base64 = b""
    group: Base64 = b""
    size: int | None = None
    mtime: int | None = None
    link: Base64 = b""


class ListAnswer(BaseModel):
    """A page, in the order of the names' bytes."""

    model_config = ConfigDict(frozen=True)

    rows: list[FileRow]
    more: bool = False
    source: str
    """`archive`: borg read it; `catalogue`: it was kept."""


class VersionsAsked(BaseModel):
    """What a path was in all backups of a repository."""

    model_config = ConfigDict(frozen=True)

    repository_id: uuid.UUID
    path: Base64
    limit: int = Field(default=200, ge=1, le=MOST_ROWS)


class Version(BaseModel):
    """One content of a path; times in microseconds since 1970, UTC."""

    model_config = ConfigDict(frozen=True)

    type: str
    size: int
    mtime: int | None
    archives: int
    """In so many of them it stood."""
    first_at: int
    last_at: int
    borg_id: str
    """Of the newest archive that holds it."""


class VersionsAnswer(BaseModel):
    """The newest first."""

    model_config = ConfigDict(frozen=True)

    rows: list[Version]
    more: bool = False


class UsageAsked(BaseModel):
    """How much stands below each name of a directory of a backup."""

    model_config = ConfigDict(frozen=True)

    repository_id: uuid.UUID
    borg_id: str
    path: Base64 = b""
    limit: int = Field(default=200, ge=1, le=MOST_ROWS)


class Usage(BaseModel):
    """One name, with all below it."""

    model_config = ConfigDict(frozen=True)

    name: Base64
    files: int
    size: int


class UsageAnswer(BaseModel):
    """The largest first; the sums are of all."""

    model_config = ConfigDict(frozen=True)

    rows: list[Usage]
    files: int
    size: int
    more: bool = False
    partial: bool = False
    """Time was over before all was added up."""


class DiffAsked(BaseModel):
    """What differs between two backups of a repository."""

    model_config = ConfigDict(frozen=True)

    repository_id: uuid.UUID
    before: str
    """Of borg's ids."""
    after: str
    limit: int = Field(default=200, ge=1, le=MOST_ROWS)


Change: TypeAlias = Literal["added", "removed", "changed"]


class Difference(BaseModel):
    """A path that is not the same in both; its size before and after."""

    model_config = ConfigDict(frozen=True)

    path: Base64
    type: str
    change: Change
    before: int | None
    after: int | None


class DiffAnswer(BaseModel):
    """The largest first; the counts and bytes are of all."""

    model_config = ConfigDict(frozen=True)

    rows: list[Difference]
    more: bool = False
    added: int
    added_bytes: int
    removed: int
    removed_bytes: int
    changed: int
    changed_bytes: int


class Wanted(BaseModel):
    """What is searched for, read from what a person typed: `invoice ext:pdf in:/srv size>10M deleted:yes`."""

    model_config = ConfigDict(frozen=True)

    words: tuple[str, ...] = ()
    """In lower case; all stand in the name."""
    ending: str = ""
    within: Base64 = b""
    least: int | None = None
    most: int | None = None
    gone: bool | None = None

    @classmethod
    def of(cls, text: str) -> Self:
        """Read a search; ValueError if it looks for no name, or a part of it makes no sense."""
        values: dict[str, Any] = {}
        words: list[str] = []
        for part in text.split():
            key, _, value = part.partition(":")
            if part.startswith(("size>", "size<")):
                values["least" if part[4] == ">" else "most"] = _size(part[5:])
            elif key == "in" and value:
                values["within"] = value.strip("/").encode("utf-8", "surrogateescape")
            elif key == "ext" and value:
                values["ending"] = "." + value.lower().removeprefix(".")
            elif key == "deleted" and value in ("yes", "no"):
                values["gone"] = value == "yes"
            else:
                words.append(part.lower())
        if not words and "ending" not in values:
            raise ValueError(_NO_SEARCH)
        if not words and len(values["ending"]) >= _TRIGRAM:
            words.append(values["ending"])
        return cls(words=tuple(words), **values)

    def fits(self, size: int, *, gone: bool) -> bool:
        """Tell whether a file of this size, deleted or not, is meant."""
        if self.gone is not None and self.gone != gone:
            return False
        return (self.least is None or size >= self.least) and (self.most is None or size <= self.most)


class SearchAsked(BaseModel):
    """Names in all backups of some repositories of a node."""

    model_config = ConfigDict(frozen=True)

    repository_ids: list[uuid.UUID]
    wanted: Wanted
    limit: int = Field(default=100, ge=1, le=MOST_ROWS)


class Hit(BaseModel):
    """A path that fits; times in microseconds since 1970, UTC."""

    model_config = ConfigDict(frozen=True)

    repository_id: uuid.UUID
    path: Base64
    type: str
    size: int
    mtime: int | None
    borg_id: str
    """Of the newest archive that holds it."""
    first_at: int
    last_at: int
    gone_since: int | None
    """When the first backup was made that did not hold it any more."""
    whole: bool
    """The name is what was typed, and not only a part of it."""


class SearchAnswer(BaseModel):
    """Whole names first, then the newest; `unknown`: repositories without a catalogue."""

    model_config = ConfigDict(frozen=True)

    rows: list[Hit]
    more: bool = False
    unknown: list[uuid.UUID] = []


_TRIGRAM = 3
_DIGITS = 12
_NO_SEARCH = "a search has a word or an ending, and sizes as 10M"
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def _size(text: str) -> int:
    digits = text.rstrip("kKmMgGtT")
    if not digits.isascii() or not digits.isdigit() or len(text) - len(digits) > 1 or len(digits) > _DIGITS:
        raise ValueError(_NO_SEARCH)
    return int(digits) * _UNITS[text[len(digits) :].lower()]
