"""Alerts."""

from __future__ import annotations

import uuid
from typing import ClassVar

from pydantic import Field

from shared.events.base import Event


class AlertFact(Event):
    """What every fact about an alert says."""

    alert_id: uuid.UUID
    kind: str = Field(description="What is wrong, as `disk`.")
    about: str = Field(description="What it is wrong with, as `server:web1:/srv`.")
    server: str = Field(default="", description="The name of the server it belongs to; empty for none.")
    level: str = Field(description="warning or critical")
    value: float
    threshold: float | None = None


class AlertRaised(AlertFact):
    """An incident began, changed its level, or its acknowledgement ran out."""

    subject: ClassVar[str] = "alert.raised"


class AlertResolved(AlertFact):
    """An incident is over."""

    subject: ClassVar[str] = "alert.resolved"
