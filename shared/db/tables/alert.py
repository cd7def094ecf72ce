"""Alerts: where they begin, the incidents, their history, and when nobody wants to hear of them; owned by stats."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, Versioned, binary_text, db_now, long_text
from shared.domain.ids import new_id


class AlertRule(Versioned, Base):
    """Thresholds other than the built-in ones: for one server, for all with a tag, or, both empty, for the fleet.

    It refers by id. The names beside are what is unique, tell "nothing" from "gone", and what older versions read:
    a rule with a name and without its id holds for nobody, never for the fleet.
    """

    __tablename__ = "alert_rules"
    __table_args__ = (UniqueConstraint("kind", "server", "tag"),)
    DEFINITION = frozenset({"critical", "enabled", "for_seconds", "hysteresis", "kind", "server", "tag", "warning"})

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(binary_text(40))
    server: Mapped[str] = mapped_column(binary_text(63), default="")
    tag: Mapped[str] = mapped_column(binary_text(63), default="")
    server_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"), default=None)
    tag_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tags.id"), default=None)
    warning: Mapped[float | None]
    critical: Mapped[float | None]
    for_seconds: Mapped[float] = mapped_column(default=0.0)
    hysteresis: Mapped[float] = mapped_column(default=0.0)
    enabled: Mapped[bool] = mapped_column(default=True)


class Alert(Base):
    """One incident, from its beginning to its end."""

    __tablename__ = "alerts"
    __table_args__ = (Index("ix_alerts_began_at_id", "began_at", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    open_key: Mapped[str | None] = mapped_column(binary_text(700), unique=True)
    """Kind and subject while it is open: there are never two of one."""
    kind: Mapped[str] = mapped_column(binary_text(40))
    subject: Mapped[str] = mapped_column(binary_text(600))
    server: Mapped[str | None] = mapped_column(binary_text(63))
    state: Mapped[str] = mapped_column(binary_text(12))
    level: Mapped[str] = mapped_column(binary_text(8))
    value: Mapped[float]
    threshold: Mapped[float | None]
    began_at: Mapped[datetime] = mapped_column(default=db_now())
    raised_at: Mapped[datetime | None] = mapped_column(default=None)
    acknowledged_until: Mapped[datetime | None] = mapped_column(default=None)
    acknowledged_by: Mapped[str] = mapped_column(binary_text(63), default="")
    acknowledged_note: Mapped[str] = mapped_column(long_text(), default="")
    resolved_at: Mapped[datetime | None] = mapped_column(default=None)


class AlertChange(Base):
    """One line of an incident's history."""

    __tablename__ = "alert_changes"
    __table_args__ = (Index("ix_alert_changes_alert_id_at", "alert_id", "at"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    alert_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("alerts.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(default=db_now())
    what: Mapped[str] = mapped_column(binary_text(20))
    level: Mapped[str] = mapped_column(binary_text(8))
    value: Mapped[float]
    who: Mapped[str] = mapped_column(binary_text(63), default="")
    """Who did it, where a person or a program did."""
    note: Mapped[str] = mapped_column(long_text(), default="")


class MaintenanceWindow(Versioned, Base):
    """A time in which no alert begins: for one server, for all with a tag, or for all; see `AlertRule` of its names."""

    __tablename__ = "maintenance_windows"
    DEFINITION = frozenset({"ends_at", "reason", "server", "starts_at", "tag"})

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    server: Mapped[str] = mapped_column(binary_text(63), default="")
    tag: Mapped[str] = mapped_column(binary_text(63), default="")
    server_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"), default=None)
    tag_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tags.id"), default=None)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(long_text(), default="")
