"""Alerts, their thresholds, and maintenance windows."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Self

from pydantic import Field, model_validator

from services.api.kernel.patches import patch_of
from services.api.kernel.schemas import VERSION, In, Out
from shared.domain.alerts import AlertKind
from shared.domain.names import Name
from shared.domain.tags import TagName
from shared.domain.values import CleanText, Figure, Moment


class AlertOut(Out):
    """One incident."""

    id: uuid.UUID
    kind: str = Field(description="What is wrong, as `disk`.")
    subject: str = Field(description="What it is wrong with, as `server:web1:/srv`.")
    server: str | None
    state: str = Field(description="pending, firing, acknowledged or resolved")
    level: str = Field(description="warning or critical")
    value: float
    threshold: float | None
    began_at: datetime
    raised_at: datetime | None
    acknowledged_until: datetime | None
    acknowledged_by: str
    acknowledged_note: str
    resolved_at: datetime | None


class AlertChangeOut(Out):
    """One line of an incident's history."""

    at: datetime
    what: str = Field(description="raise, relevel, remind, acknowledge or resolve")
    level: str
    value: float
    who: str = Field(description="Who did it; empty where nobody had to.")
    note: str


class AlertDetail(AlertOut):
    """One incident with its history."""

    history: list[AlertChangeOut]


class AcknowledgeIn(In):
    """That somebody knows, and until when nobody is to be reminded."""

    until: Moment | None = Field(default=None, description="For as long as it lasts, without.")
    note: CleanText = ""


class ThresholdIn(In):
    """Where a kind of alert begins; in the kind's unit."""

    warning: Figure | None
    critical: Figure | None
    for_seconds: Figure = Field(default=0, ge=0, le=7 * 86_400, description="How long it has to last first.")
    hysteresis: Figure = Field(default=0, ge=0, description="How far it has to come back before the alert ends.")
    enabled: bool = True


class ThresholdPatch(patch_of(ThresholdIn)):
    """What is to change of a threshold; null is no level, or takes the default again."""


class ThresholdOut(ThresholdIn):
    """A threshold in force, and who decided it."""

    kind: AlertKind
    server: str | None = Field(description="The one server it holds for; null: all others.")
    tag: str | None = Field(description="The tag of servers it holds for.")
    decided_by: str = Field(description="built-in, fleet, server, or the tag as `tag:production`")
    below: bool = Field(description="Small values are the bad ones.")
    version: int = Field(description="Of what was set for exactly these servers; 0: nothing was, another one holds.")


class WindowIn(In):
    """A time in which no alert begins."""

    server: Name | None = Field(default=None, description="This server alone.")
    tag: TagName | None = Field(
        default=None,
        description="All servers with this tag, which is made if need be; without both, all servers.",
    )
    starts_at: Moment = Field(examples=["2027-01-31T22:00:00+01:00"])
    ends_at: Moment = Field(examples=["2027-02-01T04:00:00+01:00"])
    reason: CleanText = ""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.server and self.tag:
            message = "either `server` or `tag`"
            raise ValueError(message)
        if self.ends_at <= self.starts_at:
            message = "`ends_at` is not after `starts_at`"
            raise ValueError(message)
        return self


class WindowPatch(patch_of(WindowIn)):
    """What is to change of a maintenance window; null takes the default again."""


class WindowOut(Out):
    """A maintenance window."""

    id: uuid.UUID
    server: str
    tag: str = Field(description="Both empty: all servers.")
    starts_at: datetime
    ends_at: datetime
    reason: str
    version: int = VERSION
