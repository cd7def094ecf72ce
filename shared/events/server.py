"""Servers: set-up."""

from __future__ import annotations

import uuid
from typing import ClassVar

from pydantic import Field

from shared.domain.names import Name
from shared.events.base import Command, Event, JobFact


class ServerSetup(Command):
    """Make a server ready to be backed up. Outside publishers give `server` by name."""

    subject: ClassVar[str] = "server.setup"

    server: Name | None = Field(default=None, description="The server's name.", examples=["web1"])


class ServerReady(JobFact):
    """Set-up is done and the way back to storage was proven with borg."""

    subject: ClassVar[str] = "server.ready"

    server_id: uuid.UUID
    changed: list[str] = Field(default_factory=list)


class ServerUnreachable(JobFact):
    """A server could not be reached, or was not who it should be."""

    subject: ClassVar[str] = "server.unreachable"

    server_id: uuid.UUID
    code: str
    reason: str


class ServerRefused(Event):
    """A server's key was used for what no honest client asks for, and was refused: treat it as taken over."""

    subject: ClassVar[str] = "server.refused"

    server_id: uuid.UUID
    repository: str
    """Another server's, as `server/name`; empty where it asked for something else than a repository."""
    attempts: int
    """Since the last such event."""
    reason: str
