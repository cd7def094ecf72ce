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


class ArchiveRestore(Command):
    """Restore what a job names of an archive. Outside publishers give the archive: all of it goes to its own server."""

    subject: ClassVar[str] = "archive.restore"

    archive_id: uuid.UUID | None = Field(default=None, description="The archive (backup) to restore.")


class RestoreUndo(Command):
    """Put back what a restore with mode `swap` took the place of."""

    subject: ClassVar[str] = "restore.undo"

    restore_id: uuid.UUID | None = Field(default=None, description="The job of the restore that is to be undone.")


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


class ArchiveRestored(JobFact):
    """What was chosen of an archive stands in its place on a server, verified."""

    subject: ClassVar[str] = "archive.restored"

    archive_id: uuid.UUID
    repository_id: uuid.UUID
    server_id: uuid.UUID
    state: str
    files: int
    original_size: int
    target: str = Field(description="The path on the server.")
