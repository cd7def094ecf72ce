"""Jobs and their logs: one row per unit of queued work, the truth about it."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, UtcDateTime, binary_text, db_now, long_text
from shared.domain.ids import new_id
from shared.domain.job import JobState


class Job(Base):
    """One unit of queued work. Ids without foreign keys: history outlives what it speaks of."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_created_at_id", "created_at", "id"),
        Index("ix_jobs_state_lease_until", "state", "lease_until"),
        Index("ix_jobs_state_created_at", "state", "created_at"),
        Index("ix_jobs_state_sent_at", "state", "sent_at"),
        Index("ix_jobs_server_id_created_at", "server_id", "created_at"),
        Index("ix_jobs_backup_job_id_created_at", "backup_job_id", "created_at"),
        Index("ix_jobs_archive_id", "archive_id"),
        # Without them a list of a rare kind walks all jobs there ever were: a million took 20 s.
        Index("ix_jobs_type_created_at_id", "type", "created_at", "id"),
        Index("ix_jobs_repository_id_created_at", "repository_id", "created_at"),
        # What ran or waited in a night: those that were asked for before it, and ended in it or after it.
        Index("ix_jobs_finished_at_created_at_id", "finished_at", "created_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    type: Mapped[str] = mapped_column(binary_text(30))
    title: Mapped[str] = mapped_column(binary_text(200), default="")
    state: Mapped[str] = mapped_column(binary_text(12), default=JobState.QUEUED.value)
    node: Mapped[str | None] = mapped_column(binary_text(63), default=None)
    server_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    repository_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    backup_job_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    archive_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    request_key: Mapped[str | None] = mapped_column(binary_text(200), unique=True, default=None)
    """Where the request came from, so that a repeated one makes no second job."""
    correlation_id: Mapped[uuid.UUID] = mapped_column(default=new_id)
    priority: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=0)
    run: Mapped[int] = mapped_column(default=0)
    """How often it was begun anew after its end: what an ended run left behind is not the next one's."""
    failures: Mapped[int] = mapped_column(default=0)
    lease: Mapped[str | None] = mapped_column(binary_text(64), default=None)
    lease_until: Mapped[datetime | None] = mapped_column(default=None)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    waiting_for: Mapped[str | None] = mapped_column(binary_text(200), default=None)
    not_before: Mapped[datetime | None] = mapped_column(default=None)
    code: Mapped[str | None] = mapped_column(binary_text(60), default=None)
    reason: Mapped[str | None] = mapped_column(long_text(), default=None)
    remedy: Mapped[str | None] = mapped_column(long_text(), default=None)
    message: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """Why it ended, as entry and parameters: of it the sentence is made. Beside it, for older versions, the text."""
    params: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """What the request asked for beyond the ids above."""
    warnings: Mapped[list[str]] = mapped_column(JSON, default=list)
    warning_messages: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """Each of them as entry and parameters; null where it is a sentence alone."""
    result: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    log_seq: Mapped[int] = mapped_column(default=0, server_default="0")
    """The number of the last line of its log."""
    created_at: Mapped[datetime] = mapped_column(default=db_now())
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime().evaluates_none(), default=db_now())
    """When its message was last put into the outbox; a None that is set means that it waits for a free slot."""
    started_at: Mapped[datetime | None] = mapped_column(default=None)
    finished_at: Mapped[datetime | None] = mapped_column(default=None)


class JobLog(Base):
    """One line of a job's log; bounded per job by the writer."""

    __tablename__ = "job_log"

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    level: Mapped[str] = mapped_column(binary_text(10))
    source: Mapped[str] = mapped_column(binary_text(20))
    code: Mapped[str] = mapped_column(binary_text(60), default="")
    message: Mapped[str] = mapped_column(long_text())
