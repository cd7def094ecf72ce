"""Thresholds and the life of an alert. Pure: a reading and the clock in, the next state out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class AlertKind(StrEnum):
    """What can be wrong."""

    CPU = "cpu"
    MEMORY = "memory"
    SWAP = "swap"
    DISK = "disk"
    INODES = "inodes"
    LOAD = "load"
    DISK_FULL_SOON = "disk_full_soon"
    SERVER_UNREACHABLE = "server_unreachable"
    BACKUP_TOO_OLD = "backup_too_old"
    BACKUP_FAILED = "backup_failed"
    BACKUP_MISSED = "backup_missed"
    BACKUP_DOUBTFUL = "backup_doubtful"
    POST_HOOK_OWED = "post_hook_owed"
    BACKUP_SHRUNK = "backup_shrunk"
    BACKUP_RUNNING_LONG = "backup_running_long"
    POOL_FULL = "pool_full"
    POOL_MISSING = "pool_missing"
    REPOSITORY_FULL = "repository_full"
    REPOSITORY_FROZEN = "repository_frozen"
    REPOSITORY_DAMAGED = "repository_damaged"
    RESTORE_UNPROVEN = "restore_unproven"
    DATABASE_OLDER = "database_older"
    SERVICE_MISSING = "service_missing"
    DEAD_LETTERS = "dead_letters"
    CHANNEL_FAILING = "channel_failing"
    ACCESS_REFUSED = "access_refused"
    AUDIT_BROKEN = "audit_broken"


class Level(StrEnum):
    """How bad it is."""

    WARNING = "warning"
    CRITICAL = "critical"


class AlertState(StrEnum):
    """Where an incident stands."""

    PENDING = "pending"
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Threshold:
    """When a kind of alert begins and ends; values in the kind's own unit, times in seconds."""

    warning: float | None
    critical: float | None
    for_seconds: float = 0.0
    hysteresis: float = 0.0
    """How far beyond the threshold a value has to come back before the alert ends."""
    below: bool = False
    """Small values are the bad ones."""
    enabled: bool = True

    def level(self, value: float, *, now_at: Level | None = None) -> Level | None:
        """Return the level of a value; `now_at` is the level it has to come back from."""
        for level, limit in ((Level.CRITICAL, self.critical), (Level.WARNING, self.warning)):
            if limit is None:
                continue
            held = now_at is Level.CRITICAL or now_at is level
            if self._beyond(value, limit, self.hysteresis if held else 0.0):
                return level
        return None

    def _beyond(self, value: float, limit: float, slack: float) -> bool:
        return value <= limit + slack if self.below else value >= limit - slack


DEFAULTS: dict[AlertKind, Threshold] = {
    AlertKind.CPU: Threshold(80, 95, for_seconds=600, hysteresis=5),
    AlertKind.MEMORY: Threshold(90, 97, for_seconds=600, hysteresis=3),
    AlertKind.SWAP: Threshold(60, 90, for_seconds=600, hysteresis=10),
    AlertKind.DISK: Threshold(80, 90, hysteresis=2),
    AlertKind.INODES: Threshold(80, 90, hysteresis=2),
    AlertKind.LOAD: Threshold(2, 4, for_seconds=900, hysteresis=0.5),
    AlertKind.DISK_FULL_SOON: Threshold(72, 24, for_seconds=1800, hysteresis=12, below=True),
    AlertKind.SERVER_UNREACHABLE: Threshold(300, 1800),
    AlertKind.BACKUP_TOO_OLD: Threshold(1.0, 1.5),
    AlertKind.BACKUP_FAILED: Threshold(1, 3),
    AlertKind.BACKUP_MISSED: Threshold(1, 3),
    AlertKind.BACKUP_DOUBTFUL: Threshold(1, 3),
    AlertKind.POST_HOOK_OWED: Threshold(1, 3),
    AlertKind.BACKUP_SHRUNK: Threshold(50, None),
    AlertKind.BACKUP_RUNNING_LONG: Threshold(3.0, 10.0),
    AlertKind.POOL_FULL: Threshold(80, 90, hysteresis=2),
    AlertKind.POOL_MISSING: Threshold(120, 600),
    AlertKind.REPOSITORY_FULL: Threshold(80, 100, hysteresis=2),
    AlertKind.REPOSITORY_FROZEN: Threshold(None, 1),
    AlertKind.REPOSITORY_DAMAGED: Threshold(None, 1),
    AlertKind.RESTORE_UNPROVEN: Threshold(2.0, None),
    AlertKind.DATABASE_OLDER: Threshold(1, None),
    AlertKind.SERVICE_MISSING: Threshold(90, 300, for_seconds=60),
    AlertKind.DEAD_LETTERS: Threshold(1, None),
    AlertKind.CHANNEL_FAILING: Threshold(3, 8),
    AlertKind.ACCESS_REFUSED: Threshold(None, 1),
    AlertKind.AUDIT_BROKEN: Threshold(None, 1),
}
"""Units: percent; load per core; hours until full; seconds of silence; age of the last good backup in targets;
failures in a row; runs missed since the last good one; doubtful archives since the last good one; ended runs
after which no post-hook has succeeded; percent lost against the typical run; duration in typical durations;
percent of the quota; 1 if frozen; 1 if damaged, and the archives that are; age of the last good proof in periods of
its restore tests; 1 if restored and not accepted; seconds of silence; messages given up within a day; failed tries to
notify; attempts within a day; 1 if the audit log is not as it was written."""


def scopes(server: str | None, tags: Iterable[str]) -> tuple[str, ...]:
    """Return whose rules hold for a server, the nearest first; the last one, empty, is the fleet."""
    return (*((f"server:{server}",) if server else ()), *(f"tag:{tag}" for tag in tags), "")


def scope_of(server: str, tag: str) -> str:
    """Return whom a rule is for, in the words of `scopes`: one server, all with a tag, or, both empty, the fleet."""
    return f"server:{server}" if server else f"tag:{tag}" if tag else ""


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure of one subject; None is unknown and changes nothing."""

    kind: AlertKind
    subject: str
    """Unique among the kind's subjects: `server:web1:/srv`, `backup_job:web1-system`, `pool:main`."""
    server: str | None
    value: float | None


@dataclass(frozen=True, slots=True)
class Incident:
    """An open alert as the evaluation sees it."""

    state: AlertState
    level: Level
    began_at: datetime
    acknowledged_until: datetime | None = None


class Change(StrEnum):
    """What an evaluation does to an incident."""

    NONE = "none"
    PEND = "pend"
    FORGET = "forget"
    """A pending one that passed before anybody heard of it."""
    RAISE = "raise"
    RELEVEL = "relevel"
    REMIND = "remind"
    """An acknowledgement ran out."""
    RESOLVE = "resolve"


def evaluate(
    threshold: Threshold, incident: Incident | None, value: float | None, now: datetime
) -> tuple[Change, Incident | None]:
    """Return what a value does to an incident, and the incident afterwards; None is no open incident."""
    if not threshold.enabled:
        return _over(incident)
    if value is None:
        return _reminded(incident, now)
    level = threshold.level(value, now_at=incident.level if incident else None)
    if level is None:
        return _over(incident)
    if incident is None or incident.state is AlertState.PENDING:
        return _begun(threshold, incident, level, now)
    if level is not incident.level:
        worse = level is Level.CRITICAL
        state = AlertState.FIRING if worse else incident.state  # an acknowledgement of less does not cover more
        return Change.RELEVEL, replace(incident, level=level, state=state)
    return _reminded(incident, now)


def _over(incident: Incident | None) -> tuple[Change, Incident | None]:
    if incident is None:
        return Change.NONE, None
    return (Change.FORGET if incident.state is AlertState.PENDING else Change.RESOLVE), None


def _begun(threshold: Threshold, incident: Incident | None, level: Level, now: datetime) -> tuple[Change, Incident]:
    """Raise what lasted long enough; what has just begun may have to last zero seconds."""
    pending = replace(incident, level=level) if incident else Incident(AlertState.PENDING, level, now)
    if pending.began_at > now:  # by a clock that was ahead: it would be pending until that moment has come
        pending = replace(pending, began_at=now)
    if now - pending.began_at >= timedelta(seconds=threshold.for_seconds):
        return Change.RAISE, replace(pending, state=AlertState.FIRING)
    return (Change.NONE if incident else Change.PEND), pending


def _reminded(incident: Incident | None, now: datetime) -> tuple[Change, Incident | None]:
    until = incident.acknowledged_until if incident else None
    if incident and incident.state is AlertState.ACKNOWLEDGED and until and until <= now:
        return Change.REMIND, replace(incident, state=AlertState.FIRING, acknowledged_until=None)
    return Change.NONE, incident
