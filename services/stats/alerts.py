"""Holds the readings against the thresholds, and keeps one incident for each thing that is wrong."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from services.stats.housekeeping import FIVE_MINUTES
from services.stats.notify import note
from services.stats.readings import readings
from shared.db.tables.alert import Alert, AlertChange, AlertRule, MaintenanceWindow
from shared.db.tables.base import db_now
from shared.db.tables.server import Server
from shared.db.tables.stats import ServerRollup
from shared.db.tables.storage import StoragePool
from shared.domain.alerts import (
    DEFAULTS,
    AlertKind,
    AlertState,
    Change,
    Incident,
    Level,
    Reading,
    Threshold,
    evaluate,
    scope_of,
    scopes,
)
from shared.events.alert import AlertRaised, AlertResolved

if TYPE_CHECKING:
    from services.stats.figures import Triple
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

LEASE = "stats:alerts"
_LEASE_SECONDS = 45.0
_TREND_SECONDS = 6 * 3600
_TREND_POINTS = 6
_OF_MOUNTS = (AlertKind.DISK, AlertKind.INODES)
_NEWS = (Change.RAISE, Change.RELEVEL, Change.REMIND)


@dataclass(frozen=True, slots=True)
class Rules:
    """The thresholds in force, and where no alert may begin now."""

    by_kind: dict[tuple[str, str], Threshold] = field(default_factory=dict[tuple[str, str], Threshold])
    """By kind and scope; see `scopes`."""
    quiet: frozenset[str] = frozenset()
    """The scopes under maintenance."""
    tags: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Of the servers."""

    def threshold(self, kind: AlertKind, server: str | None) -> Threshold:
        """Return a server's own threshold, else that of its first tag that has one, the fleet's, the built-in one."""
        for scope in scopes(server, self.tags.get(server or "", ())):
            if (kind.value, scope) in self.by_kind:
                return self.by_kind[kind.value, scope]
        return DEFAULTS[kind]

    def is_quiet(self, server: str | None) -> bool:
        """Tell whether nothing is to begin here now."""
        return any(scope in self.quiet for scope in scopes(server, self.tags.get(server or "", ())))


class Alerts:
    """Evaluates for the whole fleet; one of all replicas at a time."""

    def __init__(self, db: Database) -> None:
        """Take the database."""
        self._db = db
        self._name = secrets.token_hex(8)

    async def evaluate(self, figures: list[Triple]) -> None:
        """Evaluate everything once, unless another replica does."""
        if await self._db.run(lambda tx: tx.leases.acquire(LEASE, self._name, _LEASE_SECONDS)) is not None:
            await self._db.run(lambda tx: hold_against_thresholds(tx, figures))

    async def release(self) -> None:
        """Let another replica evaluate at once."""
        await self._db.run(lambda tx: tx.leases.release(LEASE, self._name), patience=0)


async def hold_against_thresholds(tx: UnitOfWork, figures: list[Triple]) -> None:
    """Open, change and close incidents; each change is on the record, and what people should hear is on the bus."""
    now = await tx.session.scalar(select(db_now()))
    if now is None:
        return
    rules = await load_rules(tx, now)
    found = readings(figures, growth=await _growth(tx, now))
    rows = {row.open_key: row for row in await tx.session.scalars(select(Alert).where(Alert.open_key.is_not(None)))}
    for reading in found:
        row = rows.pop(open_key(reading), None)
        threshold = rules.threshold(reading.kind, reading.server)
        value = None if row is None and rules.is_quiet(reading.server) else reading.value
        change, incident = evaluate(threshold, _incident(row), value, now)
        await _apply(tx, row, reading, threshold, change, incident, now)
    for orphan in rows.values():
        if await _is_gone(tx, orphan, found):
            pending = orphan.state == AlertState.PENDING
            await _record(tx, orphan, Change.FORGET if pending else Change.RESOLVE, now)


async def load_rules(tx: UnitOfWork, now: datetime) -> Rules:
    """Read the thresholds that differ from the built-in ones, and the maintenance windows of now."""
    by_kind = {
        (rule.kind, scope_of(rule.server, rule.tag)): Threshold(
            rule.warning,
            rule.critical,
            rule.for_seconds,
            rule.hysteresis,
            below=DEFAULTS[AlertKind(rule.kind)].below,
            enabled=rule.enabled,
        )
        for rule in await tx.session.scalars(select(AlertRule))
    }
    window = select(MaintenanceWindow).where(MaintenanceWindow.starts_at <= now, MaintenanceWindow.ends_at > now)
    quiet = frozenset(scope_of(row.server, row.tag) for row in await tx.session.scalars(window))
    tagged = await tx.session.execute(select(Server.name, Server.tags))
    return Rules(by_kind, quiet, {name: tags for name, tags in tagged if tags})


def open_key(reading: Reading) -> str:
    """Return what is unique among the open incidents."""
    return f"{reading.kind}|{reading.subject}"


def _incident(row: Alert | None) -> Incident | None:
    if row is None:
        return None
    return Incident(AlertState(row.state), Level(row.level), row.began_at, row.acknowledged_until)


async def _apply(
    tx: UnitOfWork,
    row: Alert | None,
    reading: Reading,
    threshold: Threshold,
    change: Change,
    incident: Incident | None,
    now: datetime,
) -> None:
    if row is None:
        if incident is None:
            return
        row = Alert(open_key=open_key(reading), kind=reading.kind.value, subject=reading.subject, server=reading.server)
        row.began_at = incident.began_at
        tx.session.add(row)
    if reading.value is not None:
        row.value = reading.value
    if incident is not None:
        row.state, row.level = incident.state.value, incident.level.value
        row.acknowledged_until = incident.acknowledged_until
        row.threshold = threshold.critical if incident.level is Level.CRITICAL else threshold.warning
    await _record(tx, row, change, now)


async def _record(tx: UnitOfWork, row: Alert, change: Change, now: datetime) -> None:
    if change is Change.FORGET:
        await tx.session.delete(row)
        return
    if change is Change.RESOLVE:
        row.state, row.open_key, row.resolved_at = AlertState.RESOLVED.value, None, now
    if change is Change.RAISE:
        row.raised_at = now
    if change in (Change.NONE, Change.PEND):
        return
    await tx.session.flush()
    line = AlertChange(alert_id=row.id, at=now, what=change.value, level=row.level, value=row.value)
    tx.session.add(line)
    await tx.session.flush()
    await note(tx, row, line, now)
    fact = AlertRaised if change in _NEWS else AlertResolved
    tx.emit(
        fact(
            alert_id=row.id,
            kind=row.kind,
            about=row.subject,
            level=row.level,
            value=row.value,
            threshold=row.threshold,
        )
    )


async def _is_gone(tx: UnitOfWork, row: Alert, found: list[Reading]) -> bool:
    """Tell whether what an incident is about exists no longer; what is only unknown for now is not gone."""
    what, _, name = row.subject.partition(":")
    if what == "pool":
        return await tx.session.scalar(select(StoragePool.id).where(StoragePool.name == name)) is None
    if what in ("backup_job", "repository", "service", "dead_letters", "channel"):
        return True  # deleted, switched off or no longer needed: else there would be a reading, known or not
    if await tx.session.scalar(select(Server.id).where(Server.name == row.server)) is None:
        return True
    others = {(reading.kind, reading.server) for reading in found if reading.kind in _OF_MOUNTS}
    return (row.kind, row.server) in others  # the server tells of its other file systems, and not of this one


async def _growth(tx: UnitOfWork, now: datetime) -> dict[str, float]:
    """Return how many percent points of `/` each server gains an hour: the slope of the last six hours."""
    since = int((now - timedelta(seconds=_TREND_SECONDS)).timestamp())
    hours = (ServerRollup.bucket - since) / 3600.0
    used = ServerRollup.disk_mean
    sums = (func.count(), func.sum(hours), func.sum(used), func.sum(hours * used), func.sum(hours * hours))
    query = select(Server.name, *sums).join(ServerRollup, ServerRollup.server_id == Server.id)
    recent = query.where(ServerRollup.step == FIVE_MINUTES, ServerRollup.bucket >= since, used.is_not(None))
    slopes: dict[str, float] = {}
    for name, count, *summed in await tx.session.execute(recent.group_by(Server.name)):
        x, y, xy, xx = (float(one or 0) for one in summed)
        spread = count * xx - x**2
        if count >= _TREND_POINTS and spread > 0:
            slopes[name] = (count * xy - x * y) / spread
    return slopes
