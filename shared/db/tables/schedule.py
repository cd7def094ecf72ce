"""When backup jobs and repositories' maintenance run, what was missed, and who paused what; owned by the scheduler."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, Versioned, binary_text, db_now, long_text
from shared.domain.ids import new_id
from shared.domain.job import JobType


class Schedule(Base):
    """One schedule of a backup job, or of a repository's maintenance; at each tick only what comes due is asked for."""

    __tablename__ = "schedules"
    __table_args__ = (Index("ix_schedules_next_run_at", "next_run_at"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    backup_job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("backup_jobs.id", ondelete="CASCADE"))
    repository_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), default=None
    )
    """Whose maintenance this is, where it is not a backup."""
    task: Mapped[str] = mapped_column(binary_text(30), default=JobType.BACKUP_CREATE.value)
    """The type of the jobs it makes."""
    params: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    """What such a job is asked for, as how deep to check."""
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    jitter_seconds: Mapped[int] = mapped_column(default=0)
    catch_up: Mapped[bool] = mapped_column(default=True)
    """After downtime, run once; else it is missed."""
    overlap: Mapped[str] = mapped_column(binary_text(8), default="skip")
    """skip or queue: what becomes of a run that is due while another is under way."""
    window: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    """The hours in which a run may begin; one that is due outside waits for them."""
    blackout: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    """The hours in which none may begin; one that is due within waits for their end."""
    stop_at_end: Mapped[bool] = mapped_column(default=False)
    """A run that lasts past the window's end, or into the blackout, is stopped."""
    period_seconds: Mapped[int]
    """The longest time between two of its runs."""
    due_at: Mapped[datetime]
    """Which run is next."""
    next_run_at: Mapped[datetime]
    """When it is to begin: `due_at`, or when the window opens."""
    created_at: Mapped[datetime] = mapped_column(default=db_now())


class MissedRun(Base):
    """A run that was due and was not made."""

    __tablename__ = "missed_runs"
    __table_args__ = (
        UniqueConstraint("schedule_id", "due_at"),
        Index("ix_missed_runs_backup_job_id_due_at", "backup_job_id", "due_at"),
        Index("ix_missed_runs_due_at_id", "due_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    schedule_id: Mapped[uuid.UUID]
    backup_job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("backup_jobs.id", ondelete="CASCADE"))
    repository_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), default=None
    )
    task: Mapped[str] = mapped_column(binary_text(30), default=JobType.BACKUP_CREATE.value)
    due_at: Mapped[datetime]
    code: Mapped[str] = mapped_column(binary_text(30))
    """downtime, overlap, window or unreachable."""
    reason: Mapped[str] = mapped_column(long_text())
    message: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """What is told, as entry and parameters; older rows have their sentence alone."""
    at: Mapped[datetime] = mapped_column(default=db_now())


class Pause(Versioned, Base):
    """Nothing scheduled runs: on one server, or, where its name is empty, anywhere; it goes with its server."""

    __tablename__ = "pauses"
    DEFINITION = frozenset({"reason", "server", "until"})

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    server: Mapped[str] = mapped_column(binary_text(63), default="", unique=True)
    server_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"), default=None)
    until: Mapped[datetime | None] = mapped_column(default=None)
    reason: Mapped[str] = mapped_column(long_text(), default="")
    who: Mapped[str] = mapped_column(binary_text(63), default="")
    created_at: Mapped[datetime] = mapped_column(default=db_now())
