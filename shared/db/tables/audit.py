"""Who did what, and the seals that show when a row was changed, taken away or added; owned by the gateway."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, binary_text, long_text
from shared.domain.ids import new_id

_CODE = 64


class AuditEntry(Base):
    """One thing that was done, or refused. It commits with what was done, and is never changed but by its seal."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_seal_at_id", "seal", "at", "id"),
        Index("ix_audit_entries_at_id", "at", "id"),
        Index("ix_audit_entries_actor_name_at_id", "actor_name", "at", "id"),
        Index("ix_audit_entries_action_at_id", "action", "at", "id"),
        Index("ix_audit_entries_server_id_at_id", "server_id", "at", "id"),
        Index("ix_audit_entries_target_id_at_id", "target_id", "at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    at: Mapped[datetime]
    """By the database's clock."""
    actor_kind: Mapped[str] = mapped_column(binary_text(10))
    """user, token, console, or outside: nobody who is known."""
    actor_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    """The user; of a token that is nobody's, none."""
    actor_name: Mapped[str] = mapped_column(binary_text(100), default="")
    token_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    address: Mapped[str] = mapped_column(binary_text(64), default="")
    request_id: Mapped[str] = mapped_column(binary_text(64), default="")
    action: Mapped[str] = mapped_column(binary_text(63))
    noun: Mapped[str] = mapped_column(binary_text(63), default="")
    target_id: Mapped[str] = mapped_column(binary_text(64), default="")
    target_name: Mapped[str] = mapped_column(binary_text(700), default="")
    server_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    before: Mapped[str | None] = mapped_column(long_text(), default=None)
    """What was changed, as JSON by row and field; the text itself is what is authenticated."""
    after: Mapped[str | None] = mapped_column(long_text(), default=None)
    outcome: Mapped[str] = mapped_column(binary_text(10), default="done")
    """done, refused, or asked: another person had to agree first."""
    code: Mapped[str] = mapped_column(binary_text(63), default="")
    """Why it was refused."""
    key_id: Mapped[str] = mapped_column(binary_text(16))
    mac: Mapped[str] = mapped_column(binary_text(_CODE))
    """HMAC-SHA256 of all above, by a key made of the master key: who writes the database alone cannot make one."""
    seal: Mapped[int | None] = mapped_column(default=None)
    """The seal that it is under; None for about a second."""


class AuditSeal(Base):
    """The rows of about a second, sealed together; each seal holds the one before."""

    __tablename__ = "audit_seals"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """1, 2, 3: a number that is missing was taken away."""
    count: Mapped[int]
    root: Mapped[str] = mapped_column(binary_text(_CODE))
    """SHA-256 of its rows' codes, in their order."""
    prev: Mapped[str] = mapped_column(binary_text(_CODE), default="")
    """The code of the seal before."""
    at: Mapped[datetime]
    key_id: Mapped[str] = mapped_column(binary_text(16))
    mac: Mapped[str] = mapped_column(binary_text(_CODE))
    pruned_at: Mapped[datetime | None] = mapped_column(default=None)
    """When its rows went because of their age; the seal stays."""
    pruned_key_id: Mapped[str] = mapped_column(binary_text(16), default="", server_default="")
    pruned_mac: Mapped[str] = mapped_column(binary_text(_CODE), default="", server_default="")
    """HMAC of that it was pruned and when: who writes the database alone cannot pass off a deletion as one by age."""


class AuditCheck(Base):
    """How far the log was verified by itself, and what was found: one row."""

    __tablename__ = "audit_checks"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    after: Mapped[int] = mapped_column(default=0)
    """The last seal that the round under way has verified."""
    ended_at: Mapped[datetime | None] = mapped_column(default=None)
    """When a round last came to its end, be it whole or broken."""
    seals: Mapped[int] = mapped_column(default=0)
    """How many there were then."""
    broken_what: Mapped[str] = mapped_column(binary_text(30), default="")
    """What the last round found; empty: all is as it was written."""
    broken_seal: Mapped[int | None] = mapped_column(default=None)
    broken_entry: Mapped[uuid.UUID | None] = mapped_column(default=None)
