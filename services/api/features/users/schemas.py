"""Users and their roles."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from services.api.kernel.schemas import In, Out
from shared.domain.names import Name, Text
from shared.domain.permissions import Role
from shared.domain.tags import TagName
from shared.domain.values import CleanText

Email = Annotated[CleanText, Field(max_length=254), StringConstraints(pattern=r"^([^@\s]+@[^@\s]+)?$")]
MOST_GRANTS = 100


class GrantIn(In):
    """A role: for the fleet, or for the servers with a tag."""

    role: Role
    tag: TagName | None = Field(default=None, description="A tag that there is; null: the whole fleet.")


class GrantsIn(In):
    """All roles that a user is to have."""

    grants: list[GrantIn] = Field(max_length=MOST_GRANTS)


class GrantOut(Out):
    """One role of a user."""

    role: str
    tag: str | None = Field(default=None, description="The servers that it is for; null: the whole fleet.")


class UserIn(In):
    """A user to make: a person gets a link to choose a password with, a service has tokens alone."""

    name: Name = Field(examples=["ada"])
    display_name: Text = ""
    email: Email = ""
    kind: Literal["person", "service"] = "person"
    grants: list[GrantIn] = Field(default=[], max_length=MOST_GRANTS)


class UserChange(In):
    """What is to change of a user; what is left out, or null, stays as it is."""

    display_name: Text | None = None
    email: Email | None = None
    state: Literal["active", "disabled"] | None = Field(
        default=None, description="Disabled: no login, no token of theirs counts; all sessions end."
    )


class UserOut(Out):
    """A user."""

    id: uuid.UUID
    name: str
    display_name: str
    email: str
    kind: str
    state: str
    grants: list[GrantOut] = Field(default=[])
    second_factor: bool = False
    last_login_at: datetime | None
    created_at: datetime
    version: int


class LinkOut(Out):
    """A link that works once, shown this once."""

    link: str
    expires_at: datetime


class UserMade(Out):
    """A new user, and for a person the link to choose a password with."""

    user: UserOut
    invitation: LinkOut | None = None
