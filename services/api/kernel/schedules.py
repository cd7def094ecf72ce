"""Schedules as they stand in the bodies of what they belong to: backup jobs and repositories."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from services.api.kernel.hours import HoursIn
from services.api.kernel.schemas import In, Out
from shared.domain.job_kinds import MAINTENANCE, MaintenanceTask
from shared.domain.schedule import Spec
from shared.domain.verification import CheckOptions


class ScheduleOptions(BaseModel):
    """What a schedule says beside when."""

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


class ScheduleIn(ScheduleOptions, In):
    """When a backup job runs by itself."""

    when: Spec = Field(examples=[{"kind": "days", "times": ["02:30"], "zone": "Europe/Paris"}])


class ScheduleOut(ScheduleOptions, Out):
    """A schedule, in words, and its next runs."""

    id: uuid.UUID
    when: Spec | None = Field(description="Null where this version cannot read it; nothing runs by it then.")
    words: str
    next_run_at: datetime | None = Field(description="Null where this version cannot read when, or within which hours.")
    next_runs: list[datetime] = Field(description="The next five, in the schedule's own zone, jitter included.")


class MaintenanceScheduleIn(ScheduleIn):
    """When a repository is pruned, compacted or checked by itself."""

    task: MaintenanceTask
    check: CheckOptions | None = Field(default=None, description="How to check; archives without a budget, without.")

    @model_validator(mode="after")
    def _only_checks_have_options(self) -> Self:
        if self.check is not None and self.task != "check":
            message = "`check` says how to check: it goes with the task check alone"
            raise ValueError(message)
        return self


class MaintenanceScheduleOut(ScheduleOut):
    """A repository's schedule, in words, and its next runs."""

    task: str = Field(description=f"One of {', '.join(MAINTENANCE)}.")
    check: CheckOptions | None
