"""Archives: deletion."""

from __future__ import annotations

import uuid
from typing import ClassVar

from pydantic import Field

from shared.events.base import Command, JobFact


class ArchiveDelete(Command):
    """Delete one archive from its repository and from the records."""

    subject: ClassVar[str] = "archive.delete"

    archive_id: uuid.UUID | None = Field(default=None, description="The archive (backup) to delete.")


class ArchiveDeleted(JobFact):
    """The archive is gone from the repository and from the records."""

    subject: ClassVar[str] = "archive.deleted"

    archive_id: uuid.UUID
    repository_id: uuid.UUID
