"""Schedules as they stand in the bodies of what they belong to: backup jobs and repositories."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal, Self, cast

from pydantic import BaseModel, Field, model_validator

from services.api.kernel.hours import HoursIn
from services.api.kernel.schemas import In, Out
from shared.domain.job_kinds import MAINTENANCE, MaintenanceTask
from shared.domain.proofs import RestoreTestAsked
from shared.domain.schedule import Hours, Spec
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


WEEKLY = Hours(kind="hours", every=7 * 24)
"""How often a restore test runs, where nobody says otherwise."""


class MaintenanceScheduleIn(ScheduleIn):
    """When a repository is pruned, compacted, checked or tested by itself."""

    task: MaintenanceTask
    check: CheckOptions | None = Field(default=None, description="How to check; archives without a budget, without.")
    restore_test: RestoreTestAsked | None = Field(
        default=None, description="What a restore test reads; a sample of 50 files, without."
    )

    @model_validator(mode="before")
    @classmethod
    def _tested_each_week(cls, values: Any) -> Any:
        """Restore tests come each week, where nobody says when."""
        if not isinstance(values, dict):
            return values
        given = cast("dict[str, Any]", values)
        weekly = given.get("task") == "restore_test" and "when" not in given
        return given | {"when": WEEKLY.model_dump(mode="json")} if weekly else given

    @model_validator(mode="after")
    def _only_its_own_options(self) -> Self:
        for task in ("check", "restore_test"):
            if getattr(self, task) is not None and self.task != task:
                message = f"`{task}` says how to do that: it goes with the task {task} alone"
                raise ValueError(message)
        if self.restore_test is not None and self.restore_test.archive_id is not None:
            message = "a schedule tests the backups that are there then: without `archive_id`"
            raise ValueError(message)
        return self

    @property
    def params(self) -> dict[str, Any] | None:
        """What its jobs are asked for."""
        options = self.check or self.restore_test
        return options.model_dump(mode="json", exclude_none=self.check is None) if options else None


class MaintenanceScheduleOut(ScheduleOut):
    """A repository's schedule, in words, and its next runs."""

    task: str = Field(description=f"One of {', '.join(MAINTENANCE)}.")
    check: CheckOptions | None
    restore_test: RestoreTestAsked | None
