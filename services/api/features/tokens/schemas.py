"""API tokens."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

from pydantic import Field

from services.api.kernel.schemas import In, Out
from shared.domain.names import Name
from shared.domain.permissions import Permission
from shared.domain.tags import TagName
from shared.domain.values import Int32

MOST_DAYS = 3650


class TokenIn(In):
    """A token to make; it never may more than who makes it, nor more than its user by then."""

    name: Name = Field(examples=["backup-monitor"])
    user: Name | None = Field(default=None, description="Whose it is, as a service's; null: one's own.")
    permissions: list[Permission] | None = Field(
        default=None, max_length=200, description="What it may; null: all that its user may, by then."
    )
    tags: list[TagName] | None = Field(
        default=None, max_length=100, description="Only for servers with one of these tags; null: as its user."
    )
    expires_in_days: Annotated[Int32, Field(ge=1, le=MOST_DAYS)] | None = Field(
        default=90, description="null: it never expires."
    )


class TokenOut(Out):
    """A token, without its secret."""

    id: uuid.UUID
    name: str
    user: str | None = Field(default=None, description="Whose it is; null: nobody's in particular, it may everything.")
    prefix: str | None = Field(description="What stands after bf_ in it; null: it is of an older kind.")
    permissions: list[str] | None
    tags: list[str] | None = None
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="Within a minute.")
    last_used_from: str | None
    created_at: datetime


class TokenMade(TokenOut):
    """A new token, with its secret."""

    secret: str = Field(description="The token itself, shown this once.")


class TokenChange(In):
    """What is to change of a token."""

    name: Name
