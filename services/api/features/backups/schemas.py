"""Backups: one archive each."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal, cast

from pydantic import Field, model_validator

from services.api.kernel.schemas import In, Out
from shared.domain.backup_state import Reason
from shared.domain.names import Text
from shared.domain.values import Moment


class ReasonOut(Out):
    """Why a backup is not simply fine."""

    code: str
    weight: Literal["note", "doubt"]
    text: str

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
    lost: bool = Field(description="Missing from the repository without our doing, and not seen there since.")
    verified_at: datetime | None = Field(description="When all its data was last read and was sound.")
    proven_at: datetime | None = Field(description="When all that its run added had been read and decrypted.")
    damage: str = Field(description="Why it cannot be read any more; empty as far as anybody knows.")
    held_reason: str | None
    held_until: datetime | None
    created_at: datetime


class AcceptIn(In):
    """Why a doubtful backup is as it should be."""

    reason: Text = Field(min_length=1, examples=["the old data was moved to web2"])


class HoldIn(In):
    """Why an archive must stay, and until when; without an end, until it is released."""

    reason: Text = Field(min_length=1, examples=["audit 2026"])
    until: Moment | None = None
