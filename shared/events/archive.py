"""Archives: deletion, acceptance."""

from __future__ import annotations

import uuid
from typing import ClassVar

from pydantic import Field

from shared.events.base import Command, Event, JobFact


class ArchiveDelete(Command):
    """Delete one archive from its repository and from the records."""

    subject: ClassVar[str] = "archive.delete"

    archive_id: uuid.UUID | None = Field(default=None, description="The archive (backup) to delete.")


class ArchiveAccepted(Event):
    """A person said that a doubtful archive is as it should be: it counts as good from now on."""

    subject: ClassVar[str] = "archive.accepted"

    archive_id: uuid.UUID
    repository_id: uuid.UUID
    backup_job_id: uuid.UUID | None = None
    accepted_by: str = Field(description="The token that was used.")
    reason: str


class ArchiveDeleted(JobFact):
    """The archive is gone from the repository and from the records."""

    subject: ClassVar[str] = "archive.deleted"

    archive_id: uuid.UUID
    repository_id: uuid.UUID
