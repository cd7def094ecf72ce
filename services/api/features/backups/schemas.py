"""Backups: one archive each."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal, Self, cast

from pydantic import Field, model_validator

from services.api.kernel.items import ItemIn
from services.api.kernel.schemas import In, Out, Telling
from shared.domain.backup_state import Reason
from shared.domain.names import Justification
from shared.domain.restoring import Existing, Mode, RestoreAsked
from shared.domain.restoring import Target as RestorePath
from shared.domain.values import Moment


class ReasonOut(Telling):
    """Why a backup is not simply fine."""

    code: str
    weight: Literal["note", "doubt"]
    text: str = Field(description="What happened, why, and what to do, in English.")

    @model_validator(mode="before")
    @classmethod
    def _as_known(cls, stored: Any) -> Any:
        return Reason.from_json(cast("dict[str, Any]", stored)).to_json() if isinstance(stored, dict) else stored


class BackupOut(Out):
    """One archive; sizes in bytes, duration in seconds."""

    id: uuid.UUID
    name: str
    title: str = Field(description="Server and repository, as `web1 - system`.")
    server_id: uuid.UUID
    server: str
    repository_id: uuid.UUID
    repository: str
    backup_job_id: uuid.UUID | None
    job_id: uuid.UUID | None
    borg_id: str | None
    state: str
    started_at: datetime
    ended_at: datetime
    duration: float
    files: int
    original_size: int
    compressed_size: int
    deduplicated_size: int
    good: bool = Field(description="It can be relied on: retention, targets and alerts count it.")
    doubtful: bool = Field(description="It was made, and is not good until somebody accepts it.")
    reasons: list[ReasonOut] = Field(description="What the run found: notes leave it good, doubts do not.")
    accepted_at: datetime | None
    accepted_by: str = Field(description="The token with which it was accepted.")
    accepted_reason: str
    missing: bool = Field(description="Missing from the repository without our doing, and not seen there since.")
    verified_at: datetime | None = Field(description="When all its data was last read and was sound.")
    proven_at: datetime | None = Field(description="When all that its run added had been read and decrypted.")
    damage: str = Field(description="Why it cannot be read any more; empty as far as anybody knows.")
    held_reason: str | None
    held_until: datetime | None
    created_at: datetime


class AcceptIn(In):
    """Why a doubtful backup is as it should be."""

    reason: Justification = Field(examples=["the old data was moved to web2"])


class HoldIn(In):
    """Why an archive must stay, and until when; without an end, until it is released."""

    reason: Justification = Field(examples=["audit 2026"])
    until: Moment | None = None


class RestoreIn(In):
    """What is restored, where, and how."""

    items: list[ItemIn] = Field(default=[], max_length=1000, description="Nothing: all that the backup holds.")
    target_server_id: uuid.UUID | None = Field(default=None, description="Default: the server it was made of.")
    mode: Mode = Field(
        default="directory",
        description="directory: into a new one. To where it was: beside what is there, under a new name; swap: in its "
        "place, which gets a new name; merge: into it. swap and merge ask for a preview first.",
    )
    existing: Existing = Field(
        default="keep", description="What a merge does with files that are there: keep them, or set them aside."
    )
    target_path: RestorePath | None = Field(
        default=None,
        description="A directory that is empty or does not exist. Default: a new one below /var/restore/borgfleet.",
        examples=["/var/restore/www"],
    )
    owner: Literal["numeric", "names", "root"] = Field(
        default="numeric", description="Owners by number, by name, or root alone."
    )
    layout: Literal["short", "full"] = Field(
        default="short", description="What is chosen below its common directory, or with whole paths."
    )
    metadata: Literal["full", "basic"] = Field(
        default="full", description="full: refuse where access control lists, attributes and nanoseconds would be lost."
    )
    verify: Literal["sample", "all", "count"] = Field(
        default="sample", description="Which files are compared by SHA-256; all are counted."
    )
    time_limit: int | None = Field(default=None, ge=1, le=30 * 86_400, description="Seconds it may take.")

    confirm: uuid.UUID | None = Field(
        default=None, description="For swap and merge: the task of a preview of the same, at most 15 minutes old."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        self.asked()
        return self

    def asked(self) -> RestoreAsked:
        """Return the job's parameters."""
        items = [one.encoded() for one in self.items]
        return RestoreAsked.model_validate(self.model_dump(exclude={"items", "confirm"}) | {"items": items})
