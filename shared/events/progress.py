"""Progress of a running job: lossy by design, the last value kept per job."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from shared.events.base import JobFact


class JobProgress(JobFact):
    """How far a job is. What is unknown is null, never 0."""

    subject: ClassVar[str] = "progress"

    phase: str
    done: bool = False
    files: int | None = Field(default=None, description="Files read so far.")
    original_size: int | None = Field(default=None, description="Bytes read so far.")
    deduplicated_size: int | None = Field(default=None, description="New bytes stored so far.")
    estimated_size: int | None = Field(default=None, description="Bytes of the last archive: an estimate of the total.")
    rate: float | None = Field(default=None, description="Bytes read a second, of late.")
    path: str | None = Field(default=None, description="What is being read.")
    step: int | None = None
    steps: int | None = None


class JobChanged(JobFact):
    """A job changed: its state, what it waits for, or that somebody wants it cancelled; with all that a list shows.

    Of several changes in one transaction only the outcome is told.
    """

    subject: ClassVar[str] = "job.changed"

    type: str
    state: str
    attempt: int = 0
    waiting_for: str | None = None
    title: str = ""
    node: str | None = None
    server_id: uuid.UUID | None = None
    server: str | None = Field(default=None, description="The server's name.")
    repository_id: uuid.UUID | None = None
    repository: str | None = Field(default=None, description="The repository's name.")
    backup_job_id: uuid.UUID | None = None
    archive_id: uuid.UUID | None = None
    cancel_requested: bool = False
    failures: int = 0
    code: str | None = Field(default=None, description="Why it failed or is tried again.")
    reason: str | None = None
    message: dict[str, Any] | None = Field(
        default=None, description="The same as entry of the catalogue, and parameters."
    )
    not_before: datetime | None = Field(default=None, description="When it is tried again.")
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
