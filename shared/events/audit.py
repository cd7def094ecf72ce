"""The audit log, as it is told to who keeps it elsewhere."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from shared.events.base import Event


class AuditSealed(Event):
    """A seal of the audit log: whoever cuts off the newest seals and rows cannot take this back."""

    subject: ClassVar[str] = "audit.sealed"

    seq: int = Field(description="Its number: seals are numbered from 1 without a gap.")
    count: int = Field(description="How many rows it holds.")
    root: str = Field(description="SHA-256 of its rows' codes, in their order.")
    prev: str = Field(description="The code of the seal before.")
    at: datetime = Field(description="When it was made, by the database's clock.")
    key_id: str = Field(description="The id of the key that its code was made with.")
    mac: str = Field(description="Its own code, made with the master key.")
