"""How deep a check goes, and how long it may take."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

SHORTEST_BUDGET, _DAY = 60, 86_400


class Depth(StrEnum):
    """Each one includes those before it."""

    SEGMENTS = "segments"
    """Every segment's checksums, and the index."""
    ARCHIVES = "archives"
    """That every chunk that an archive needs is there."""
    DATA = "data"
    """All data of every archive: read, authenticated and unpacked, as a restore would."""


class CheckOptions(BaseModel):
    """What a check is asked for; it ends within its budget, and the next one goes on where it ended."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: Depth = Depth.ARCHIVES
    budget_seconds: int | None = Field(
        default=None, ge=SHORTEST_BUDGET, le=7 * _DAY, description="What is not done by then is done by the next check."
    )
