"""Four eyes: whether they are asked for, and what waits for a second person; owned by the gateway."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, Versioned, binary_text, db_now, long_text
from shared.domain.ids import new_id


class FourEyes(Versioned, Base):
    """Whether guarded actions need a second person: one row."""

    __tablename__ = "four_eyes"
    DEFINITION = frozenset({"cooling_seconds", "enabled", "expiry_seconds"})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    enabled: Mapped[bool] = mapped_column(default=False)
    cooling_seconds: Mapped[int] = mapped_column(default=3600)
    """From the second person's word to the action."""
    expiry_seconds: Mapped[int] = mapped_column(default=604_800)
    """Until then the second person has to have said a word."""


class Approval(Base):
    """A guarded action that somebody asked for, frozen as it was asked for."""

    __tablename__ = "approvals"
    __table_args__ = (
        Index("ix_approvals_state_run_at", "state", "run_at"),
        Index("ix_approvals_requested_at_id", "requested_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(binary_text(40))
    fields: Mapped[dict[str, Any]] = mapped_column(JSON)
    noun: Mapped[str] = mapped_column(binary_text(63))
    target_id: Mapped[str] = mapped_column(binary_text(64), default="")
    target_name: Mapped[str] = mapped_column(binary_text(700), default="")
    target_version: Mapped[int | None] = mapped_column(default=None)
    """The version that it was asked for; another one by then, and it is not done."""
    server_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    reason: Mapped[str] = mapped_column(long_text(), default="")
    open_key: Mapped[str | None] = mapped_column(binary_text(64), unique=True, default=None)
    """What it does, while it is open: who asks again for the same finds it."""
    request_key: Mapped[str | None] = mapped_column(binary_text(200), unique=True, default=None)
    """The message that it came by, so that a repeated one asks once."""
    asked_by: Mapped[str] = mapped_column(binary_text(60))
    """`user:<id>`, `token:<id>`, or `outside`: by a message of a program of others."""
    requested_by: Mapped[str] = mapped_column(binary_text(100))
    requested_by_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    """The user, also of a token; he is not the second person."""
    requested_at: Mapped[datetime] = mapped_column(default=db_now())
    state: Mapped[str] = mapped_column(binary_text(12), default="asked")
    """asked, approved, rejected, withdrawn, expired, done, stale, failed."""
    decided_by: Mapped[str] = mapped_column(binary_text(100), default="")
    decided_by_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    decided_at: Mapped[datetime | None] = mapped_column(default=None)
    note: Mapped[str] = mapped_column(long_text(), default="")
    run_at: Mapped[datetime]
    """Asked: when it expires. Approved: when it is done."""
    done_at: Mapped[datetime | None] = mapped_column(default=None)
    code: Mapped[str] = mapped_column(binary_text(63), default="")
    message: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    """Why it was not done, as an entry of the catalogue."""
