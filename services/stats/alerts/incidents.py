"""Opens, changes and closes incidents, some at a time: each change is on the record, and told to whom it concerns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select

from services.stats.alerts.audience import note
from shared.db.tables.alert import Alert, AlertChange
from shared.domain.alerts import AlertKind, AlertState, Change, Incident, Level, Reading, evaluate
from shared.events.alert import AlertRaised, AlertResolved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from services.stats.alerts.audience import Audience
    from services.stats.alerts.evaluate import Rules
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.alerts import Threshold

_log = structlog.get_logger()
OF_MOUNTS = (AlertKind.DISK, AlertKind.INODES)
"""The kinds whose readings are of one file system each."""
_NEWS = (Change.RAISE, Change.RELEVEL, Change.REMIND)
_GONE_WITHOUT_A_READING = ("backup_job", "repository", "service", "dead_letters", "channel", "audit_log")
"""Deleted, switched off or no longer needed: else there would be a reading, known or not."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What one evaluation knows, read once for all incidents."""

    now: datetime
    rules: Rules
    readings: Mapping[str, Reading]
    """By the key of the incident that each may open."""
    servers: frozenset[str]
    pools: frozenset[str]
    audience: Audience
    measured: frozenset[tuple[str, str | None]]
    """Of which servers there are readings of file systems, by kind."""

    def outcome(self, row: Alert | None, reading: Reading) -> tuple[Threshold, Change, Incident | None]:
        """Return the threshold that holds for a reading, and what becomes of its incident."""
        threshold = self.rules.threshold(reading.kind, reading.server)
        value = None if row is None and self.rules.is_quiet(reading.server) else reading.value
        return threshold, *evaluate(threshold, _incident(row), value, self.now)

    def is_gone(self, row: Alert) -> bool:
        """Tell whether what an incident is about exists no longer; what is only unknown for now is not gone."""
        what, _, name = row.subject.partition(":")
        if what == "pool":
            return name not in self.pools
        if what in _GONE_WITHOUT_A_READING or row.server not in self.servers:
            return True
        return (row.kind, row.server) in self.measured  # it tells of its other file systems, and not of this one

    def concerned(self, rows: Mapping[str, Alert]) -> list[str]:
        """Return the keys of the incidents that are to be written, of those that are open and those that may begin."""
        keys = [key for key, row in rows.items() if key not in self.readings and self.is_gone(row)]
        for key, reading in self.readings.items():
            try:
                if self._changes(rows.get(key), reading):
                    keys.append(key)
            except (ValueError, TypeError, LookupError, ArithmeticError) as error:
                # As in a state that a newer version made: it is left as it is, and every other goes on.
                _log.error("incident_unreadable", incident=key, reason=str(error)[:500])
        return sorted(keys)

    def _changes(self, row: Alert | None, reading: Reading) -> bool:
        threshold, change, incident = self.outcome(row, reading)
        if row is None:
            return incident is not None
        return change is not Change.NONE or _differs(row, reading, threshold, incident)


def open_key(reading: Reading) -> str:
    """Return what is unique among the open incidents."""
    return f"{reading.kind}|{reading.subject}"


async def write(tx: UnitOfWork, situation: Situation, keys: Sequence[str]) -> None:
    """Write some incidents in one transaction, as they are by now: somebody may have acknowledged one meanwhile."""
    query = select(Alert).where(Alert.open_key.in_(keys)).with_for_update()
    rows = {row.open_key: row for row in await tx.session.scalars(query)}
    changes: list[tuple[Alert, Change]] = []
    for key in keys:
        row, reading = rows.get(key), situation.readings.get(key)
        if reading is not None:
            threshold, change, incident = situation.outcome(row, reading)
            if row is None and incident is None:
                continue
            changes.append((_set(tx, row, reading, threshold, incident), change))
        elif row is not None and situation.is_gone(row):
            pending = row.state == AlertState.PENDING
            changes.append((row, Change.FORGET if pending else Change.RESOLVE))
    await _record(tx, situation, changes)


def _incident(row: Alert | None) -> Incident | None:
    if row is None:
        return None
    return Incident(AlertState(row.state), Level(row.level), row.began_at, row.acknowledged_until)


def _limit(threshold: Threshold, incident: Incident) -> float | None:
    return threshold.critical if incident.level is Level.CRITICAL else threshold.warning


def _differs(row: Alert, reading: Reading, threshold: Threshold, incident: Incident | None) -> bool:
    if reading.value is not None and reading.value != row.value:
        return True
    return incident is not None and (incident != _incident(row) or row.threshold != _limit(threshold, incident))


def _set(tx: UnitOfWork, row: Alert | None, reading: Reading, threshold: Threshold, incident: Incident | None) -> Alert:
    if row is None:
        row = Alert(open_key=open_key(reading), kind=reading.kind.value, subject=reading.subject, server=reading.server)
        tx.session.add(row)
    if reading.value is not None:
        row.value = reading.value
    if incident is not None:
        row.state, row.level = incident.state.value, incident.level.value
        row.began_at = incident.began_at
        row.acknowledged_until = incident.acknowledged_until
        row.threshold = _limit(threshold, incident)
    return row


async def _record(tx: UnitOfWork, situation: Situation, changes: Sequence[tuple[Alert, Change]]) -> None:
    """Keep what changed in the incidents' history, and tell it; all in a few statements, however many there are."""
    told: list[tuple[Alert, Change]] = []
    for row, change in changes:
        if change is Change.FORGET:
            await tx.session.delete(row)
            continue
        if change is Change.RESOLVE:
            row.state, row.open_key, row.resolved_at = AlertState.RESOLVED.value, None, situation.now
        if change is Change.RAISE:
            row.raised_at = situation.now
        if change not in (Change.NONE, Change.PEND):
            told.append((row, change))
    await tx.session.flush()
    lines = [
        AlertChange(alert_id=row.id, at=situation.now, what=change.value, level=row.level, value=row.value)
        for row, change in told
    ]
    tx.session.add_all(lines)
    await tx.session.flush()
    await note(tx, situation.audience, [(row, line) for (row, _), line in zip(told, lines, strict=True)], situation.now)
    for row, change in told:
        fact = AlertRaised if change in _NEWS else AlertResolved
        tx.emit(
            fact(
                alert_id=row.id,
                kind=row.kind,
                about=row.subject,
                server=row.server or "",
                level=row.level,
                value=row.value,
                threshold=row.threshold,
            )
        )
