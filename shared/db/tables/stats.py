"""How servers fare: the latest look, raw samples, mounts, and what they are rolled up to; owned by stats."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ColumnElement, ForeignKey, Index, case, func
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column

from shared.db.tables.base import Base, binary_text, db_now, long_text


class ServerStatus(Base):
    """What is known of a server now: whether it answers, why not, and its latest sample."""

    __tablename__ = "server_status"

    server_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True)
    up: Mapped[bool]
    code: Mapped[str] = mapped_column(binary_text(60), default="")
    reason: Mapped[str] = mapped_column(long_text(), default="")
    message: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """What is told, as entry and parameters; older rows have their sentence alone."""
    changed_at: Mapped[datetime] = mapped_column(default=db_now())
    """Since when it is up, or down."""
    checked_at: Mapped[datetime] = mapped_column(default=db_now())
    failures: Mapped[int] = mapped_column(default=0)
    retry_at: Mapped[datetime | None] = mapped_column(default=None)
    """A sweep leaves a dead server alone until then."""
    sample: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)


class ServerStats(Base):
    """One raw sample; `bucket` is its five minutes in seconds since 1970, for the roll-up."""

    __tablename__ = "server_stats"
    __table_args__ = (Index("ix_server_stats_collected_at", "collected_at"), Index("ix_server_stats_bucket", "bucket"))

    server_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True)
    collected_at: Mapped[datetime] = mapped_column(primary_key=True)
    bucket: Mapped[int] = mapped_column(BigInteger)
    os_distribution: Mapped[str | None] = mapped_column(binary_text(200))
    os_version: Mapped[str | None] = mapped_column(binary_text(200))
    kernel_version: Mapped[str | None] = mapped_column(binary_text(200))
    hostname: Mapped[str | None] = mapped_column(binary_text(200))
    architecture: Mapped[str | None] = mapped_column(binary_text(200))
    cpu_cores: Mapped[int | None]
    cpu_model: Mapped[str | None] = mapped_column(binary_text(200))
    cpu_load_1: Mapped[float | None]
    cpu_load_5: Mapped[float | None]
    cpu_load_15: Mapped[float | None]
    cpu_usage_percent: Mapped[float | None]
    memory_total_mb: Mapped[int | None] = mapped_column(BigInteger)
    memory_used_mb: Mapped[int | None] = mapped_column(BigInteger)
    memory_free_mb: Mapped[int | None] = mapped_column(BigInteger)
    memory_available_mb: Mapped[int | None] = mapped_column(BigInteger)
    memory_percent: Mapped[float | None]
    swap_total_mb: Mapped[int | None] = mapped_column(BigInteger)
    swap_used_mb: Mapped[int | None] = mapped_column(BigInteger)
    swap_percent: Mapped[float | None]
    disk_total_gb: Mapped[float | None]
    disk_used_gb: Mapped[float | None]
    disk_free_gb: Mapped[float | None]
    disk_percent: Mapped[float | None]
    disk_mount_point: Mapped[str | None] = mapped_column(binary_text(200))
    uptime_seconds: Mapped[int | None] = mapped_column(BigInteger)
    uptime_human: Mapped[str | None] = mapped_column(binary_text(50))
    boot_time: Mapped[datetime | None]
    ip_address: Mapped[str | None] = mapped_column(binary_text(200))
    load_per_core: Mapped[float | None]
    inodes_percent: Mapped[float | None]
    network_received_bytes: Mapped[int | None] = mapped_column(BigInteger)
    network_sent_bytes: Mapped[int | None] = mapped_column(BigInteger)
    network_received_rate: Mapped[float | None]
    """Bytes a second since the sample before; so for the next three."""
    network_sent_rate: Mapped[float | None]
    disk_read_bytes: Mapped[int | None] = mapped_column(BigInteger)
    disk_written_bytes: Mapped[int | None] = mapped_column(BigInteger)
    disk_read_rate: Mapped[float | None]
    disk_written_rate: Mapped[float | None]
    pressure_cpu: Mapped[float | None]
    pressure_memory: Mapped[float | None]
    pressure_io: Mapped[float | None]
    temperature_celsius: Mapped[float | None]
    reboot_pending: Mapped[bool | None]
    failed_units: Mapped[int | None]
    clock_offset_seconds: Mapped[float | None]


class ServerMount(Base):
    """One mounted local file system, other than `/`, in one sample."""

    __tablename__ = "server_mounts"
    __table_args__ = (Index("ix_server_mounts_collected_at", "collected_at"),)

    server_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True)
    collected_at: Mapped[datetime] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    mount_point: Mapped[str] = mapped_column(binary_text(1024))
    device: Mapped[str] = mapped_column(binary_text(200))
    fs_type: Mapped[str | None] = mapped_column(binary_text(200))
    total_bytes: Mapped[int] = mapped_column(BigInteger)
    used_bytes: Mapped[int] = mapped_column(BigInteger)
    free_bytes: Mapped[int] = mapped_column(BigInteger)
    percent: Mapped[float | None]
    inodes_total: Mapped[int | None] = mapped_column(BigInteger)
    inodes_used: Mapped[int | None] = mapped_column(BigInteger)
    inodes_percent: Mapped[float | None]


class ServerRollup(Base):
    """Samples of one step (300, 3600 or 86,400 s) in one row: least, mean and greatest of each figure."""

    __tablename__ = "server_rollups"
    __table_args__ = (Index("ix_server_rollups_step_bucket", "step", "bucket"),)

    server_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    bucket: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Its start in seconds since 1970."""
    samples: Mapped[int]
    cpu_min: Mapped[float | None]
    cpu_mean: Mapped[float | None]
    cpu_max: Mapped[float | None]
    memory_min: Mapped[float | None]
    memory_mean: Mapped[float | None]
    memory_max: Mapped[float | None]
    swap_min: Mapped[float | None]
    swap_mean: Mapped[float | None]
    swap_max: Mapped[float | None]
    disk_min: Mapped[float | None]
    disk_mean: Mapped[float | None]
    disk_max: Mapped[float | None]
    load_min: Mapped[float | None]
    load_mean: Mapped[float | None]
    load_max: Mapped[float | None]
    received_min: Mapped[float | None]
    received_mean: Mapped[float | None]
    received_max: Mapped[float | None]
    sent_min: Mapped[float | None]
    sent_mean: Mapped[float | None]
    sent_max: Mapped[float | None]


def weighted(mean: InstrumentedAttribute[float | None]) -> ColumnElement[Any]:
    """Return the mean of rolled up means, each counted by its samples; one that is unknown does not count."""
    known = func.sum(case((mean.is_not(None), ServerRollup.samples)))
    return func.sum(mean * ServerRollup.samples) / known
