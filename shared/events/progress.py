"""Progress of a running job: lossy by design, the last value kept per job."""

from __future__ import annotations

from typing import ClassVar

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
    """A job's state changed."""

    subject: ClassVar[str] = "job.changed"

    type: str
    state: str
    attempt: int = 0
    waiting_for: str | None = None
