"""An archive's name and figures."""

from __future__ import annotations

import uuid
from datetime import datetime

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt

from shared.domain.names import check_name

CHECKPOINT_SUFFIX = ".checkpoint"


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


def archive_name(backup_job: str, job_id: uuid.UUID, at: datetime) -> str:
    """Return `<backup job>-<UTC time>-<job id>`; the id lets a retry find what an earlier try made."""
    return f"{check_name(backup_job)}-{at:%Y-%m-%dT%H%M%SZ}-{job_id.hex}"


def made_by(name: str, job_id: uuid.UUID) -> bool:
    """Tell whether this archive is the finished work of that job (a checkpoint is not)."""
    return name.endswith(f"-{job_id.hex}")
