"""Backups: the request, and what came of it."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import ClassVar

from pydantic import Field

from shared.domain.names import Name
from shared.events.base import Command, Event, JobFact


class BackupRequested(Command):
    """Run a backup job now. Outside publishers give `backup_job` by name; a job is made for it."""

    subject: ClassVar[str] = "backup.requested"

    backup_job: Name | None = Field(default=None, description="The backup job's name.", examples=["web1-system"])


class BackupStarted(JobFact):
    """A worker holds the job and begins."""

    subject: ClassVar[str] = "backup.started"

    backup_job_id: uuid.UUID
    server_id: uuid.UUID


class BackupCompleted(JobFact):
    """The archive is in the repository and passed the truth gate, perhaps with warnings."""

    subject: ClassVar[str] = "backup.completed"

    backup_job_id: uuid.UUID
    server_id: uuid.UUID
    archive_id: uuid.UUID
    state: str
    files: int
    original_size: int
    deduplicated_size: int


class BackupMissed(Event):
    """A run was due and was not made."""

    subject: ClassVar[str] = "backup.missed"

    backup_job_id: uuid.UUID
    server_id: uuid.UUID
    due_at: datetime
    code: str = Field(description="downtime, overlap, window or unreachable")
    reason: str


class BackupFailed(JobFact):
    """No trustworthy archive came of the run."""

    subject: ClassVar[str] = "backup.failed"

    backup_job_id: uuid.UUID
    server_id: uuid.UUID
    code: str
    reason: str
