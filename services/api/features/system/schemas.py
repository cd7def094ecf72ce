"""What Borgfleet says of itself: its services and the messages it gave up."""

from __future__ import annotations

import uuid
from datetime import datetime

from pydantic import Field

from services.api.kernel.schemas import Out, Telling


class ServiceOut(Out):
    """One service in one process."""

    id: uuid.UUID
    service: str
    node: str = Field(description="The backup node whose work it takes; empty where work is not bound to a node.")
    version: str
    started_at: datetime
    seen_at: datetime


class DeadLetterOut(Telling):
    """A message that was given up; what it held lies in the stream DEAD, under the same subject."""

    id: uuid.UUID
    subject: str
    code: str = Field(description="Stable code of why.")
    reason: str
    remedy: str
    deliveries: int
    at: datetime
