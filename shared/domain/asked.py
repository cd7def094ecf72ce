"""What a job's row says was asked for: checked once, when a run takes the job, so that no run meets nonsense later."""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.domain.messages.jobs import JOB_PARAMS_INVALID
from shared.domain.scheduled import Scheduled
from shared.domain.text import clean
from shared.errors import Permanent

_SHOWN = 500
_LONGEST_WAIT = 86_400.0


class Asked(BaseModel):
    """The parameters that several kinds of jobs know; a kind's own ones are looked at by its handler."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    max_failures: int | None = Field(default=None, ge=1, le=1000)
    retry_seconds: float | None = Field(default=None, ge=0, le=_LONGEST_WAIT)
    scheduled: Scheduled | None = None
    servers: list[uuid.UUID] | None = None
    budget_seconds: float | None = None

    @classmethod
    def of(cls, params: Any) -> Asked:
        """Read a job's parameters; Permanent if they make no sense."""
        try:
            return cls.model_validate(params)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'params'}: {one['msg']}" for one in error.errors())
            raise Permanent(JOB_PARAMS_INVALID(wrong=clean(wrong, _SHOWN))) from error

    @classmethod
    def or_nothing(cls, params: Any) -> Asked:
        """Read a job's parameters; those that make no sense ask for nothing: for whoever only ends the job."""
        try:
            return cls.of(params)
        except Permanent:
            return cls()
