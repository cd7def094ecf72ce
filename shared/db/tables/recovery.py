"""What is known of recovery kits; written by whoever makes one."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, binary_text, db_now

_DIGEST = 64


class KitEntry(Base):
    """A repository as the newest kit has it that holds it. Without a foreign key: a kit outlives what it is for."""

    __tablename__ = "kit_entries"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    """Of the repository: one of a server, or the one that Borgfleet backs itself up into."""
    fingerprint: Mapped[str] = mapped_column(binary_text(_DIGEST))
    """Of its passphrase and key as they lay in the database, sealed; see `shared/kit/cover.py`."""
    exported_at: Mapped[datetime] = mapped_column(default=db_now())
