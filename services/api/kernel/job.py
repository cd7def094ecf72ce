"""Jobs."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Self

from pydantic import Field, model_validator

from services.api.kernel.schemas import Out, Telling, Told
from shared.domain.job import JobState


class JobOut(Telling):
    """One unit of queued work as it is now."""

    id: uuid.UUID
    type: str = Field(description="One of GET /api/job-kinds; or another, which a newer version made.")
    title: str
    state: str = Field(description="queued, running, succeeded, warning, failed or cancelled")
    waiting_for: str | None = Field(default=None, description="What a queued job waits for, as `web1/system`.")
    cancel_requested: bool
    node: str | None
    server_id: uuid.UUID | None
    repository_id: uuid.UUID | None
    backup_job_id: uuid.UUID | None
    archive_id: uuid.UUID | None
    attempt: int
    failures: int
    code: str | None = Field(description="Stable code of why it failed or is tried again.")
    reason: str | None
    remedy: str | None
    warnings: list[str]
    warning_messages: list[Told] | None = Field(default=None, description="The warnings as entries, in their order.")
    result: dict[str, Any]
    progress: dict[str, Any] | None = Field(description="Unknown figures are null, never 0.")
    not_before: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @model_validator(mode="after")
    def _warned_in_todays_words(self) -> Self:
        for number, told in enumerate(self.warning_messages or ()):
            if told is not None and number < len(self.warnings):
                self.warnings[number] = told.text
        return self

    @model_validator(mode="after")
    def _only_the_queued_wait(self) -> Self:
        if self.state != JobState.QUEUED:
            self.waiting_for = None
        return self


class LogLineOut(Out):
    """One line of a job's log."""

    attempt: int
    seq: int
    at: datetime
    level: str
    source: str
    code: str
    message: str
