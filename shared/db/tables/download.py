"""Links to downloads out of backups; owned by the gateway."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, binary_text, db_now
from shared.domain.ids import new_id


class DownloadTicket(Base):
    """What somebody may download once, for a minute; of the link's secret only the SHA-256 is kept."""

    __tablename__ = "download_tickets"
    __table_args__ = (
        Index("ix_download_tickets_expires_at", "expires_at"),
        Index("ix_download_tickets_archive_id", "archive_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    digest: Mapped[str] = mapped_column(binary_text(64), unique=True)
    principal: Mapped[str] = mapped_column(binary_text(60))
    """Whose it is, as `user:<id>` or `token:<id>`: his rights are looked at again when it is used."""
    archive_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("archives.id", ondelete="CASCADE"))
    format: Mapped[str] = mapped_column(binary_text(10))
    name: Mapped[str] = mapped_column(binary_text(255))
    """Of the file that is downloaded."""
    items: Mapped[list[Any]] = mapped_column(JSON)
    """Paths in base64; none: all of the archive."""
    size: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """Of what was chosen; None where it was not known."""
    created_at: Mapped[datetime] = mapped_column(default=db_now())
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None] = mapped_column(default=None)
    used_by: Mapped[str] = mapped_column(binary_text(32), default="")
    """Names the request that used it: one that is tried again after a lost COMMIT finds itself here."""
