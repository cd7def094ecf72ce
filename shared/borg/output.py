"""From borg's JSON to values. stdout and stderr never meet: an empty listing is never taken for a failed one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from shared.domain.archive import ArchiveFigures, RepositoryFigures, is_checkpoint
from shared.errors import Transient


@dataclass(frozen=True, slots=True)
class LogLine:
    """One message of borg's, or a plain line that was not JSON."""

    level: str
    message: str
    code: str = ""

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


def parse_line(line: str) -> LogLine | Progress | Phase | None:
    """Read one line of stderr; None for an empty one and for ends of phases."""
    try:
        data: Any = json.loads(line)
    except ValueError:
        return LogLine("info", line.strip()) if line.strip() else None
    return _from_json(cast("dict[str, Any]", data)) if isinstance(data, dict) else LogLine("info", line.strip())


def _from_json(data: dict[str, Any]) -> LogLine | Progress | Phase | None:
    kind = data.get("type")
    if kind == "archive_progress" and "nfiles" in data:
        return Progress(
            int(data["nfiles"]), int(data["original_size"]), int(data["deduplicated_size"]), str(data.get("path", ""))
        )
    if kind in ("progress_message", "progress_percent") and data.get("message"):
        return Phase(str(data["message"]))
    if kind == "log_message":
        level = str(data.get("levelname", "info")).lower()
        if data.get("name") == "borg.locking" and level == "warning":
            level = "info"  # a dead writer's lock was cleared: nothing is missing from the archive
        return LogLine(level, str(data.get("message", "")), str(data.get("msgid") or ""))
    return None


def parse_create(stdout: str) -> tuple[ArchiveFigures, RepositoryFigures]:
    """Read what `create --json` says of the new archive and of the repository."""
    data = _load(stdout)
    return _archive(data["archive"]), _repository(data)


def parse_info(stdout: str) -> tuple[list[ArchiveFigures], RepositoryFigures]:
    """Read `info --json`, of a repository or of an archive."""
    data = _load(stdout)
    return [_archive(archive) for archive in data.get("archives", [])], _repository(data)


def parse_list(stdout: str) -> list[Listed]:
    """Read `list --json`; without its `archives` key it is a failed listing and not an empty one."""
    return [archive for archive in _listed(stdout) if not is_checkpoint(archive.name)]


def parse_checkpoints(stdout: str) -> list[str]:
    """Read of `list --json` the names of checkpoints."""
    return [archive.name for archive in _listed(stdout) if is_checkpoint(archive.name)]


def _listed(stdout: str) -> list[Listed]:
    return [Listed(str(archive["name"]), str(archive["id"])) for archive in _load(stdout)["archives"]]


def _load(stdout: str) -> dict[str, Any]:
    try:
        data: Any = json.loads(stdout)
    except ValueError as error:
        message = f"borg's answer is not JSON: {stdout[:200]!r}"
        raise Transient(message, code="borg_garbled", remedy="see the job's log") from error
    if not isinstance(data, dict):
        message = "borg's answer is not an object"
        raise Transient(message, code="borg_garbled", remedy="see the job's log")
    return cast("dict[str, Any]", data)


def _archive(data: dict[str, Any]) -> ArchiveFigures:
    stats = data["stats"]
    return ArchiveFigures(
        name=data["name"],
        borg_id=data["id"],
        started_at=_time(data["start"]),
        ended_at=_time(data["end"]),
        duration=data["duration"],
        files=stats["nfiles"],
        original_size=stats["original_size"],
        compressed_size=stats["compressed_size"],
        deduplicated_size=stats["deduplicated_size"],
    )


def _repository(data: dict[str, Any]) -> RepositoryFigures:
    stats = data["cache"]["stats"]
    return RepositoryFigures(
        original_size=stats["total_size"],
        compressed_size=stats["total_csize"],
        deduplicated_size=stats["unique_csize"],
        chunks=stats["total_unique_chunks"],
    )


def _time(text: str) -> datetime:
    """Read a naive time: borg ran with TZ=UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
