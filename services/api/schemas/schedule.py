"""Schedules, pauses, missed runs, and what is to come."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Literal, Self

from pydantic import Field, model_validator

from services.api.schemas.common import In, Out
from services.api.schemas.hours import HoursIn
from shared.domain.schedule import Spec
from shared.domain.values import CleanText, Moment
from shared.domain.verification import CheckOptions


class ScheduleIn(In):
    """When a backup job runs by itself."""

    when: Spec = Field(examples=[{"kind": "days", "times": ["02:30"], "zone": "Europe/Paris"}])
    jitter_seconds: int = Field(
        default=0,
        ge=0,
        le=6 * 3600,
        description="Spread: each backup job begins so much later at most, always the same.",
    )
    catch_up: bool = Field(default=True, description="After downtime run once; else the run is missed.")
    overlap: Literal["skip", "queue"] = Field(default="skip", description="When another run of it is under way.")
    window: HoursIn | None = Field(default=None, description="A run begins only within; one due outside waits.")
    blackout: HoursIn | None = Field(default=None, description="No run begins within; one due then waits for its end.")
    stop_at_end: bool = Field(
        default=False, description="A run that lasts past the window's end, or into the blackout, is stopped."
    )


class ScheduleOut(ScheduleIn):
    """A schedule, in words, and its next runs."""

    id: uuid.UUID
    words: str
    next_run_at: datetime
    next_runs: list[datetime] = Field(description="The next five, in the schedule's own zone, jitter included.")


class UpkeepScheduleIn(ScheduleIn):
    """When a repository is pruned, compacted or checked by itself."""

    task: Literal["prune", "compact", "check"]
    check: CheckOptions | None = Field(default=None, description="How to check; archives without a budget, without.")

    @model_validator(mode="after")
    def _only_checks_have_options(self) -> Self:
        if self.check is not None and self.task != "check":
            message = "`check` says how to check: it goes with the task check alone"
            raise ValueError(message)
        return self


class UpkeepScheduleOut(UpkeepScheduleIn, ScheduleOut):
    """A repository's schedule, in words, and its next runs."""


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
    created_at: datetime


class MissedRunOut(Out):
    """A run that was due and was not made."""

    id: uuid.UUID
    backup_job_id: uuid.UUID | None
    repository_id: uuid.UUID | None = Field(description="Where it is a repository's upkeep.")
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
    breaks_at: datetime | None = Field(description="When the target is breached without another good backup.")
