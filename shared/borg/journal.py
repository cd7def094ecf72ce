"""What a node remembers of its own work on a repository: it outlives a database that was restored from a backup.

One file a repository in the node's state directory, a JSON object a line. A line is on disk before what it says is
done, where that takes something away. A line that cannot be read, as the last one of a machine that lost its power, is
passed over: then less is known to be ours, and more is taken for a loss.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.domain.archive import ArchiveFigures
from shared.domain.messages import borg_causes as causes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_LARGEST = 8 * 1024 * 1024
_KEPT = 4000
_WITH_EVIDENCE = 100
_EVIDENCE = 32 * 1024


class Made(BaseModel):
    """An archive that a run of ours made, as it was put on record."""

    model_config = ConfigDict(frozen=True)

    figures: ArchiveFigures
    job_id: str | None = None
    backup_job_id: str | None = None
    state: str
    trusted: bool = False
    reasons: list[dict[str, str]] = Field(default_factory=list[dict[str, str]])
    messages: list[dict[str, Any] | None] = Field(default_factory=list[dict[str, Any] | None])
    """Of each reason its message, apart: an older version passes over a line whose reasons hold more than text."""
    evidence: dict[str, Any] | None = None
    created_at: datetime

    @property
    def told(self) -> list[dict[str, Any]]:
        """The reasons as an archive's row holds them."""
        return [one | {"message": said} for one, said in zip_longest(self.reasons, self.messages[: len(self.reasons)])]

    @classmethod
    def reasons_of(cls, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the fields that hold the reasons of an archive's row."""
        texts = [{name: value for name, value in row.items() if name != "message"} for row in rows]
        return {"reasons": texts, "messages": [row.get("message") for row in rows]}


class Standing(BaseModel):
    """What the repository's row said when a session of ours began or ended; `number` counts them."""

    model_config = ConfigDict(frozen=True)

    number: int
    transaction: int | None
    session: str
    compacted: int | None
    verified: int | None
    rewritten_after: int | None
    frozen_for: list[dict[str, Any]]
    segments_damage: str
    archives_damage: str


class Entry(BaseModel):
    """A line."""

    model_config = ConfigDict(frozen=True)

    standing: Standing | None = None
    made: Made | None = None
    deleting: dict[str, str] | None = None
    """What we are about to delete: borg id -> name."""
    gone: tuple[str, ...] = ()
    """What was not there any more when it was listed after that."""
    kept: tuple[str, ...] = ()
    """What was there still, or again."""


@dataclass(slots=True)
class Past:
    """All that a journal says."""

    standing: Standing | None = None
    """The last one."""
    made: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """Archives that we made and did not delete, as `Made` in JSON, by their borg ids, oldest first."""
    deleting: dict[str, str] = field(default_factory=dict[str, str])
    """Deletions of ours that nobody has seen the end of: borg id -> name."""
    gone: dict[str, str] = field(default_factory=dict[str, str])
    """What we deleted."""

    def archives(self) -> Iterator[tuple[str, Made]]:
        """Return the archives that we made, by their ids."""
        for borg_id, said in self.made.items():
            with contextlib.suppress(ValidationError):
                yield borg_id, Made.model_validate(said)


def read(file: Path) -> Past:
    """Return what a journal says; nothing where there is none."""
    past = Past()
    try:
        with file.open("rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):
                    _follow(past, json.loads(line))
    except FileNotFoundError:
        return past
    return past


def append(file: Path, entries: Sequence[Entry]) -> None:
    """Add lines; they are on disk when this returns. One that became large is written anew without the oldest."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        begun = not file.exists()
        with file.open("ab") as stream:
            torn = stream.tell() > 0 and not _ends_with_its_line(file)
            stream.write((b"\n" if torn else b"") + b"".join(map(_line, entries)))
            stream.flush()
            os.fsync(stream.fileno())
            size = stream.tell()
        if size > _LARGEST:
            _shorten(file)
        if begun or size > _LARGEST:
            _sync(file.parent)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cause = causes.NODE_FULL if full else causes.NODE_DISK
        raise cause.error(f"the journal {file} cannot be written: {error.strerror}") from error


def _follow(past: Past, line: dict[str, Any]) -> None:
    """Take what one line says; in the order in which it happened."""
    if line.get("standing") is not None:
        past.standing = Standing.model_validate(line["standing"])
    if line.get("made") is not None:
        borg_id = str(line["made"]["figures"]["borg_id"])
        past.made.pop(borg_id, None)
        past.made[borg_id] = line["made"]
        past.gone.pop(borg_id, None)
    past.deleting |= line.get("deleting") or {}
    for borg_id in line.get("gone") or ():
        past.gone[borg_id] = past.deleting.pop(borg_id, "")
        past.made.pop(borg_id, None)
    for borg_id in line.get("kept") or ():
        past.deleting.pop(borg_id, None)
        past.gone.pop(borg_id, None)


def _line(entry: Entry) -> bytes:
    said = entry.model_dump(mode="json", exclude_defaults=True)
    if entry.made is not None and len(json.dumps(entry.made.evidence)) > _EVIDENCE:
        said["made"].pop("evidence", None)
    return json.dumps(said).encode() + b"\n"  # names that are no UTF-8 are escaped


def _ends_with_its_line(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read() == b"\n"


def _shorten(file: Path) -> None:
    past = read(file)
    lines: list[dict[str, Any]] = []
    if past.standing is not None:
        lines.append({"standing": past.standing.model_dump(mode="json")})
    made = list(past.made.values())[-_KEPT:]
    bare = [{name: value for name, value in one.items() if name != "evidence"} for one in made[:-_WITH_EVIDENCE]]
    lines += [{"made": one} for one in (*bare, *made[-_WITH_EVIDENCE:])]
    gone = dict(list(past.gone.items())[-_KEPT:])
    lines += [{"deleting": gone}, {"gone": list(gone)}, {"deleting": past.deleting}]
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    with temporary.open("wb") as stream:
        stream.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
