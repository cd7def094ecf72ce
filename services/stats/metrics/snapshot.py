"""The metrics that come from the database: one snapshot, refreshed in the background, served as it is.

Every replica serves the same figures, so rules collapse them with `max by`. Timestamps, never ages; base units;
thresholds and targets stand beside the values, so that a rule needs no number of its own.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from services.stats.metrics.queries import load_figures
from shared.events.backup import BackupCompleted, BackupFailed, BackupMissed
from shared.events.repository import RepositoryChecked, RepositoryFrozen, RepositoryPruned, RestoreTested
from shared.events.server import ServerRefused
from shared.runtime.tasks import Periodic, Supervised

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client import CollectorRegistry

    from services.stats.alerts.evaluate import Alerts
    from services.stats.metrics.queries import Triple
    from shared.bus.port import Bus
    from shared.db.session import Database
    from shared.events.base import Event

_EVERY_SECONDS = 30.0
_LEAST_SECONDS = 2.0
"""Between two refreshes, however much happens."""
NEWS: tuple[type[Event], ...] = (
    BackupCompleted,
    BackupFailed,
    BackupMissed,
    RepositoryChecked,
    RepositoryFrozen,
    RepositoryPruned,
    RestoreTested,
    ServerRefused,
)
"""What may begin or end an alert."""

_SERVER = ("server",)
_MOUNT = ("server", "mountpoint")
_JOB = ("server", "backup_job")
_REPOSITORY = ("server", "repository")
_PROOF = ("server", "repository", "backup_job")

FAMILIES: dict[str, tuple[str, Sequence[str]]] = {
    "borgfleet_figures_refreshed_timestamp_seconds": ("When these figures were read from the database.", ()),
    "borgfleet_server_up": ("1 if the server answered the latest probe.", _SERVER),
    "borgfleet_server_up_since_timestamp_seconds": ("Since when it is up, or down.", _SERVER),
    "borgfleet_server_last_seen_timestamp_seconds": ("When it last answered.", _SERVER),
    "borgfleet_server_boot_timestamp_seconds": ("When it was started.", _SERVER),
    "borgfleet_server_cpu_cores": ("Cores.", _SERVER),
    "borgfleet_server_cpu_usage_ratio": ("Busy share of all cores.", _SERVER),
    "borgfleet_server_load1": ("Load of one minute.", _SERVER),
    "borgfleet_server_load1_per_core": ("Load of one minute, per core.", _SERVER),
    "borgfleet_server_memory_size_bytes": ("Memory.", _SERVER),
    "borgfleet_server_memory_usage_ratio": ("Used share of memory.", _SERVER),
    "borgfleet_server_swap_usage_ratio": ("Used share of swap.", _SERVER),
    "borgfleet_server_disk_usage_ratio": ("Used share of a file system.", _MOUNT),
    "borgfleet_server_disk_size_bytes": ("Size of a file system.", _MOUNT),
    "borgfleet_server_disk_free_bytes": ("Free in a file system.", _MOUNT),
    "borgfleet_server_inodes_usage_ratio": ("Used share of a file system's inodes.", _MOUNT),
    "borgfleet_server_network_received_bytes_per_second": ("Received, between the last two probes.", _SERVER),
    "borgfleet_server_network_sent_bytes_per_second": ("Sent, between the last two probes.", _SERVER),
    "borgfleet_server_pressure_ratio": ("Share of the last minute in which work waited.", ("server", "resource")),
    "borgfleet_server_temperature_celsius": ("Hottest sensor.", _SERVER),
    "borgfleet_server_reboot_pending": ("1 if an update waits for a reboot.", _SERVER),
    "borgfleet_server_failed_units": ("Failed systemd units.", _SERVER),
    "borgfleet_server_clock_offset_seconds": ("The server's clock minus ours.", _SERVER),
    "borgfleet_threshold": (
        "Where an alert begins; `server` is empty for the fleet.",
        ("kind", "level", "server"),
    ),
    "borgfleet_backup_info": ("Always 1; the labels tell where it goes.", (*_JOB, "repository", "pool")),
    "borgfleet_backup_enabled": ("1 if the backup job is switched on.", _JOB),
    "borgfleet_backup_last_success_timestamp_seconds": ("When its last good backup was made.", _JOB),
    "borgfleet_backup_last_run_timestamp_seconds": ("When its last run ended.", _JOB),
    "borgfleet_backup_last_status": ("0 succeeded, 1 warning, 2 failed, 3 cancelled.", _JOB),
    "borgfleet_backup_failures_in_a_row": ("Failed runs since the last good one.", _JOB),
    "borgfleet_backup_missed_runs": ("Runs that were due and not made, since the last good one.", _JOB),
    "borgfleet_backup_doubtful_archives": ("Doubtful archives since the last good one; ten at most.", _JOB),
    "borgfleet_backup_post_hooks_owed": ("Ended runs after which no post-hook has succeeded.", _JOB),
    "borgfleet_backup_running_since_timestamp_seconds": ("When the run under way began.", _JOB),
    "borgfleet_backup_rpo_seconds": ("How old its last good backup may be.", _JOB),
    "borgfleet_backup_created_timestamp_seconds": ("When the backup job was defined.", _JOB),
    "borgfleet_backup_duration_seconds": ("How long its last good run took.", _JOB),
    "borgfleet_backup_typical_duration_seconds": ("Median of its last ten good runs.", _JOB),
    "borgfleet_backup_original_size_bytes": ("What its last good run read.", _JOB),
    "borgfleet_backup_typical_original_size_bytes": ("Median of its last ten good runs.", _JOB),
    "borgfleet_backup_deduplicated_size_bytes": ("What its last good run added.", _JOB),
    "borgfleet_backup_files": ("Files in its last good run.", _JOB),
    "borgfleet_repository_archives": ("Archives.", _REPOSITORY),
    "borgfleet_repository_original_size_bytes": ("All archives, unpacked.", _REPOSITORY),
    "borgfleet_repository_deduplicated_size_bytes": ("On disk.", _REPOSITORY),
    "borgfleet_repository_last_check_timestamp_seconds": ("When a check of its segments last ended.", _REPOSITORY),
    "borgfleet_repository_damaged": ("1 if its last check found damage.", _REPOSITORY),
    "borgfleet_repository_damaged_archives": ("Archives that cannot be read whole.", _REPOSITORY),
    "borgfleet_repository_database_older": (
        "1 if the database was restored, older than the repository, and nobody has said yet that all is set again.",
        _REPOSITORY,
    ),
    "borgfleet_repository_frozen": (
        "1 if it was changed without our doing: nothing is pruned until somebody result.",
        _REPOSITORY,
    ),
    "borgfleet_repository_last_prune_timestamp_seconds": ("When it was pruned last.", _REPOSITORY),
    "borgfleet_repository_last_compact_timestamp_seconds": ("When it was compacted last.", _REPOSITORY),
    "borgfleet_repository_quota_bytes": ("How large it may become.", _REPOSITORY),
    "borgfleet_restore_proof_timestamp_seconds": (
        "When backups were last proven to be restorable; `backup_job` is empty for the repository as a whole.",
        _PROOF,
    ),
    "borgfleet_restore_proof_period_seconds": ("How often its restore tests run by themselves.", _PROOF),
    "borgfleet_restore_proof_expected_timestamp_seconds": (
        "Since when its restore tests run by themselves, or there is something to test.",
        _PROOF,
    ),
    "borgfleet_pool_info": ("Always 1; the labels tell its node.", ("pool", "node")),
    "borgfleet_pool_size_bytes": ("Size of the pool's file system.", ("pool",)),
    "borgfleet_pool_free_bytes": ("Free in the pool's file system.", ("pool",)),
    "borgfleet_pool_measured_timestamp_seconds": ("When its node last saw the pool.", ("pool",)),
    "borgfleet_jobs": ("Jobs under way.", ("type", "state")),
    "borgfleet_jobs_oldest_queued_timestamp_seconds": ("When the longest waiting job was queued.", ("type",)),
    "borgfleet_service_seen_timestamp_seconds": ("When any process of a service was last there.", ("service", "node")),
    "borgfleet_recovery_kit_exported_timestamp_seconds": ("When the last recovery kit was made.", ()),
    "borgfleet_repositories_without_kit": ("Repositories that no recovery kit has as they are now.", ()),
    "borgfleet_self_backup_timestamp_seconds": ("When Borgfleet itself was last backed up.", ()),
    "borgfleet_dead_letters_recent": ("Messages given up within a day.", ()),
    "borgfleet_audit_broken": ("1 if the audit log's last verification found that it was changed.", ()),
    "borgfleet_audit_verified_timestamp_seconds": ("When the audit log was last verified to its end by itself.", ()),
    "borgfleet_channel_failures_in_a_row": (
        "Failed tries of what a notification channel has not got yet.",
        ("channel",),
    ),
    "borgfleet_server_access_refused_recent": (
        "Attempts within a day on another server's repository, or (empty) at what is no backup.",
        _REPOSITORY,
    ),
    "borgfleet_outbox_unsent": ("Events decided and not yet published.", ()),
    "borgfleet_outbox_oldest_timestamp_seconds": ("When the oldest of them was decided.", ()),
}


class MetricsSnapshot(Collector):
    """The latest snapshot; empty before the first."""

    def __init__(self, db: Database, registry: CollectorRegistry, alerts: Alerts) -> None:
        """Register with a process's metrics."""
        self._db = db
        self._alerts = alerts
        self._wake = asyncio.Event()
        self._heard: set[str] = set()
        self._snapshot: tuple[Metric, ...] = ()
        registry.register(self)

    def tasks(self, bus: Bus) -> tuple[Periodic, Supervised]:
        """Refresh every few seconds and at every event that may begin or end an alert; the news that tells of those."""
        keep = Periodic(
            "figures",
            lambda _stopping: self.keep(),
            every=_EVERY_SECONDS,
            wake=self._wake,
            least=_LEAST_SECONDS,
            last_word=lambda _stopping: self._alerts.release(),
        )
        return keep, Supervised("news", partial(self.listen, bus))

    async def keep(self) -> None:
        """Refresh, and hold what was read against the thresholds."""
        await self._alerts.evaluate(await self.refresh())

    async def listen(self, bus: Bus, stopping: asyncio.Event) -> None:
        """Do it now at every event that may begin or end an alert; one that is missed waits for the next refresh."""
        for news in NEWS:
            if news.subject not in self._heard:  # begun anew after a failure, it must not hear everything twice
                await bus.listen(news.subject, self.wake)
                self._heard.add(news.subject)
        await stopping.wait()

    def wake(self) -> None:
        """Do it now: something has just been learnt."""
        self._wake.set()

    async def refresh(self) -> list[Triple]:
        """Read everything anew, and return it; what is unknown has no sample."""
        async with self._db.read() as session:
            samples = await load_figures(session)
        families = {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in FAMILIES.items()}
        for name, labels, value in samples:
            if value is not None:
                families[name].add_metric(labels, float(value))
        self._snapshot = tuple(families.values())
        return samples

    def describe(self) -> Iterable[Metric]:
        """Name the families, for the registry and the documentation."""
        return [GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in FAMILIES.items()]

    @override
    def collect(self) -> Iterable[Metric]:
        """Return the snapshot."""
        return self._snapshot
