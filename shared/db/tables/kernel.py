"""The kernel's tables: outbox, leases, secrets, API tokens."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, binary_text, db_now, long_text
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


class Secret(Base):
    """A sealed value; the name is bound into the seal."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(binary_text(100), primary_key=True)
    key_id: Mapped[str] = mapped_column(binary_text(16))
    wrapped_key: Mapped[bytes] = mapped_column(LargeBinary)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=db_now())


class ApiToken(Base):
    """A bearer token of the API: only its SHA-256 is kept."""

    __tablename__ = "api_tokens"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(binary_text(63), unique=True)
    digest: Mapped[str] = mapped_column(binary_text(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=db_now())
