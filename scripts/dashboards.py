"""The Grafana dashboards as data; `python scripts/generate.py` writes them as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24


@dataclass(frozen=True)
class Panel:
    """One panel: its title, its queries with their legends, and how it looks."""

    title: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    most: float | None = None


def _by(label: str, metric: str) -> str:
    return f"max by ({label}) ({metric})"


def _of_server(metric: str) -> str:
    return f'max by (server) ({metric}{{server="$server"}})'


FLEET = (
    Panel("Servers up", (("sum(max by (server) (borgfleet_server_up))", ""),), "stat", width=4, height=4),
    Panel("Servers down", (("count(max by (server) (borgfleet_server_up) == 0) or vector(0)", ""),), "stat", width=4, height=4),
    Panel("Oldest good backup", ((f"time() - min({_by('backup_job', 'borgfleet_backup_last_success_timestamp_seconds')})", ""),), "stat", "s", 4, 4),
    Panel("Backup jobs that fail", (("count(max by (backup_job) (borgfleet_backup_failures_in_a_row) > 0) or vector(0)", ""),), "stat", width=4, height=4),
    Panel("Fullest pool", (("max(1 - max by (pool) (borgfleet_pool_free_bytes) / max by (pool) (borgfleet_pool_size_bytes))", ""),), "stat", "percentunit", 4, 4),
    Panel("Alerts that fire", (('count(ALERTS{alertstate="firing", alertname=~"Borgfleet.+"}) or vector(0)', ""),), "stat", width=4, height=4),
    Panel("Busiest servers: CPU", ((f"topk(10, {_by('server', 'borgfleet_server_cpu_usage_ratio')})", "{{server}}"),), unit="percentunit", most=1),
    Panel("Memory", ((f"topk(10, {_by('server', 'borgfleet_server_memory_usage_ratio')})", "{{server}}"),), unit="percentunit", most=1),
    Panel("Fullest file systems", ((f"topk(10, {_by('server, mountpoint', 'borgfleet_server_disk_usage_ratio')})", "{{server}} {{mountpoint}}"),), unit="percentunit", most=1),
)  # fmt: skip

SERVER = (
    Panel("CPU", ((_of_server("borgfleet_server_cpu_usage_ratio"), "busy"), ('max(borgfleet_threshold{kind="cpu", level="warning", server=""}) / 100', "warning")), unit="percentunit", most=1),
    Panel("Memory and swap", ((_of_server("borgfleet_server_memory_usage_ratio"), "memory"), (_of_server("borgfleet_server_swap_usage_ratio"), "swap")), unit="percentunit", most=1),
    Panel("Load per core", ((_of_server("borgfleet_server_load1_per_core"), "load"),)),
    Panel("File systems", (('max by (mountpoint) (borgfleet_server_disk_usage_ratio{server="$server"})', "{{mountpoint}}"),), unit="percentunit", most=1),
    Panel("Inodes", (('max by (mountpoint) (borgfleet_server_inodes_usage_ratio{server="$server"})', "{{mountpoint}}"),), unit="percentunit", most=1),
    Panel("Up since", ((f"time() - {_of_server('borgfleet_server_boot_timestamp_seconds')}", "uptime"),), "stat", "s"),
    Panel("Clock against ours", ((_of_server("borgfleet_server_clock_offset_seconds"), "offset"),), unit="s"),
    Panel("Last seen", ((f"time() - {_of_server('borgfleet_server_last_seen_timestamp_seconds')}", "ago"),), "stat", "s"),
)  # fmt: skip

BACKUPS = (
    Panel("Age of the last good backup", ((f"time() - {_by('backup_job', 'borgfleet_backup_last_success_timestamp_seconds')}", "{{backup_job}}"), (_by("backup_job", "borgfleet_backup_rpo_seconds"), "target of {{backup_job}}")), unit="s", width=12),
    Panel("Last run: 0 good, 1 warning, 2 failed, 3 cancelled", ((_by("backup_job", "borgfleet_backup_last_status"), "{{backup_job}}"),), "table", width=12),
    Panel("Duration", ((_by("backup_job", "borgfleet_backup_duration_seconds"), "{{backup_job}}"),), unit="s"),
    Panel("Read", ((_by("backup_job", "borgfleet_backup_original_size_bytes"), "{{backup_job}}"),), unit="bytes"),
    Panel("New after deduplication", ((_by("backup_job", "borgfleet_backup_deduplicated_size_bytes"), "{{backup_job}}"),), unit="bytes"),
    Panel("Repositories on disk", ((_by("server, repository", "borgfleet_repository_deduplicated_size_bytes"), "{{server}} {{repository}}"),), unit="bytes"),
    Panel("Archives", ((_by("server, repository", "borgfleet_repository_archives"), "{{server}} {{repository}}"),)),
    Panel("Free in the pools", ((_by("pool", "borgfleet_pool_free_bytes"), "{{pool}}"),), unit="bytes"),
)  # fmt: skip

SERVICES = (
    Panel("Replicas", (('sum by (job) (up{job=~"borgfleet-.+"})', "{{job}}"),)),
    Panel("Jobs under way", ((_by("type, state", "borgfleet_jobs"), "{{type}} {{state}}"),)),
    Panel("Events not yet published", (("max(borgfleet_outbox_unsent)", "outbox"),)),
    Panel("Deliveries a second", (("sum by (subject, disposition) (rate(borgfleet_deliveries_total[5m]))", "{{subject}} {{disposition}}"),)),
    Panel("Handling, 95th percentile", (("histogram_quantile(0.95, sum by (subject, le) (rate(borgfleet_handling_seconds_bucket[15m])))", "{{subject}}"),), unit="s"),
    Panel("Requests a second", (("sum by (status) (rate(borgfleet_http_requests_total[5m]))", "{{status}}"),)),
    Panel("Answering, 99th percentile", (("histogram_quantile(0.99, sum by (le) (rate(borgfleet_http_request_seconds_bucket[5m])))", "p99"),), unit="s"),
    Panel("Memory of the processes", (('max by (job, instance) (process_resident_memory_bytes{job=~"borgfleet-.+"})', "{{job}} {{instance}}"),), unit="bytes"),
    Panel("Versions", (("count by (version) (borgfleet_build_info)", "{{version}}"),), "stat"),
)  # fmt: skip

DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "fleet": ("Borgfleet: the fleet", FLEET),
    "server": ("Borgfleet: one server", SERVER),
    "backups": ("Borgfleet: backups and targets", BACKUPS),
    "services": ("Borgfleet: services and queues", SERVICES),
}


def dashboard(name: str) -> dict[str, Any]:
    """Return one dashboard in Grafana's classic JSON model."""
    title, panels = DASHBOARDS[name]
    variables: list[dict[str, Any]] = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    ]
    if name == "server":
        query = "label_values(borgfleet_server_up, server)"
        variables.append(
            {"name": "server", "type": "query", "datasource": _SOURCE, "query": query, "refresh": 2, "label": "Server"}
        )
    return {
        "uid": f"borgfleet-{name}",
        "title": title,
        "tags": ["borgfleet"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": variables},
        "panels": _placed(panels),
    }


def _placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    placed: list[dict[str, Any]] = []
    x = y = row = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > _WIDTH:
            x, y, row = 0, y + row, 0
        placed.append(_panel(number, panel, x, y))
        x, row = x + panel.width, max(row, panel.height)
    return placed


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.most is not None:
        defaults |= {"min": 0, "max": panel.most}
    targets = [
        {"refId": chr(ord("A") + n), "datasource": _SOURCE, "expr": query, "legendFormat": legend,
         "instant": panel.kind != "timeseries"}
        for n, (query, legend) in enumerate(panel.queries)
    ]  # fmt: skip
    return {
        "id": number,
        "title": panel.title,
        "type": panel.kind,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": targets,
    }
