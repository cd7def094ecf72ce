"""From borg's JSON to values. stdout and stderr never meet: an empty listing is never taken for a failed one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from shared.domain.archive import ArchiveFigures, RepositoryFigures, is_checkpoint
from shared.domain.lines import LONGEST_LINE
from shared.domain.text import LINE, clean
from shared.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class LogLine:
    """One message of borg's, or a plain line that was not JSON."""

    level: str
    message: str
    code: str = ""
    structured: bool = field(default=False, compare=False)
    """It came as JSON: borg itself runs, and said it or passed it on."""

    @property
    def is_warning(self) -> bool:
        """Whether it says that something was left out."""
        return self.level == "warning"

    @property
    def is_error(self) -> bool:
        """Whether it says why borg failed."""
        return self.level in ("error", "critical")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far `create` is; sizes in bytes."""

    files: int
    original_size: int
    deduplicated_size: int
    path: str


@dataclass(frozen=True, slots=True)
class Phase:
    """What borg is busy with besides reading files."""

    message: str


@dataclass(frozen=True, slots=True)
class Listed:
    """An archive as the repository itself lists it."""

    name: str
    borg_id: str
    inside: str | None = None
    """The name in the archive's own object; None where that was not read."""
    there: bool = True
    """Its own object is in the repository."""

    @property
    def is_checkpoint(self) -> bool:
        """Whether an interrupted run left it behind."""
        return is_checkpoint(self.name)


@dataclass(frozen=True, slots=True)
class Listing:
    """All that a manifest names, checkpoints too, the oldest first; and what no honest client leaves in one."""

    archives: Sequence[Listed] = ()
    wrong: Sequence[str] = ()
    readable: bool = True


Output: TypeAlias = "LogLine | Progress | Phase"

_LONGEST_ANSWER = 16 * 1024 * 1024
"""Characters of JSON; some 60,000 archives in one listing."""
_DECODER = json.JSONDecoder()
_LARGEST = 2**63 - 1
_LEVELS = {"warn": "warning", "fatal": "critical", "notset": "debug"}
_KNOWN_LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})
_MESSAGE = re.compile(r'\{"type": ?"log_message"')
"""Where a message begins, also one that follows a text without a newline."""
_MOST_IN_A_LINE = 50
"""Messages glued together in one line, at most: a line made of thousands is no borg's."""


def _cleaned(limit: int) -> BeforeValidator:
    return BeforeValidator(lambda value: clean(value, limit) if isinstance(value, str) else value)


def _level(word: str) -> str:
    """Return a level that we know; a word that we do not may hide a warning, so it counts as one."""
    word = word.lower()
    known = _LEVELS.get(word, word)
    return known if known in _KNOWN_LEVELS else "warning"


def _plausible(time: datetime) -> datetime:
    """Return a time in UTC (borg ran with TZ=UTC and says no zone); refuse years that no database holds."""
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    if not 1970 <= aware.year <= 9998:  # noqa: PLR2004 - the years that databases and zones agree on
        message = "a year between 1970 and 9998 is expected"
        raise ValueError(message)
    return aware.astimezone(UTC)


_Text = Annotated[str, _cleaned(LINE)]
_Name = Annotated[str, _cleaned(700)]
_Count = Annotated[int, Field(ge=0, le=_LARGEST)]
_Moment = Annotated[datetime, AfterValidator(_plausible)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class _LogMessage(_Model):
    type: Literal["log_message"]
    levelname: Annotated[str, AfterValidator(_level)] = "critical"
    message: _Text = ""
    name: _Text = ""
    msgid: Annotated[str | None, _cleaned(60)] = None


class _ArchiveProgress(_Model):
    type: Literal["archive_progress"]
    nfiles: _Count | None = None
    original_size: _Count = 0
    deduplicated_size: _Count = 0
    path: _Text = ""


class _PhaseProgress(_Model):
    type: Literal["progress_message", "progress_percent"]
    message: _Text | None = None


class _ArchiveStats(_Model):
    nfiles: _Count
    original_size: _Count
    compressed_size: _Count
    deduplicated_size: _Count


class _Archive(_Model):
    name: _Name
    id: Annotated[str, _cleaned(64)]
    start: _Moment
    end: _Moment
    duration: Annotated[float, Field(ge=0)]
    stats: _ArchiveStats


class _CacheStats(_Model):
    total_size: _Count
    total_csize: _Count
    unique_csize: _Count
    total_unique_chunks: _Count


class _Cache(_Model):
    stats: _CacheStats


class _Created(_Model):
    archive: _Archive
    cache: _Cache


class _Info(_Model):
    archives: list[_Archive] = Field(default_factory=list["_Archive"])
    cache: _Cache


class _Entry(_Model):
    name: _Name
    id: Annotated[str, _cleaned(64)]

    inside: _Name | None = None
    there: bool = True


class _Listing(_Model):
    archives: list[_Entry]
    wrong: list[_Text] = Field(default_factory=list["_Text"])
    readable: bool = True


_Parsed = TypeVar("_Parsed", bound=_Model)
_LINES: dict[str, type[_LogMessage | _ArchiveProgress | _PhaseProgress]] = {
    "log_message": _LogMessage,
    "archive_progress": _ArchiveProgress,
    "progress_message": _PhaseProgress,
    "progress_percent": _PhaseProgress,
}


def parse_line(line: str | bytes) -> list[Output]:
    """Read one line of stderr: as a rule one message; none for an empty line or the end of a phase.

    borg writes a message a line, but what others write beside it (ssh, a shell, a library) may lack its newline.
    Nothing that a line holds raises an error, and no message is lost: what is not understood is a plain text.
    """
    text = line[:LONGEST_LINE].decode("utf-8", "surrogateescape") if isinstance(line, bytes) else line[:LONGEST_LINE]
    text, found = text.strip(), list[Output]()
    for _ in range(_MOST_IN_A_LINE):
        data, begin, end = _first_message(text)
        if data is None:
            break
        found += [*_plain(text[:begin]), *_message(data, text[begin:end])]
        text = text[end:].strip()
    # What looks like a message and cannot be read, because it was cut, may have been a warning.
    return [*found, *_plain(text, "warning" if _MESSAGE.search(text) else "info")]


def _first_message(text: str) -> tuple[dict[str, Any] | None, int, int]:
    """Return the first JSON object: at the start, or else a message glued behind something."""
    starts = [0] if text.startswith("{") else []
    starts += [glued.start()] if (glued := _MESSAGE.search(text, 1)) else []
    for begin in starts:
        data, end = _object_at(text, begin)
        if data is not None:
            return data, begin, end
    return None, 0, 0


def _object_at(text: str, begin: int) -> tuple[dict[str, Any] | None, int]:
    try:
        data, end = _DECODER.raw_decode(text, begin)
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or brackets without end
        return None, begin
    return (cast("dict[str, Any]", data), end) if isinstance(data, dict) else (None, begin)


def _plain(text: str, level: str = "info") -> list[Output]:
    text = text.strip()
    return [LogLine(level, clean(text))] if text else []


def _message(data: dict[str, Any], raw: str) -> list[Output]:
    kind = data.get("type")
    model = _LINES.get(kind) if isinstance(kind, str) else None
    if model is None:
        return _plain(raw)
    try:
        found = model.model_validate(data)
    except ValidationError:
        # A message that says something in a form we do not know may be a warning; progress is lost without harm.
        return _plain(raw, "warning") if model is _LogMessage else []
    match found:
        case _LogMessage():
            level = "info" if found.levelname == "warning" and _complains_of_nothing(found) else found.levelname
            return [LogLine(level, found.message, found.msgid or "", structured=True)]
        case _ArchiveProgress(nfiles=int(files)):
            return [Progress(files, found.original_size, found.deduplicated_size, found.path)]
        case _PhaseProgress(message=str(message)) if message:
            return [Phase(message)]
        case _:
            return []


def _complains_of_nothing(found: _LogMessage) -> bool:
    """Tell whether a warning says nothing of what was to be saved."""
    if found.name == "borg.locking":
        return True  # a dead writer's lock was cleared: nothing is missing from the archive
    # A line of ssh's, or of what it started, that borg passes on without knowing what it is: a banner, for one.
    return found.name == "root" and found.message.startswith("Remote: ")


def parse_create(stdout: str) -> tuple[ArchiveFigures, RepositoryFigures]:
    """Read what `create --json` says of the new archive and of the repository."""
    data = _load(_Created, stdout)
    return _figures(data.archive), _repository(data.cache)


def parse_info(stdout: str) -> tuple[list[ArchiveFigures], RepositoryFigures]:
    """Read `info --json`, of a repository or of an archive."""
    data = _load(_Info, stdout)
    return [_figures(archive) for archive in data.archives], _repository(data.cache)


def parse_list(stdout: str) -> list[Listed]:
    """Read the archives without checkpoints; without its `archives` key it is a failed listing and not an empty one."""
    return [archive for archive in parse_listing(stdout).archives if not archive.is_checkpoint]


def parse_listing(stdout: str) -> Listing:
    """Read what manifest_reader.py prints, or `list --json`."""
    found = _load(_Listing, stdout)
    listed = (Listed(archive.name, archive.id, archive.inside, archive.there) for archive in found.archives)
    return Listing(tuple(listed), tuple(found.wrong), found.readable)


def _load(model: type[_Parsed], stdout: str) -> _Parsed:
    """Read an answer; all that can be wrong with it is one error, `borg_garbled`."""
    if len(stdout) > _LONGEST_ANSWER:
        raise _garbled(f"borg's answer has {len(stdout)} characters, more than {_LONGEST_ANSWER}")
    begin = 0 if stdout.startswith("{") else stdout.find("\n{") + 1  # a login or a wrapper may have greeted first
    data, _ = _object_at(stdout, begin)
    if data is None:
        raise _garbled(f"borg's answer is not a JSON object: {clean(stdout, 200)!r}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _garbled(f"borg's answer is not what it should be: {clean(where, 100)}: {first['msg']}") from error


def _garbled(message: str) -> Transient:
    remedy = "see the job's log for what borg said; run `borg --version` on the machine where it ran"
    return Transient(message, code="borg_garbled", remedy=remedy)


def _figures(archive: _Archive) -> ArchiveFigures:
    return ArchiveFigures(
        name=archive.name,
        borg_id=archive.id,
        started_at=archive.start,
        ended_at=archive.end,
        duration=archive.duration,
        files=archive.stats.nfiles,
        original_size=archive.stats.original_size,
        compressed_size=archive.stats.compressed_size,
        deduplicated_size=archive.stats.deduplicated_size,
    )


def _repository(cache: _Cache) -> RepositoryFigures:
    return RepositoryFigures(
        original_size=cache.stats.total_size,
        compressed_size=cache.stats.total_csize,
        deduplicated_size=cache.stats.unique_csize,
        chunks=cache.stats.total_unique_chunks,
    )
