"""Notification channels and what became of what they were to be told."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Literal

from pydantic import Field

from services.api.kernel.hours import HoursIn
from services.api.kernel.patches import patch_of
from services.api.kernel.schemas import VERSION, In, Out, Secret
from shared.domain.alerts import AlertKind
from shared.domain.names import Name
from shared.domain.tags import TagName


class ChannelRules(In):
    """What a channel wants to hear of, and when."""

    enabled: bool = True
    least_level: Literal["warning", "critical"] = "warning"
    kinds: list[AlertKind] = Field(
        default_factory=list[AlertKind], max_length=100, description="Only these; all without."
    )
    tags: list[TagName] = Field(
        default_factory=list[str],
        max_length=50,
        description="Only servers with one of these, by name; everything without. One that is not there yet is made.",
    )
    hours: HoursIn | None = Field(default=None, description="At any time, without; what happens outside waits.")
    digest_seconds: int = Field(
        default=0, ge=0, le=86_400, description="Gather for so long and tell it in one message; 0: at once."
    )
    recovered: bool = Field(default=True, description="Tell the end of what was told.")


class ChannelIn(ChannelRules):
    """A channel to add."""

    name: Name = Field(examples=["on-call"])
    kind: Literal["webhook", "apprise"]
    url: Secret = Field(
        description="Never shown again. webhook: http(s). apprise: any URL that Apprise knows.",
        examples=["mailtos://user:password@example.org?to=admins@example.org"],
    )


class ChannelChange(ChannelRules):
    """A channel's new rules, and its new URL if it has one."""

    url: Secret | None = Field(default=None, description="The old one stays, without.")


class ChannelPatch(patch_of(ChannelChange)):
    """What is to change of a channel; null takes the default again."""


class ChannelOut(Out):
    """A channel; its URL is not shown."""

    id: uuid.UUID
    name: str
    kind: str
    label: str = Field(description="What may be shown of its URL.")
    enabled: bool
    least_level: str
    kinds: list[str]
    tags: list[str]
    hours: HoursIn | None
    digest_seconds: int
    recovered: bool
    version: int = VERSION
    created_at: datetime


class ChannelMade(ChannelOut):
    """A channel that was just added."""

    signing_key: str | None = Field(
        description="Of a webhook, shown this once: the secret of Standard Webhooks, with which it checks signatures."
    )


class NotificationOut(Out):
    """One thing to tell one channel, and what became of it."""

    id: uuid.UUID
    channel_id: uuid.UUID
    alert_id: uuid.UUID | None
    what: str = Field(description="raise, relevel, remind, resolve or test")
    kind: str
    about: str
    level: str
    state: str = Field(description="waiting, sent, failed, or needless: over before it was told")
    attempts: int
    due_at: datetime = Field(description="When it is tried, or tried again, if it waits.")
    sent_at: datetime | None
    error: str = Field(description="What went wrong with the last try.")
    happened_at: datetime
    created_at: datetime
