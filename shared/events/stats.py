"""Statistics of servers."""

from __future__ import annotations

import uuid
from typing import ClassVar

from pydantic import Field

from shared.domain.names import Name
from shared.events.base import Command, JobFact


class StatsCollect(Command):
    """Look at how servers fare. Outside publishers give `server` by name, or nothing for all servers."""

    subject: ClassVar[str] = "stats.collect"

    server: Name | None = Field(default=None, description="The server's name; all servers without.", examples=["web1"])


class StatsCollected(JobFact):
    """A sweep is done; each server's figures are in the API."""

    subject: ClassVar[str] = "stats.collected"

    collected: int = Field(description="Servers that answered.")
    unreachable: int = Field(description="Servers that did not.")
    left_alone: int = Field(default=0, description="Dead servers whose next try is not due yet.")


class ServerReachable(JobFact):
    """A server that could not be reached answers again."""

    subject: ClassVar[str] = "server.reachable"

    server_id: uuid.UUID
