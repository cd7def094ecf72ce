"""Reads the figures of servers, backups, storage and queues: (metric, label values, value or None) triples."""

from __future__ import annotations

import statistics
from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import structlog
from sqlalchemy import and_, case, func, select

from services.stats.metrics.proofs import load_proofs
from shared.db.queries.latest import Latest
from shared.db.queries.own_backups import last_own_backup
from shared.db.queries.retention import doubtful_archives, latest_good
from shared.db.queries.tags import tags_by_server_name, with_scopes
from shared.db.stores.hook_debts import owed_per_backup_job
from shared.db.tables.alert import AlertRule
from shared.db.tables.audit import AuditCheck
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.base import db_now
from shared.db.tables.job import Job
from shared.db.tables.kernel import DeadLetter, OutboxRow, ServiceInstance
from shared.db.tables.notify import Notification, NotificationChannel
from shared.db.tables.schedule import MissedRun, Schedule
from shared.db.tables.server import AccessRefusal, Server
from shared.db.tables.stats import ServerStatus
from shared.db.tables.storage import Archive, Repository, StoragePool
from shared.domain.alerts import DEFAULTS, AlertKind, scopes
from shared.domain.importing import READ_ONLY
from shared.domain.job import JobState, JobType
from shared.domain.job_kinds import KIND_OF
from shared.domain.rpo import target_seconds
from shared.kit.cover import kit_cover

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.domain.alerts import Threshold

_log = structlog.get_logger()
Triple: TypeAlias = "tuple[str, Sequence[str], float | None]"
_RECENT = 10
_RUNS_SEEN = 14 * 86_400.0
"""Only so far back are runs looked through: the table of jobs is large. Backups are looked through whole."""
_LETTERS_SEEN = 86_400.0
_NOT_FAILED = (JobState.SUCCEEDED.value, JobState.WARNING.value)
_RUNS = Latest(
    Job.backup_job_id,
    Job.created_at,
    (Job.state, Job.started_at, Job.finished_at),
    # Not the bare column: SQLite would read the fleet's runs by the index on it, for each backup job anew.
    and_(func.coalesce(Job.type, "") == JobType.BACKUP_CREATE.value, Job.created_at > db_now(-_RUNS_SEEN)),
    _RECENT,
)
_GOOD = latest_good((Archive.duration, Archive.original_size, Archive.deduplicated_size, Archive.files), _RECENT)
_DOUBTFUL = Latest(Archive.backup_job_id, Archive.created_at, (), doubtful_archives(), _RECENT)
_STATUS = {"succeeded": 0, "warning": 1, "failed": 2, "cancelled": 3}
_RATIOS = {"cpu_usage_percent": "cpu", "memory_percent": "memory", "swap_percent": "swap"}
_PLAIN = {
    "cpu_cores": "cpu_cores",
    "cpu_load_1": "load1",
    "load_per_core": "load1_per_core",
    "network_received_rate": "network_received_bytes_per_second",
    "network_sent_rate": "network_sent_bytes_per_second",
    "temperature_celsius": "temperature_celsius",
    "reboot_pending": "reboot_pending",
    "failed_units": "failed_units",
    "clock_offset_seconds": "clock_offset_seconds",
}


async def load_figures(session: AsyncSession) -> list[Triple]:
    """Return every figure as it is now."""
    now = await session.scalar(select(db_now()))
    figures: list[Triple] = [("borgfleet_figures_refreshed_timestamp_seconds", (), _at(now))]
    for part in (_thresholds, _servers, _backups, _storage, load_proofs, _queues, _ourselves):
        figures += await part(session)
    return figures


async def _thresholds(session: AsyncSession) -> list[Triple]:
    """Return where alerts begin, for the fleet and for servers with their own or their tags'; off, there is none."""
    own = {(rule.kind, scope): rule for rule, scope in await with_scopes(session, AlertRule)}
    rules: dict[tuple[str, str], Threshold | AlertRule] = {(kind.value, ""): rule for kind, rule in DEFAULTS.items()}
    rules |= {(kind, ""): rule for (kind, scope), rule in own.items() if not scope}
    tags = await tags_by_server_name(session)
    tagged = [(name, scopes(name, tags.get(name, ()))[:-1]) for name in await session.scalars(select(Server.name))]
    for kind in AlertKind:
        for server, nearest in tagged:
            if rule := next((own[kind.value, scope] for scope in nearest if (kind.value, scope) in own), None):
                rules[kind.value, server] = rule
    return [
        ("borgfleet_threshold", (kind, level, server), value if rule.enabled else None)
        for (kind, server), rule in rules.items()
        for level, value in (("warning", rule.warning), ("critical", rule.critical))
    ]


async def _servers(session: AsyncSession) -> list[Triple]:
    query = select(Server.name, Server.last_seen_at, ServerStatus).join(
        ServerStatus, ServerStatus.server_id == Server.id
    )
    figures: list[Triple] = []
    for name, seen_at, status in await session.execute(query):
        label = (name,)
        figures += [
            ("borgfleet_server_up", label, int(status.up)),
            ("borgfleet_server_up_since_timestamp_seconds", label, _at(status.changed_at)),
            ("borgfleet_server_last_seen_timestamp_seconds", label, _at(seen_at)),
        ]
        if status.up and status.sample:  # the last known usage of a dead server is not its usage now
            figures += _sound(name, status.sample)
    return figures


def _sound(name: str, sample: dict[str, Any]) -> list[Triple]:
    """Read what a server said; of a sample that makes no sense what is a number, and it stops no other server's."""
    figures: list[Triple] = []
    try:
        figures.extend(_sample(name, sample))
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        _log.error("sample_unreadable", server=name, reason=str(error)[:500])
    return [figure for figure in figures if _is_figure(figure[2]) and all(map(_is_label, figure[1]))]


def _is_figure(value: object) -> bool:
    return value is None or isinstance(value, (int, float))


def _is_label(value: object) -> bool:
    return isinstance(value, str)


def _sample(name: str, sample: dict[str, Any]) -> Iterator[Triple]:
    label = (name,)
    for column, word in _RATIOS.items():
        yield f"borgfleet_server_{word}_usage_ratio", label, _ratio(sample.get(column))
    for column, word in _PLAIN.items():
        yield f"borgfleet_server_{word}", label, sample.get(column)
    if sample.get("boot_time"):
        boot = datetime.fromisoformat(sample["boot_time"])
        yield "borgfleet_server_boot_timestamp_seconds", label, boot.timestamp()
    yield "borgfleet_server_memory_size_bytes", label, _scaled(sample.get("memory_total_mb"), 1024**2)
    for resource in ("cpu", "memory", "io"):
        pressure = _ratio(sample.get(f"pressure_{resource}"))
        yield "borgfleet_server_pressure_ratio", (name, resource), pressure
    root: dict[str, Any] = {
        "mount_point": "/",
        "percent": sample.get("disk_percent"),
        "inodes_percent": sample.get("inodes_percent"),
        "total_bytes": _scaled(sample.get("disk_total_gb"), 1024**3),
        "free_bytes": _scaled(sample.get("disk_free_gb"), 1024**3),
    }
    for mount in (root, *sample.get("mounts", [])):
        where = (name, mount["mount_point"])
        yield "borgfleet_server_disk_usage_ratio", where, _ratio(mount["percent"])
        yield "borgfleet_server_inodes_usage_ratio", where, _ratio(mount["inodes_percent"])
        yield "borgfleet_server_disk_size_bytes", where, mount["total_bytes"]
        yield "borgfleet_server_disk_free_bytes", where, mount["free_bytes"]


async def _backups(session: AsyncSession) -> list[Triple]:
    query = (
        select(BackupJob, Server.name, Repository.name, StoragePool.name)
        .join(Server, Server.id == BackupJob.server_id)
        .join(Repository, Repository.id == BackupJob.repository_id)
        .join(StoragePool, StoragePool.id == Repository.pool_id)
        .where(Repository.mode != READ_ONLY)  # nothing may be backed up there, so that nothing is late
    )
    figures: list[Triple] = []
    periods, missed = await _periods(session), await _missed(session)
    definitions = (await session.execute(query)).all()
    ids = [row[0].id for row in definitions]
    archives = await _GOOD.of(session, ids)
    runs = await _RUNS.of(session, ids)
    # Only since the last good one: most have none, and would be looked for in all that a backup job ever made.
    owed = await owed_per_backup_job(session)
    doubtful = await _DOUBTFUL.of(session, ids, since={key: rows[0].at for key, rows in archives.items()})
    for definition, server, repository, pool in definitions:
        label = (server, definition.name)
        figures += [
            ("borgfleet_backup_info", (*label, repository, pool), 1),
            ("borgfleet_backup_enabled", label, int(definition.enabled)),
            ("borgfleet_backup_created_timestamp_seconds", label, _at(definition.created_at)),
            ("borgfleet_backup_rpo_seconds", label, target_seconds(definition.rpo_seconds, periods[definition.id])),
        ]
        last_good = archives[definition.id][0].at if archives[definition.id] else definition.created_at
        unmade = sum(due_at > last_good for due_at in missed[definition.id])
        figures.append(("borgfleet_backup_missed_runs", label, unmade))
        pending = sum(archive.at > last_good for archive in doubtful[definition.id])
        figures.append(("borgfleet_backup_doubtful_archives", label, pending))
        figures.append(("borgfleet_backup_post_hooks_owed", label, owed.get(definition.id, 0)))
        figures += _of_runs(label, runs[definition.id])
        figures += _of_archives(label, archives[definition.id])
    return figures


async def _periods(session: AsyncSession) -> dict[uuid.UUID, list[int]]:
    periods: defaultdict[uuid.UUID, list[int]] = defaultdict(list)
    for backup_job_id, period in await session.execute(select(Schedule.backup_job_id, Schedule.period_seconds)):
        if backup_job_id is not None:
            periods[backup_job_id].append(period)
    return periods


async def _missed(session: AsyncSession) -> dict[uuid.UUID, list[datetime]]:
    missed: defaultdict[uuid.UUID, list[datetime]] = defaultdict(list)
    recent = select(MissedRun.backup_job_id, MissedRun.due_at).where(MissedRun.due_at > db_now(-_RUNS_SEEN))
    for backup_job_id, due_at in await session.execute(recent):
        if backup_job_id is not None:
            missed[backup_job_id].append(due_at)
    return missed


def _of_runs(label: tuple[str, str], runs: list[Any]) -> Iterator[Triple]:
    """Take a backup job's latest runs, newest first."""
    ended = [run for run in runs if run.finished_at is not None and run.state in _STATUS]
    running = [run for run in runs if run.state == JobState.RUNNING]
    if ended:
        yield "borgfleet_backup_last_run_timestamp_seconds", label, _at(ended[0].finished_at)
        yield "borgfleet_backup_last_status", label, _STATUS[ended[0].state]
    since = next((number for number, run in enumerate(ended) if run.state in _NOT_FAILED), len(ended))
    failed = sum(run.state == JobState.FAILED for run in ended[:since])
    yield "borgfleet_backup_failures_in_a_row", label, failed
    if running:
        yield "borgfleet_backup_running_since_timestamp_seconds", label, _at(running[0].started_at)


def _of_archives(label: tuple[str, str], archives: list[Any]) -> Iterator[Triple]:
    """Take a backup job's latest good archives, newest first."""
    if not archives:
        return
    last = archives[0]
    yield "borgfleet_backup_last_success_timestamp_seconds", label, _at(last.at)
    yield "borgfleet_backup_duration_seconds", label, last.duration
    yield "borgfleet_backup_original_size_bytes", label, last.original_size
    yield "borgfleet_backup_deduplicated_size_bytes", label, last.deduplicated_size
    yield "borgfleet_backup_files", label, last.files
    typical = statistics.median(archive.duration for archive in archives)
    yield "borgfleet_backup_typical_duration_seconds", label, typical
    size = statistics.median(archive.original_size for archive in archives)
    yield "borgfleet_backup_typical_original_size_bytes", label, size


async def _storage(session: AsyncSession) -> list[Triple]:
    figures: list[Triple] = []
    for pool in await session.scalars(select(StoragePool)):
        label = (pool.name,)
        figures += [
            ("borgfleet_pool_info", (pool.name, pool.node), 1),
            ("borgfleet_pool_size_bytes", label, pool.size_bytes),
            ("borgfleet_pool_free_bytes", label, pool.free_bytes),
            ("borgfleet_pool_measured_timestamp_seconds", label, _at(pool.measured_at or pool.created_at)),
        ]
    counts = select(Archive.repository_id, func.count()).where(Archive.damage != "").group_by(Archive.repository_id)
    damaged = {row[0]: row[1] for row in await session.execute(counts)}
    query = select(Repository, Server.name).join(Server, Server.id == Repository.server_id)
    for repository, server in await session.execute(query):
        names = (server, repository.name)
        figures += [
            ("borgfleet_repository_archives", names, repository.archive_count),
            ("borgfleet_repository_frozen", names, int(bool(repository.frozen_reason))),
            ("borgfleet_repository_database_older", names, int(repository.restored_pending)),
            ("borgfleet_repository_last_prune_timestamp_seconds", names, _at(repository.pruned_at)),
            ("borgfleet_repository_last_compact_timestamp_seconds", names, _at(repository.compacted_at)),
            ("borgfleet_repository_last_check_timestamp_seconds", names, _at(repository.checked_at)),
            (
                "borgfleet_repository_damaged",
                names,
                int(bool(repository.segments_damage or repository.archives_damage)),
            ),
            ("borgfleet_repository_damaged_archives", names, damaged.get(repository.id, 0)),
            ("borgfleet_repository_original_size_bytes", names, repository.original_size),
            ("borgfleet_repository_deduplicated_size_bytes", names, repository.deduplicated_size),
            ("borgfleet_repository_quota_bytes", names, repository.quota_bytes),
        ]
    return figures


async def _queues(session: AsyncSession) -> list[Triple]:
    live = select(Job.type, Job.state, func.count(), func.min(Job.created_at)).where(
        Job.state.in_((JobState.QUEUED.value, JobState.RUNNING.value))
    )
    counted = {(row[0], row[1]): row for row in await session.execute(live.group_by(Job.type, Job.state))}
    figures: list[Triple] = []
    for kind in KIND_OF:
        for state in (JobState.QUEUED, JobState.RUNNING):
            row = counted.get((kind, state.value))
            figures.append(("borgfleet_jobs", (kind, state.value), row[2] if row else 0))
            if row and state is JobState.QUEUED:
                figures.append(("borgfleet_jobs_oldest_queued_timestamp_seconds", (kind,), _at(row[3])))
    unsent = select(func.count(), func.min(OutboxRow.created_at)).where(OutboxRow.sent_at.is_(None))
    count, oldest = (await session.execute(unsent)).one()
    figures.append(("borgfleet_outbox_unsent", (), count))
    figures.append(("borgfleet_outbox_oldest_timestamp_seconds", (), _at(oldest)))
    return figures


async def _ourselves(session: AsyncSession) -> list[Triple]:
    """Return when each service was last there, what was given up within a day, and which channels are deaf."""
    instance = (ServiceInstance.service, ServiceInstance.node)
    query = select(*instance, func.max(ServiceInstance.seen_at)).group_by(*instance)
    figures: list[Triple] = [
        ("borgfleet_service_seen_timestamp_seconds", (service, node), _at(seen_at))
        for service, node, seen_at in await session.execute(query)
    ]
    letters = select(func.count()).select_from(DeadLetter).where(DeadLetter.at > db_now(-_LETTERS_SEEN))
    figures.append(("borgfleet_dead_letters_recent", (), await session.scalar(letters)))
    waiting = and_(Notification.channel_id == NotificationChannel.id, Notification.state == "waiting")
    tries = select(NotificationChannel.name, func.max(Notification.attempts)).outerjoin(Notification, waiting)
    for channel, failures in await session.execute(tries.group_by(NotificationChannel.name)):
        figures.append(("borgfleet_channel_failures_in_a_row", (channel,), failures or 0))
    if (check := await session.get(AuditCheck, 1)) is not None:
        figures.append(("borgfleet_audit_broken", (), int(bool(check.broken_what))))
        figures.append(("borgfleet_audit_verified_timestamp_seconds", (), _at(check.ended_at)))
    return figures + await _refused(session) + await _recovery(session)


async def _recovery(session: AsyncSession) -> list[Triple]:
    """Return what there would be to come back with if all was lost."""
    cover = await kit_cover(session)
    return [
        ("borgfleet_recovery_kit_exported_timestamp_seconds", (), _at(cover.exported_at)),
        ("borgfleet_repositories_without_kit", (), len(cover.missing)),
        ("borgfleet_self_backup_timestamp_seconds", (), _at(await last_own_backup(session))),
    ]


async def _refused(session: AsyncSession) -> list[Triple]:
    """Return what servers were refused at storage endpoints; 0 once a day has gone, so that its incident closes."""
    recent = case((AccessRefusal.last_at > db_now(-_LETTERS_SEEN), AccessRefusal.attempts), else_=0)
    about = (Server.name, AccessRefusal.repository)
    query = select(*about, func.sum(recent)).join(Server, Server.id == AccessRefusal.server_id).group_by(*about)
    return [
        ("borgfleet_server_access_refused_recent", (server, repository), int(attempts))
        for server, repository, attempts in await session.execute(query)
    ]


def _at(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else round(percent / 100, 5)


def _scaled(value: float | None, unit: int) -> float | None:
    return None if value is None else value * unit
