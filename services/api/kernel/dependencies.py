"""What routes ask for: the parts, an authenticated caller, a page's bounds."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import select

from services.api.kernel.errors import Unauthenticated
from shared.bus.port import Bus
from shared.db.session import Database
from shared.db.tables.kernel import ApiToken
from shared.domain.values import CleanText
from shared.notify.port import Sender

_REMEMBERED_SECONDS = 10.0
_bearer = HTTPBearer(auto_error=False, description="An API token; the first one is printed at the first start.")


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the application hands to its routes."""

    database: Database
    bus: Bus
    sender: Sender
    """To check the addresses of notification channels; nothing is sent from here."""
    remembered: dict[str, tuple[str, float]]
    """Of a token's digest: its name, and until when it need not be looked up."""

    @property
    def db(self) -> Database:
        """The database, with the patience of a request."""
        return self.database.for_requests()


def gateway(request: Request) -> Gateway:
    """Return the application's parts."""
    found = request.app.state.gateway
    if not isinstance(found, Gateway):
        message = "the application was built without its parts"
        raise TypeError(message)
    return found


Parts = Annotated[Gateway, Depends(gateway)]


async def authenticated(
    parts: Parts, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> str:
    """Return the token's name; the door has let the request in before its body was read."""
    return await authenticate(parts, f"Bearer {credentials.credentials}" if credentials else None)


async def authenticate(parts: Gateway, header: str | None) -> str:
    """Return the token's name; nobody is let in without one. A known one is remembered for seconds."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        message = "this path needs a token"
        raise Unauthenticated(message, remedy="send `Authorization: Bearer <token>`")
    digest = token_digest(token.strip())
    name, until = parts.remembered.get(digest, ("", 0.0))
    if until > time.monotonic():
        return name
    async with parts.db.read() as session:
        known = await session.scalar(select(ApiToken.name).where(ApiToken.digest == digest))
    if known is None:
        message = "this token is not known"
        raise Unauthenticated(message, remedy="use the token that was printed at the first start")
    parts.remembered[digest] = known, time.monotonic() + _REMEMBERED_SECONDS
    return known


Caller = Annotated[str, Depends(authenticated)]


def token_digest(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a list, and from where."""

    limit: int
    after: str | None


def bounds(
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    after: Annotated[CleanText | None, Query(description="`next` of the page before.")] = None,
) -> Bounds:
    """Read a page's bounds."""
    return Bounds(limit, after)


PageBounds = Annotated[Bounds, Depends(bounds)]


def many_bounds(
    limit: Annotated[int, Query(ge=1, le=2000)] = 2000,
    after: Annotated[CleanText | None, Query(description="From the `Link` of the part before.")] = None,
) -> Bounds:
    """Read the bounds of a list that most have whole in one answer."""
    return Bounds(limit, after)


ManyBounds = Annotated[Bounds, Depends(many_bounds)]
