"""What is remembered of requests that changed something; owned by the gateway."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, LargeBinary
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import MARIA, Base, binary_text, db_now


class IdempotencyKey(Base):
    """One request that changed something, with its answer: whoever repeats it gets that answer, and no second change.

    The row commits with the change itself, so either both are there or none.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    id: Mapped[str] = mapped_column(binary_text(64), primary_key=True)
    """SHA-256 of who asked and of the key that was given."""
    fingerprint: Mapped[str] = mapped_column(binary_text(64))
    """SHA-256 of what was asked: a key that comes again with something else is refused."""
    status: Mapped[int | None] = mapped_column(default=None)
    """Of the answer; it is set before the commit."""
    key_id: Mapped[str] = mapped_column(binary_text(16), default="")
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary, default=None)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary().with_variant(mysql.MEDIUMBLOB(), *MARIA), default=None)
    """The body of the answer: it may hold a secret that is shown once."""
    etag: Mapped[str] = mapped_column(binary_text(100), default="")
    location: Mapped[str] = mapped_column(binary_text(500), default="")
    created_at: Mapped[datetime] = mapped_column(default=db_now())
