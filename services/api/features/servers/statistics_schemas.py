"""How servers fare: the latest probe and the history."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from pydantic import Field

from services.api.kernel.schemas import In, Out, Telling


class StatusOut(Telling):
    """What is known of a server now."""

    up: bool
    code: str = Field(description="Stable code of why it does not answer; empty when it does.")
    reason: str
    changed_at: datetime = Field(description="Since when it is up, or down.")
    checked_at: datetime
    failures: int = Field(description="Looks in a row that it did not answer.")
    retry_at: datetime | None = Field(description="A sweep leaves a dead server alone until then.")
    sample: dict[str, Any] | None = Field(
        description="The latest sample: percent of 100, MiB, GiB; unknown is null, zero is 0."
    )


class CollectIn(In):
    """Which servers to probe."""

    servers: list[uuid.UUID] | None = Field(default=None, max_length=1000, description="All of them without.")


class Range(Out):
    """One figure over one step; null where nothing is known."""

    min: float | None
    mean: float | None
    max: float | None


class Point(Out):
    """All figures over one step."""

    at: datetime = Field(description="The step's beginning.")
    samples: int
    cpu: Range = Field(description="Percent busy.")
    memory: Range = Field(description="Percent used.")
    swap: Range = Field(description="Percent used.")
    disk: Range = Field(description="Percent of `/` used.")
    load: Range = Field(description="One-minute load per core.")
    received: Range = Field(description="Network bytes a second.")
    sent: Range = Field(description="Network bytes a second.")


class HistoryOut(Out):
    """A server's history, oldest first; a step without samples is left out."""

    server_id: uuid.UUID
    step: int = Field(description="Seconds a point stands for.")
    points: list[Point]
