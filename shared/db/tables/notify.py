"""Who is told of alerts, and what became of each message; owned by stats, channels requested by the API."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, Versioned, binary_text, db_now, long_text
from shared.domain.ids import new_id


class NotificationChannel(Versioned, Base):
    """One place to which alerts are told; its address is a secret, named by `shared.db.stores.secrets`."""

    __tablename__ = "notification_channels"
    DEFINITION = frozenset(
        {"digest_seconds", "enabled", "hours", "kind", "kinds", "label", "least_level", "name", "recovered", "tags"}
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(binary_text(63), unique=True)
    kind: Mapped[str] = mapped_column(binary_text(10))
    """`webhook` or `apprise`."""
    label: Mapped[str] = mapped_column(binary_text(300))
    """The address without what must not be shown."""
    enabled: Mapped[bool] = mapped_column(default=True)
    least_level: Mapped[str] = mapped_column(binary_text(8), default="warning")
    kinds: Mapped[list[str]] = mapped_column(JSON, default=list)
    tags: Mapped[list[str]] = mapped_column(JSON, default=list)
    """What older versions read and write of `channel_tags`; see `shared.db.stores.tags`."""
    hours: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    digest_seconds: Mapped[int] = mapped_column(default=0)
    recovered: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=db_now())


class Notification(Base):
    """One thing to tell one channel, and what became of it: the delivery log."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("channel_id", "change_id"),
        Index("ix_notifications_state_due_at", "state", "due_at"),
        Index("ix_notifications_created_at_id", "created_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    channel_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("notification_channels.id", ondelete="CASCADE"))
    change_id: Mapped[uuid.UUID]
    """The line of the incident's history that it tells of; a test's own id."""
    alert_id: Mapped[uuid.UUID | None]
    what: Mapped[str] = mapped_column(binary_text(20))
    """raise, relevel, remind, resolve or test."""
    kind: Mapped[str] = mapped_column(binary_text(40), default="")
    about: Mapped[str] = mapped_column(binary_text(600), default="")
    server: Mapped[str | None] = mapped_column(binary_text(63), default=None)
    level: Mapped[str] = mapped_column(binary_text(8), default="")
    value: Mapped[float | None] = mapped_column(default=None)
    threshold: Mapped[float | None] = mapped_column(default=None)
    state: Mapped[str] = mapped_column(binary_text(10), default="waiting")
    """waiting, sent, failed, or needless: over before it was told."""
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(default=db_now())
    sent_at: Mapped[datetime | None] = mapped_column(default=None)
    error: Mapped[str] = mapped_column(long_text(), default="")
    happened_at: Mapped[datetime] = mapped_column(default=db_now())
    created_at: Mapped[datetime] = mapped_column(default=db_now())
