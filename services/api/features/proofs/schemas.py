"""Restore tests and proofs."""

from __future__ import annotations

import uuid
from datetime import datetime

from pydantic import Field

from services.api.kernel.schemas import In, Out
from shared.domain.proofs import RestoreTestAsked


class RestoreTestIn(In, RestoreTestAsked):
    """What a restore test reads; without anything a sample of 50 files of the newest and of other backups."""


class ProofOut(Out):
    """What a restore test, or a restore, has shown of a backup job's backups; `state` `good` alone is a proof."""

    id: uuid.UUID
    job_id: uuid.UUID | None = Field(description="The job that made it; it may be gone.")
    backup_id: uuid.UUID | None = Field(description="The newest backup of which something was read; it may be gone.")
    server_id: uuid.UUID
    server: str
    repository_id: uuid.UUID
    repository: str
    backup_job_id: uuid.UUID | None
    backup_job: str | None = Field(description="Null where it is deleted, or where the backups are of none.")
    kind: str = Field(description="sample, named, all; or restore: a person restored, and what arrived was compared.")
    state: str = Field(
        description="good; source_differs: the server holds something else under the same size and time; nothing: "
        "there was no file to read; failed; damaged."
    )
    archives: int = Field(description="Backups of which something was read.")
    chosen: int = Field(description="Files that were to be read.")
    files: int = Field(description="Files that were read to the end, and are as they were recorded.")
    bytes: int
    hashed: int = Field(description="Compared with the hash of an earlier test, or of what arrived.")
    source_compared: int = Field(description="Compared with the server's own file, which was not changed since.")
    source_differing: int
    damaged: int
    missing: int
    differing: int
    unread: int
    seconds: float = Field(description="That reading took.")
    full_restore_seconds: float | None = Field(
        description="About how long a restore of all of that backup takes at this speed; null: too little was read."
    )
    started_at: datetime
    ended_at: datetime
