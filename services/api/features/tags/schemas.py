"""Tags of servers."""

from __future__ import annotations

import uuid
from datetime import datetime

from pydantic import Field

from services.api.kernel.patches import patch_of
from services.api.kernel.schemas import VERSION, In, Out
from shared.domain.tags import Colour, TagName
from shared.domain.values import CleanText


class TagIn(In):
    """A tag to make."""

    name: TagName = Field(examples=["production"], description="A name, or two as `key=value`; case counts.")
    colour: Colour = Field(default="", examples=["#1f77b4"], description="As `#rrggbb`; empty: none.")
    description: CleanText = ""


class TagPatch(patch_of(TagIn)):
    """What is to change of a tag; all that refers to it goes on. null takes the default again."""


class TagOut(Out):
    """A tag, and how many of each refer to it."""

    id: uuid.UUID
    name: str
    colour: str
    description: str
    version: int = VERSION
    created_at: datetime
    servers: int = 0
    channels: int = 0
    thresholds: int = 0
    windows: int = 0
    groups: int = 0
    grants: int = Field(default=0, description="Roles of users that are for servers with this tag.")
