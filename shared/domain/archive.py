"""An archive's name and figures."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt

from shared.domain.names import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHECKPOINT = re.compile(r"(?P<archive>.+)\.checkpoint(?:\.\d+)?")
_TIME = "%Y-%m-%dT%H%M%SZ"
CLOCK_TOLERANCE = timedelta(minutes=5)
"""What is later than now by more than this was stamped by a clock that was wrong."""
_OURS = re.compile(
    r"(?P<backup_job>.+)-(?P<at>\d{4}-\d\d-\d\dT\d{6}Z)-(?P<job>[0-9a-f]{32})(?:-r(?P<run>[1-9]\d{0,8}))?"
)


class ArchiveFigures(BaseModel):
    """Everything borg says of an archive: sizes in bytes, duration in seconds, times in UTC."""

    model_config = ConfigDict(frozen=True)

    name: str
    borg_id: str
    started_at: datetime
    ended_at: datetime
    duration: NonNegativeFloat
    files: NonNegativeInt
    original_size: NonNegativeInt
    compressed_size: NonNegativeInt
    deduplicated_size: NonNegativeInt


class RepositoryFigures(BaseModel):
    """A repository's sizes in bytes: as stored by all archives, compressed, and really on disk."""

    model_config = ConfigDict(frozen=True)

    original_size: NonNegativeInt
    compressed_size: NonNegativeInt
    deduplicated_size: NonNegativeInt
    chunks: NonNegativeInt = 0


def archive_name(backup_job: str, job_id: uuid.UUID, at: datetime, run: int = 0) -> str:
    """Return `<backup job>-<UTC time>-<job id>`, for the second run of a job with `-r1`, and so on.

    By it a later attempt of the same run finds what an earlier one made. A retry of an ended job is another run: what
    the failed one left is not its archive.
    """
    return f"{check_name(backup_job)}-{at:{_TIME}}-{job_id.hex}{f'-r{run}' if run else ''}"


def is_checkpoint(name: str) -> bool:
    """Tell whether an archive is what an interrupted run left behind."""
    return _CHECKPOINT.fullmatch(name) is not None


def superseded(checkpoints: Iterable[str], archives: Iterable[str], now: datetime) -> list[str]:
    """Return the checkpoints that a later archive of the same backup job has made useless; by our own clock.

    A name from the future was given while that clock was wrong: it is later than nothing.
    """
    end = f"{now.astimezone(UTC) + CLOCK_TOLERANCE:{_TIME}}"
    latest: dict[str, str] = {}
    for found in filter(None, map(_OURS.fullmatch, archives)):
        if found["at"] > end:
            continue
        latest[found["backup_job"]] = max(found["at"], latest.get(found["backup_job"], ""))
    useless: list[str] = []
    for name in checkpoints:
        whole = _CHECKPOINT.fullmatch(name)
        found = _OURS.fullmatch(whole["archive"]) if whole else None
        if found and found["at"] < latest.get(found["backup_job"], ""):
            useless.append(name)
    return useless


def made_by(name: str, job_id: uuid.UUID, run: int = 0) -> bool:
    """Tell whether this archive is the finished work of that run of a job (a checkpoint is not)."""
    return maker(name) == (job_id, run)


def maker(name: str) -> tuple[uuid.UUID, int] | None:
    """Return which run of which job an archive's name says to have made it; None if it is no name of ours."""
    found = _OURS.fullmatch(name)
    return (uuid.UUID(found["job"]), int(found["run"] or 0)) if found else None
