"""Schedules, pauses, missed runs, and what is to come."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Literal

from pydantic import Field

from services.api.kernel.schemas import VERSION, In, Out, Telling
from shared.domain.values import CleanText, Moment


class PreviewOut(Out):
    """A schedule that is not saved, in words, and its next runs."""

    words: str
    next_runs: list[datetime]


class PauseIn(In):
    """Until when nothing scheduled runs, and why."""

    until: Moment | None = Field(default=None, description="Until it is taken back, without.")
    reason: CleanText = ""


class PauseOut(Out):
    """A pause; runs that are asked for go all the same."""

    server: str = Field(description="Empty: everywhere.")
    until: datetime | None
    reason: str
    who: str
    version: int = VERSION
    created_at: datetime


class MissedRunOut(Telling):
    """A run that was due and was not made."""

    id: uuid.UUID
    backup_job_id: uuid.UUID | None
    repository_id: uuid.UUID | None = Field(description="Where it is a repository's maintenance.")
    task: str = Field(description="The type of job it would have been.")
    due_at: datetime
    code: str = Field(description="downtime, overlap, window or unreachable")
    reason: str
    at: datetime


class ExpectedRun(Out):
    """A run to come, as far as it can be foreseen."""

    task: str = Field(description="The type of job.")
    name: str = Field(description="The backup job's, or as `check of web1/system`.")
    backup_job_id: uuid.UUID | None
    server: str
    repository: str
    starts_at: datetime
    expected_seconds: float | None = Field(description="Median of the last ten good runs; null when it never ran.")
    collides_with: list[str] = Field(description="What else is to run on the same server at the same time.")


class ComplianceOut(Out):
    """How old a backup job's last good backup is, against how old it may be."""

    backup_job_id: uuid.UUID
    backup_job: str
    server: str
    state: Literal["ok", "at_risk", "breached", "no_target", "off"]
    target_seconds: int | None = Field(description="Its own, or two of its schedule's periods.")
    last_good_at: datetime | None
    age_seconds: float | None
    restore_proven_at: datetime | None = Field(
        default=None, description="When a restore test or a restore last proved that its backups can be restored."
    )
    breaks_at: datetime | None = Field(description="When the target is breached without another good backup.")
