"""What every event has."""

from __future__ import annotations

import uuid
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from shared.domain.ids import new_id


class Event(BaseModel):
    """A message: ids and facts only, never a secret; fields are only ever added, with defaults."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    subject: ClassVar[str]
    version: ClassVar[int] = 1

    event_id: uuid.UUID = Field(default_factory=new_id, description="Unique per event; also the Nats-Msg-Id.")
    correlation_id: uuid.UUID = Field(default_factory=new_id, description="Ties together all that one request caused.")

    @classmethod
    def type_name(cls) -> str:
        """Return the value of the `Event-Type` header, as `backup.requested.v1`."""
        return f"{cls.subject}.v{cls.version}"


class Command(Event):
    """A request for one unit of work; `job_id` names the row that is the truth about it."""

    job_id: uuid.UUID | None = Field(default=None, description="The job to run.")


class JobFact(Event):
    """Something that happened to a job."""

    job_id: uuid.UUID
