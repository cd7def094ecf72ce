"""Backup jobs: what is backed up, where to, and how."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, Versioned, binary_text, db_now, long_text
from shared.domain.ids import new_id


class BackupJob(Versioned, Base):
    """The standing definition of a backup."""

    __tablename__ = "backup_jobs"
    DEFINITION = frozenset({
        "compression", "enabled", "exclude_caches", "excludes", "hook_seconds", "max_failures", "name",
        "one_file_system", "patterns", "post_hook", "pre_hook", "priority", "repository_id", "retention",
        "retry_seconds", "rpo_seconds", "server_id", "sources", "time_limit_seconds", "transport", "upload_limit_kib",
    })  # fmt: skip

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(binary_text(63), unique=True)
    server_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("servers.id"))
    repository_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("repositories.id"))
    enabled: Mapped[bool] = mapped_column(default=True)
    sources: Mapped[list[str]] = mapped_column(JSON)
    excludes: Mapped[list[str]] = mapped_column(JSON, default=list)
    patterns: Mapped[list[str]] = mapped_column(JSON, default=list)
    compression: Mapped[str] = mapped_column(binary_text(30), default="zstd,3")
    one_file_system: Mapped[bool] = mapped_column(default=False)
    exclude_caches: Mapped[bool] = mapped_column(default=True)
    upload_limit_kib: Mapped[int | None] = mapped_column(default=None)
    transport: Mapped[str] = mapped_column(binary_text(10), default="tunnel")
    pre_hook: Mapped[str | None] = mapped_column(long_text(), default=None)
    post_hook: Mapped[str | None] = mapped_column(long_text(), default=None)
    hook_seconds: Mapped[int] = mapped_column(default=300)
    time_limit_seconds: Mapped[int | None] = mapped_column(default=None)
    retention: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    """What prunes keep of its archives; None: as its repository says."""
    priority: Mapped[int] = mapped_column(default=0)
    """Where runs wait for a free slot, the higher goes first."""
    max_failures: Mapped[int | None] = mapped_column(default=None)
    """After so many failures a run has failed for good; None: as the settings say."""
    retry_seconds: Mapped[int | None] = mapped_column(default=None)
    """How long to wait after the first failure, doubled after each further one; None: 5."""
    rpo_seconds: Mapped[int | None] = mapped_column(default=None)
    """How old its last good backup may be before somebody hears of it."""
    created_at: Mapped[datetime] = mapped_column(default=db_now())
