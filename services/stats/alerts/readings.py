"""From the figures that Prometheus also sees to what thresholds are held against: both say the same by construction."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from shared.domain.alerts import DEFAULTS, AlertKind, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from services.stats.metrics.queries import Triple

_NEVER = 1e6
SERVICES = frozenset({"api", "backup", "scheduler", "setup", "stats"})
"""Without any one of these, something is never done."""
_SHORTEST_RUN = 60.0
_AHEAD = 120.0
_LONGEST_SUBJECT = 600
"""As the column of an incident's subject."""
_MARK = 16
Labels: TypeAlias = "tuple[str, ...]"
ByLabels: TypeAlias = "Mapping[Labels, float]"
Table: TypeAlias = "Mapping[str, ByLabels]"

_PERCENT_OF_SERVER = {AlertKind.CPU: "cpu", AlertKind.MEMORY: "memory", AlertKind.SWAP: "swap"}
_PERCENT_OF_MOUNT = {AlertKind.DISK: "disk", AlertKind.INODES: "inodes"}


def readings(figures: list[Triple], *, growth: Mapping[str, float]) -> list[Reading]:
    """Return every reading; `growth` is how many percent points a server's `/` gains an hour.

    A cause stands for its consequences: the pools of a node without its service, and the backups of a server that is
    down or of a pool that is gone, are unknown.
    """
    table: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
    for name, labels, value in figures:
        if value is not None:
            table[name][tuple(labels)] = value
    if not figures:
        return []
    now = table["borgfleet_figures_refreshed_timestamp_seconds"][()]
    services, pools = [*_of_services(table, now)], [*_of_pools(table, now)]
    silent = _beyond(services)
    dead = {f"pool:{pool}" for pool, node in table["borgfleet_pool_info"] if f"service:backup@{node}" in silent}
    pools = [_unknown(pool) if pool.subject in dead else pool for pool in pools]
    found = (
        *_of_servers(table, now, growth),
        *_of_repositories(table),
        *_of_proofs(table, now),
        *services,
        *pools,
        *_of_backups(table, now, gone=dead | _beyond(pools)),
        *_of_messages(table),
    )
    return [_fitting(one) for one in found]


def _fitting(reading: Reading) -> Reading:
    """Shorten what is too long for an incident's row, as a deep mount point is, but keep it apart from all others."""
    if len(reading.subject) <= _LONGEST_SUBJECT:
        return reading
    mark = hashlib.sha256(reading.subject.encode(errors="backslashreplace")).hexdigest()[:_MARK]
    subject = f"{reading.subject[: _LONGEST_SUBJECT - _MARK - 1]}…{mark}"
    return Reading(reading.kind, subject, reading.server, reading.value)


def _beyond(found: list[Reading]) -> set[str]:
    """Return the subjects of what is missing, be it raised already or not."""
    missing = (AlertKind.POOL_MISSING, AlertKind.SERVICE_MISSING)
    return {
        one.subject
        for one in found
        if one.kind in missing and one.value is not None and DEFAULTS[one.kind].level(one.value)
    }


def _unknown(reading: Reading) -> Reading:
    return Reading(reading.kind, reading.subject, reading.server, None)


def _since(at: float, now: float) -> float:
    """Return for how long something was silent; for long, if it was last heard by a clock that was ahead.

    What lives is heard again within seconds; what is dead would seem to live until the clock has caught up.
    """
    return _NEVER if at - now > _AHEAD else now - at


def _of_services(table: Table, now: float) -> Iterator[Reading]:
    seen = table["borgfleet_service_seen_timestamp_seconds"]
    nodes = {node for _, node in table["borgfleet_pool_info"]}
    for (service, node), seen_at in seen.items():
        if not node or node in nodes:
            yield Reading(
                AlertKind.SERVICE_MISSING, f"service:{service}@{node}".rstrip("@"), None, _since(seen_at, now)
            )
    for service in SERVICES - {service for service, _ in seen} if seen else ():
        yield Reading(AlertKind.SERVICE_MISSING, f"service:{service}", None, _NEVER)


def _of_messages(table: Table) -> Iterator[Reading]:
    for letters in table["borgfleet_dead_letters_recent"].values():
        yield Reading(AlertKind.DEAD_LETTERS, "dead_letters", None, letters)
    for broken in table["borgfleet_audit_broken"].values():
        yield Reading(AlertKind.AUDIT_BROKEN, "audit_log", None, broken)
    for (channel,), failures in table["borgfleet_channel_failures_in_a_row"].items():
        yield Reading(AlertKind.CHANNEL_FAILING, f"channel:{channel}", None, failures)
    for (server, repository), attempts in table["borgfleet_server_access_refused_recent"].items():
        about = f"server:{server}:{repository or 'no backup'}"
        yield Reading(AlertKind.ACCESS_REFUSED, about, server, attempts)


def _of_repositories(table: Table) -> Iterator[Reading]:
    for (server, name), frozen in table["borgfleet_repository_frozen"].items():
        yield Reading(AlertKind.REPOSITORY_FROZEN, f"repository:{server}/{name}", server, frozen)
    for (server, name), older in table["borgfleet_repository_database_older"].items():
        yield Reading(AlertKind.DATABASE_OLDER, f"repository:{server}/{name}", server, older)
    for (server, name), damaged in table["borgfleet_repository_damaged"].items():
        hit = table["borgfleet_repository_damaged_archives"].get((server, name), 0.0)
        yield Reading(AlertKind.REPOSITORY_DAMAGED, f"repository:{server}/{name}", server, damaged + hit)
    for (server, name), quota in table["borgfleet_repository_quota_bytes"].items():
        size = table["borgfleet_repository_deduplicated_size_bytes"].get((server, name))
        about = f"repository:{server}/{name}"
        yield Reading(AlertKind.REPOSITORY_FULL, about, server, None if size is None else 100 * size / quota)


def _of_proofs(table: Table, now: float) -> Iterator[Reading]:
    """Return how old the last good proof is, in periods of the restore tests; without such tests it is nobody's."""
    for label, period in table["borgfleet_restore_proof_period_seconds"].items():
        server, repository, backup_job = label
        proven_at = table["borgfleet_restore_proof_timestamp_seconds"].get(label)
        since = proven_at or table["borgfleet_restore_proof_expected_timestamp_seconds"].get(label, now)
        about = f"backup_job:{backup_job}" if backup_job else f"repository:{server}/{repository}"
        yield Reading(AlertKind.RESTORE_UNPROVEN, about, server, max(0.0, now - since) / period if period else 0.0)


def _of_servers(table: Table, now: float, growth: Mapping[str, float]) -> Iterator[Reading]:
    for (server,), up in table["borgfleet_server_up"].items():
        silent = _since(table["borgfleet_server_up_since_timestamp_seconds"][(server,)], now)
        yield Reading(AlertKind.SERVER_UNREACHABLE, f"server:{server}", server, 0.0 if up else silent)
    for kind, word in _PERCENT_OF_SERVER.items():
        for (server,), ratio in table[f"borgfleet_server_{word}_usage_ratio"].items():
            yield Reading(kind, f"server:{server}", server, ratio * 100)
    for (server,), load in table["borgfleet_server_load1_per_core"].items():
        yield Reading(AlertKind.LOAD, f"server:{server}", server, load)
    for kind, word in _PERCENT_OF_MOUNT.items():
        for (server, mount), ratio in table[f"borgfleet_server_{word}_usage_ratio"].items():
            yield Reading(kind, f"server:{server}:{mount}", server, ratio * 100)
    for (server, mount), ratio in table["borgfleet_server_disk_usage_ratio"].items():
        if mount == "/" and server in growth:
            hours = (100 - ratio * 100) / growth[server] if growth[server] > 0 else _NEVER
            yield Reading(AlertKind.DISK_FULL_SOON, f"server:{server}:/", server, min(hours, _NEVER))


def _of_pools(table: Table, now: float) -> Iterator[Reading]:
    for (pool,), seen_at in table["borgfleet_pool_measured_timestamp_seconds"].items():
        yield Reading(AlertKind.POOL_MISSING, f"pool:{pool}", None, _since(seen_at, now))
    for (pool,), size in table["borgfleet_pool_size_bytes"].items():
        free = table["borgfleet_pool_free_bytes"].get((pool,))
        if free is not None and size > 0:
            yield Reading(AlertKind.POOL_FULL, f"pool:{pool}", None, 100 * (1 - free / size))


def _of_backups(table: Table, now: float, *, gone: set[str]) -> Iterator[Reading]:
    down = {server for (server,), up in table["borgfleet_server_up"].items() if not up}
    stranded = {(server, job) for server, job, _, pool in table["borgfleet_backup_info"] if f"pool:{pool}" in gone}
    for (server, name), owed in table["borgfleet_backup_post_hooks_owed"].items():  # of one that is off, too
        yield Reading(AlertKind.POST_HOOK_OWED, f"backup_job:{name}", server, owed)
    for label, enabled in table["borgfleet_backup_enabled"].items():
        if enabled:
            caused = label[0] in down or label in stranded
            yield from (_unknown(one) if caused else one for one in _of_backup(table, label, now))


def _of_backup(table: Table, label: Labels, now: float) -> Iterator[Reading]:
    server, name = label
    about = f"backup_job:{name}"

    def figure(word: str) -> float | None:
        return table[f"borgfleet_backup_{word}"].get(label)

    target, made_at = figure("rpo_seconds"), figure("last_success_timestamp_seconds")
    last_good = made_at or figure("created_timestamp_seconds") or now
    yield Reading(AlertKind.BACKUP_TOO_OLD, about, server, (now - last_good) / target if target else 0.0)
    yield Reading(AlertKind.BACKUP_FAILED, about, server, figure("failures_in_a_row"))
    yield Reading(AlertKind.BACKUP_MISSED, about, server, figure("missed_runs"))
    yield Reading(AlertKind.BACKUP_DOUBTFUL, about, server, figure("doubtful_archives"))
    size, usual = figure("original_size_bytes"), figure("typical_original_size_bytes")
    lost = max(0.0, 100 * (1 - size / usual)) if size is not None and usual else None
    yield Reading(AlertKind.BACKUP_SHRUNK, about, server, lost)
    begun, typical = figure("running_since_timestamp_seconds"), figure("typical_duration_seconds")
    times = (now - begun) / max(typical, _SHORTEST_RUN) if begun and typical is not None else 0.0
    yield Reading(AlertKind.BACKUP_RUNNING_LONG, about, server, times)
