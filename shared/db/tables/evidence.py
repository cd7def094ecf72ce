"""What is known of a backup run while it lasts; owned by the backup service."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, db_now


class RunEvidenceRow(Base):
    """What the attempts of one run found out; a later attempt that finds the archive judges by it."""

    __tablename__ = "run_evidence"
    __table_args__ = (Index("ix_run_evidence_backup_job_id_hook_owed", "backup_job_id", "hook_owed"),)

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    run: Mapped[int] = mapped_column(default=0)
    backup_job_id: Mapped[uuid.UUID]
    hook_owed: Mapped[bool] = mapped_column(default=False)
    """The pre-hook may have run, and the post-hook has not: the next attempt or run pays first of all."""
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """`services.backup.truth.evidence.RunEvidence`."""
    updated_at: Mapped[datetime] = mapped_column(default=db_now(), onupdate=db_now())


class PastMeasure(Base):
    """What a trusted archive held that is on record no more: runs are held against it as long as against the others."""

    __tablename__ = "past_measures"
    __table_args__ = (Index("ix_past_measures_backup_job_id_created_at", "backup_job_id", "created_at"),)

    archive_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    backup_job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("backup_jobs.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None] = mapped_column(default=None)
    files: Mapped[int] = mapped_column(BigInteger)
    original_size: Mapped[int] = mapped_column(BigInteger)
    evidence: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """`services.backup.truth.evidence.ArchiveEvidence`."""
