"""Groups: named selections of servers by their tags."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from services.api.kernel.patches import patch_of
from services.api.kernel.schemas import VERSION, In, Out
from shared.domain.names import Name
from shared.domain.tags import TagName
from shared.domain.values import CleanText

Tags = Annotated[list[TagName], Field(max_length=50)]


class GroupIn(In):
    """A group to make; it needs one tag at least."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "databases", "all": ["db"]}]})

    name: Name = Field(examples=["databases-eu"])
    description: CleanText = ""
    all: Tags = Field(default_factory=list[str], examples=[["db"]], description="A server has each of these.")
    any: Tags = Field(default_factory=list[str], examples=[["eu-west", "eu-north"]], description="And one of these.")
    none: Tags = Field(default_factory=list[str], examples=[["staging"]], description="And none of these.")


class GroupPatch(patch_of(GroupIn)):
    """What is to change of a group; null takes the default again."""


class GroupOut(Out):
    """A group of servers, by their tags as they are at any time."""

    id: uuid.UUID
    name: str
    description: str
    version: int = VERSION
    created_at: datetime
    all: list[str] = Field(default_factory=list[str])
    any: list[str] = Field(default_factory=list[str])
    none: list[str] = Field(default_factory=list[str])


class MemberOut(Out):
    """A server of a group."""

    id: uuid.UUID
    name: str
    host: str
    state: str
