"""How many runs may be under way at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.api.kernel.patches import patch_of
from services.api.kernel.schemas import SEEN, VERSION, In
from shared.domain.names import Name

Cap = Annotated[int, Field(ge=1, le=10_000)]


class Limits(In):
    """Backups, prunes, compactions and checks together; null: no limit. What is above waits for a free slot.

    The higher priority goes first, then the server with the fewest runs, then what waited longest.
    """

    fleet: Cap | None = Field(default=50)
    per_server: Cap | None = Field(default=2)
    per_pool: Cap | None = Field(default=20)
    servers: dict[Name, Cap] = Field(
        default={}, max_length=10_000, description="Of single servers, by name, instead of `per_server`."
    )
    pools: dict[Name, Cap] = Field(
        default={}, max_length=1000, description="Of single pools, by name, instead of `per_pool`."
    )


class LimitsPut(Limits):
    """All limits, with the version that they were made from, if one likes."""

    version: int | None = SEEN


class LimitsOut(Limits):
    """The limits as they are."""

    version: int = VERSION


class LimitsPatch(patch_of(Limits)):
    """What is to change of the limits; null of one takes the default again, of a server or a pool its own."""
