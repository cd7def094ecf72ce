"""Who asks, and how the gateway finds that out."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from services.api.kernel.rights import Rights
    from shared.domain.permissions import Permission


@dataclass(frozen=True, slots=True)
class Principal:
    """A person, or a program with a token, as it stands in one request."""

    kind: Literal["user", "token"]
    id: uuid.UUID
    name: str
    """As it is kept of what was asked for: who held, accepted, acknowledged."""
    rights: Rights
    user_id: uuid.UUID | None = None
    """Of a token whose it is; None: it was made before there were users, or at the first start."""
    session_id: uuid.UUID | None = None
    """Of a person with a browser."""
    lacks_factor: bool = False
    """A person who has to have a second factor and has none: he has no rights until he has set one up."""

    approval: uuid.UUID | None = None
    """Set where what he asked for is done now, because another person has agreed to it."""

    @property
    def permissions(self) -> frozenset[Permission]:
        """All that it may, be it for some servers only."""
        return self.rights.all

    @property
    def key(self) -> str:
        """What tells it from all others, for what is remembered of its requests."""
        return f"{self.kind}:{self.id}"

    def may(self, permission: Permission) -> bool:
        """Tell whether it has this right for the whole fleet."""
        return permission in self.rights.fleet

    def may_for_some(self, permission: Permission) -> bool:
        """Tell whether it has this right at all, be it for the servers with certain tags only."""
        return permission in self.rights.fleet or permission in self.rights.tagged


class Authenticator(Protocol):
    """Finds out who asks, from the head of a request alone."""

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """Return who asks; raises `Unauthenticated`, and reads nothing of the body."""
        ...

    def forget(self) -> None:
        """Look everybody up anew: rights were taken away, or sessions ended."""
        ...
