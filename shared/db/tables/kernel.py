"""The kernel's tables: outbox, leases, limits, secrets, the processes that are there, dead letters."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, Versioned, binary_text, db_now, long_text
from shared.domain.ids import new_id


class OutboxRow(Base):
    """An event that was decided and is to be published; the id is its Nats-Msg-Id."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_sent_at_created_at", "sent_at", "created_at"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(binary_text(200))
    event_type: Mapped[str] = mapped_column(binary_text(80))
    payload: Mapped[str] = mapped_column(long_text())
    created_at: Mapped[datetime] = mapped_column(default=db_now())
    sent_at: Mapped[datetime | None] = mapped_column(default=None)


class Lease(Base):
    """Exclusive use of something by one holder until a time of the database's clock; the epoch is the fence."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(binary_text(100), primary_key=True)
    holder: Mapped[str] = mapped_column(binary_text(64), default="")
    epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    until: Mapped[datetime] = mapped_column(default=db_now())


class RunLimits(Versioned, Base):
    """How many runs may be under way at once: one row, locked by whoever lets runs begin."""

    __tablename__ = "run_limits"
    DEFINITION = frozenset({"fleet", "per_pool", "per_server"})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    fleet: Mapped[int | None] = mapped_column(default=50)
    per_server: Mapped[int | None] = mapped_column(default=2)
    per_pool: Mapped[int | None] = mapped_column(default=20)


class Secret(Base):
    """A sealed value; the name is bound into the seal."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(binary_text(100), primary_key=True)
    key_id: Mapped[str] = mapped_column(binary_text(16))
    wrapped_key: Mapped[bytes] = mapped_column(LargeBinary)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=db_now())


class CommitMark(Base):
    """What the latest transaction of one of a process's slots left: if it is there, that transaction was committed."""

    __tablename__ = "commit_marks"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    """The slot's."""
    mark: Mapped[uuid.UUID]
    at: Mapped[datetime] = mapped_column(default=db_now())


class ServiceInstance(Base):
    """One service in one process, as it says of itself every few seconds."""

    __tablename__ = "service_instances"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    service: Mapped[str] = mapped_column(binary_text(40))
    node: Mapped[str] = mapped_column(binary_text(63), default="")
    """The backup node whose work it takes; empty where work is not bound to a node."""
    version: Mapped[str] = mapped_column(binary_text(40))
    started_at: Mapped[datetime] = mapped_column(default=db_now())
    seen_at: Mapped[datetime] = mapped_column(default=db_now())


class DeadLetter(Base):
    """A message that was given up; what it held lies in the stream DEAD."""

    __tablename__ = "dead_letters"
    __table_args__ = (Index("ix_dead_letters_at_id", "at", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    message_key: Mapped[str] = mapped_column(binary_text(200), unique=True)
    """The message's own: given up twice, it is here once."""
    subject: Mapped[str] = mapped_column(binary_text(200))
    code: Mapped[str] = mapped_column(binary_text(60))
    reason: Mapped[str] = mapped_column(long_text())
    remedy: Mapped[str] = mapped_column(long_text(), default="")
    message: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """What is told, as entry and parameters; older rows have their sentence alone."""
    deliveries: Mapped[int]
    at: Mapped[datetime] = mapped_column(default=db_now())
