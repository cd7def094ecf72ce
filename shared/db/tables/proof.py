"""What restore tests and restores have proven of backups; owned by the backup service."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, binary_text, db_now
from shared.domain.ids import new_id


class RestoreProof(Base):
    """One test of a backup job's backups; it outlives the archives, and the job, that it tells of."""

    __tablename__ = "restore_proofs"
    __table_args__ = (
        Index("ix_restore_proofs_repository_id_ended_at", "repository_id", "ended_at"),
        Index("ix_restore_proofs_server_id_ended_at", "server_id", "ended_at"),
        Index("ix_restore_proofs_backup_job_id_ended_at", "backup_job_id", "ended_at"),
        Index("ix_restore_proofs_ended_at_id", "ended_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    job_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    """The job that made it."""
    archive_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    """The newest archive of which something was read."""
    repository_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("repositories.id", ondelete="CASCADE"))
    server_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"))
    backup_job_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    """Whose archives they were; None: of no backup job."""
    kind: Mapped[str] = mapped_column(binary_text(20))
    """sample, named, all; or restore: a person restored, and what arrived was compared."""
    state: Mapped[str] = mapped_column(binary_text(20))
    """A `ProofState`."""
    archives: Mapped[int] = mapped_column(default=1)
    chosen: Mapped[int] = mapped_column(BigInteger, default=0)
    files: Mapped[int] = mapped_column(BigInteger, default=0)
    """Read to the end, and as they were recorded."""
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    hashed: Mapped[int] = mapped_column(BigInteger, default=0)
    """Compared with the hash of an earlier test, or of what arrived."""
    source_compared: Mapped[int] = mapped_column(BigInteger, default=0)
    source_differing: Mapped[int] = mapped_column(BigInteger, default=0)
    damaged: Mapped[int] = mapped_column(BigInteger, default=0)
    missing: Mapped[int] = mapped_column(BigInteger, default=0)
    differing: Mapped[int] = mapped_column(BigInteger, default=0)
    unread: Mapped[int] = mapped_column(BigInteger, default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)
    """That reading took."""
    full_restore_seconds: Mapped[float | None] = mapped_column(default=None)
    """About how long a restore of all of the newest archive takes at this speed; None: too little was read."""
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime] = mapped_column(default=db_now())
