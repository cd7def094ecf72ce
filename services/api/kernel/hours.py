"""Spans of the week."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Self

from pydantic import Field, model_validator

from services.api.kernel.schemas import In
from shared.domain.schedule import Zone


class HoursIn(In):
    """Hours of days of the week, in a zone of their own."""

    zone: Zone = Field(default="UTC", examples=["Europe/Paris"])
    days: list[Annotated[int, Field(ge=1, le=7)]] = Field(
        default=[1, 2, 3, 4, 5, 6, 7], min_length=1, max_length=7, description="1 is Monday."
    )
    begins: time = Field(default=time(0, 0), examples=["08:00"])
    ends: time = Field(
        default=time(0, 0), examples=["18:00"], description="Not after `begins`: it goes on past midnight."
    )

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if self.begins.tzinfo or self.ends.tzinfo:
            message = "`begins` and `ends` are times of the zone: give no offset"
            raise ValueError(message)
        return self
