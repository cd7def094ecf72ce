"""Managed servers; owned by the setup service, requested by the API."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, Versioned, binary_text, db_now, long_text
from shared.domain.ids import new_id
from shared.domain.names import LOGIN_LENGTH


class Server(Versioned, Base):
    """One managed Linux host."""

    __tablename__ = "servers"
    DEFINITION = frozenset({"host", "name", "port", "tags", "username"})

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(binary_text(63), unique=True)
    host: Mapped[str] = mapped_column(binary_text(254))
    port: Mapped[int] = mapped_column(default=22)
    username: Mapped[str] = mapped_column(binary_text(LOGIN_LENGTH), default="root")
    state: Mapped[str] = mapped_column(binary_text(20), default="new")
    state_reason: Mapped[str] = mapped_column(long_text(), default="")
    state_message: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """What is told, as entry and parameters; older rows have their sentence alone."""
    host_key: Mapped[str | None] = mapped_column(long_text(), default=None)
    """The pinned host key, `<algorithm> <base64>`; without one nothing is ever sent."""
    host_key_offered: Mapped[str | None] = mapped_column(long_text(), default=None)
    """What the host showed and nobody has approved."""
    approved_fingerprint: Mapped[str | None] = mapped_column(binary_text(100), default=None)
    backup_key: Mapped[str | None] = mapped_column(long_text(), default=None)
    """Public half of the key made on the server; goes into the storage endpoint's authorized_keys."""
    max_runs: Mapped[int | None] = mapped_column(default=None)
    """How many runs may be under way here at once; None: as the settings say."""
    tags: Mapped[list[str]] = mapped_column(JSON, default=list)
    """What older versions read and write of `server_tags`; see `shared.db.stores.tags`."""
    facts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime] = mapped_column(default=db_now())
    ready_at: Mapped[datetime | None] = mapped_column(default=None)
    last_seen_at: Mapped[datetime | None] = mapped_column(default=None)


class AccessRefusal(Base):
    """What one server's key was refused at a storage endpoint, and no honest client asks for."""

    __tablename__ = "access_refusals"
    __table_args__ = (Index("ix_access_refusals_server_id", "server_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    server_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"))
    repository: Mapped[str] = mapped_column(binary_text(130), default="")
    """Another server's, as `server/name`; empty where it asked for something else than a repository."""
    attempts: Mapped[int] = mapped_column(default=0)
    said: Mapped[str] = mapped_column(long_text(), default="")
    """What it asked for last."""
    last_at: Mapped[datetime] = mapped_column(default=db_now())
