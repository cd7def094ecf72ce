"""What a run that a schedule made knows of it: it stands in the job's parameters, under one name."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = "scheduled"


class Scheduled(BaseModel):
    """Which run of which schedule this is, and the times that its hours allow it."""

    model_config = ConfigDict(frozen=True)

    schedule_id: uuid.UUID
    due_at: datetime
    begin_by: datetime | None = None
    """When its window ends, or a blackout begins: who has not begun by then has missed it."""
    stop: bool = False
    """It has to have ended by then as well."""

    def params(self) -> dict[str, Any]:
        """Return it as a part of a job's parameters."""
        return {_NAME: self.model_dump(mode="json")}


def scheduled_of(params: Mapping[str, Any]) -> Scheduled | None:
    """Return what a job's parameters say of its schedule; None if a person or a program asked for it."""
    return Scheduled.model_validate(params[_NAME]) if _NAME in params else None


def asked_for(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's parameters without its schedule: what is asked for by hand keeps no hours.

    What a row holds may be no mapping at all: it is left as it is, for the run that takes the job to refuse it.
    """
    if not hasattr(params, "items"):
        return cast("dict[str, Any]", params)
    return {name: value for name, value in params.items() if name != _NAME}
