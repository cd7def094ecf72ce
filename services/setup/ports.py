"""What a set-up has in hand, and what each step returns."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from shared.borg.environment import Endpoint
    from shared.ssh.port import Connection


@dataclass(frozen=True, slots=True)
class PinnedEndpoint:
    """A node's storage endpoint and the host key a server is to trust."""

    endpoint: Endpoint
    host_key: str


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """A server as the database knows it, and what it needs."""

    server_id: uuid.UUID
    name: str
    host: str
    port: int
    username: str
    host_key: str | None
    approved_fingerprint: str | None
    backup_key: str | None
    fleet_key: str = field(repr=False)
    fleet_public_key: str
    password: str | None = field(repr=False)
    password_until: datetime | None
    """When it is forgotten, used up or not."""
    endpoints: tuple[PinnedEndpoint, ...]


@dataclass(slots=True)
class Work:
    """What the steps share: the connection, and what they found out."""

    plan: SetupPlan
    login: Connection
    root: Connection
    facts: dict[str, str]
    register: Callable[[str], Awaitable[bool]]
    """Keep the server's public key; tells whether it was new."""
    by_key: Callable[[], AbstractAsyncContextManager[Connection]]
    """Log in afresh with the fleet's key and nothing else."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """Whether the step changed anything, what it found, and what people should know."""

    changed: bool
    detail: str
    warning: str | None = None


Step: TypeAlias = Callable[[Work], Awaitable[StepResult]]
