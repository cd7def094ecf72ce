"""Four eyes."""

from __future__ import annotations

from pydantic import Field

from services.api.kernel.schemas import SEEN, VERSION, In
from shared.domain.names import Text

_HOUR, _DAY = 3600, 86_400


class DecisionIn(In):
    """What one says of a decision."""

    note: Text = Field(default="", examples=["seen and agreed by phone"])


class FourEyesIn(In):
    """Whether guarded actions need a second person, and how long that takes."""

    enabled: bool
    cooling_seconds: int = Field(
        default=_HOUR, ge=0, le=72 * _HOUR, description="From the second person's word to the action."
    )
    expiry_seconds: int = Field(
        default=7 * _DAY, ge=_HOUR, le=90 * _DAY, description="Until then the second person has to have said a word."
    )


class FourEyesPut(FourEyesIn):
    """The settings, with the version that they were made from, if one likes."""

    version: int | None = SEEN


class FourEyesOut(FourEyesIn):
    """The settings as they are."""

    version: int = VERSION
