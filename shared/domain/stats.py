"""What one look at a server tells. What is unknown is None; zero is zero."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted local file system; bytes, and inodes where the file system counts them."""

    mount_point: str
    device: str
    fs_type: str | None
    total_bytes: int
    used_bytes: int
    free_bytes: int
    percent: float | None
    inodes_total: int | None = None
    inodes_used: int | None = None
    inodes_percent: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A server at one moment of our clock; MiB and GiB, percent of 100, counters since boot in bytes."""

    collected_at: datetime
    os_distribution: str | None = None
    os_version: str | None = None
    kernel_version: str | None = None
    hostname: str | None = None
    architecture: str | None = None
    cpu_cores: int | None = None
    cpu_model: str | None = None
    cpu_load_1: float | None = None
    cpu_load_5: float | None = None
    cpu_load_15: float | None = None
    cpu_usage_percent: float | None = None
    memory_total_mb: int | None = None
    memory_used_mb: int | None = None
    memory_free_mb: int | None = None
    memory_available_mb: int | None = None
    memory_percent: float | None = None
    swap_total_mb: int | None = None
    swap_used_mb: int | None = None
    swap_percent: float | None = None
    disk_total_gb: float | None = None
    disk_used_gb: float | None = None
    disk_free_gb: float | None = None
    disk_percent: float | None = None
    disk_mount_point: str | None = None
    uptime_seconds: int | None = None
    uptime_human: str | None = None
    boot_time: datetime | None = None
    ip_address: str | None = None
    load_per_core: float | None = None
    inodes_percent: float | None = None
    network_received_bytes: int | None = None
    network_sent_bytes: int | None = None
    disk_read_bytes: int | None = None
    disk_written_bytes: int | None = None
    pressure_cpu: float | None = None
    """Percent of the last minute in which some task waited for it; so for the next two."""
    pressure_memory: float | None = None
    pressure_io: float | None = None
    temperature_celsius: float | None = None
    reboot_pending: bool | None = None
    failed_units: int | None = None
    clock_offset_seconds: float | None = None
    """The server's clock minus ours."""
    mounts: tuple[Mount, ...] = field(default=())


def percent(part: float, whole: float) -> float | None:
    """Return a share of 100, within its bounds; None of nothing."""
    return None if whole <= 0 else round(min(100.0, max(0.0, 100.0 * part / whole)), 2)


def human_duration(seconds: int) -> str:
    """Return a duration as people say it: `3 days 4 h`, `5 h 12 min`, `7 min`."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if days:
        return f"{days} day{'s' if days > 1 else ''} {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
