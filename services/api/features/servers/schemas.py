"""Servers."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from services.api.features.servers.statistics_schemas import StatusOut
from services.api.kernel.patches import patch_of
from services.api.kernel.schemas import VERSION, In, Out, Secret, Told
from shared.domain.names import Host, Login, Name
from shared.domain.tags import TagName

Fingerprint = Annotated[str, StringConstraints(max_length=50, pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]
Tags = Annotated[
    list[TagName],
    Field(
        max_length=20,
        description="By name, in the order of their weight: thresholds of the first tag that has one hold. "
        "One that is not there yet is made.",
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]


class ServerIn(In):
    """A server to add."""

    name: Name = Field(examples=["web1"])
    host: Host = Field(examples=["192.0.2.10"])
    port: Port = 22
    username: Login = "root"
    tags: Tags = Field(default_factory=list, examples=[["production", "db"]])
    password: Secret | None = Field(default=None, description="Used once by set-up, then forgotten; never shown.")
    approved_fingerprint: Fingerprint | None = Field(
        default=None, description="The host key's fingerprint, if it is known from elsewhere."
    )


class ServerChange(In):
    """A server's new address and tags; its pinned host key stays."""

    host: Host
    port: Port = 22
    username: Login = "root"
    password: Secret | None = None
    tags: Tags | None = Field(default=None, description="As they are, without.")


class ServerPatch(patch_of(ServerChange)):
    """What is to change of a server; null takes the default again."""


class HostKeyApproval(In):
    """The fingerprint that a person has compared and approves."""

    fingerprint: Fingerprint = Field(examples=["SHA256:" + "A" * 43])


class ServerOut(Out):
    """A server as it is now."""

    id: uuid.UUID
    name: str
    host: str
    port: int
    username: str
    tags: list[str]
    state: str = Field(description="new, host_key (approval needed), failed or ready")
    state_reason: str
    state_message: Told = Field(
        default=None, description="The same as an entry of GET /api/errors, and its parameters."
    )
    host_key_fingerprint: str | None = Field(default=None, description="Pinned.")
    offered_fingerprint: str | None = Field(default=None, description="Shown by the server, not approved.")
    facts: dict[str, Any]
    version: int = VERSION
    created_at: datetime
    ready_at: datetime | None
    last_seen_at: datetime | None
    restore_proven_at: datetime | None = Field(
        default=None, description="When a restore test or a restore last proved that a backup of it can be restored."
    )
    status: StatusOut | None = Field(default=None, description="The latest look at it; null before the first.")

    @model_validator(mode="after")
    def _in_todays_words(self) -> Self:
        if self.state_message is not None:
            self.state_reason = self.state_message.text
        return self


class FleetKey(Out):
    """The public key to put into a server's authorized_keys when no password is given."""

    public_key: str
