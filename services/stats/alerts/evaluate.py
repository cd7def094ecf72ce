"""Holds the readings against the thresholds, and keeps one incident for each thing that is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import func, select

from services.stats.alerts.audience import load_audience
from services.stats.alerts.incidents import OF_MOUNTS, Situation, open_key, write
from services.stats.alerts.readings import readings
from services.stats.history.purge import FIVE_MINUTES
from shared.db.queries.tags import tags_by_server_name, with_scopes
from shared.db.stores.adoption import adopt
from shared.db.tables.alert import Alert, AlertRule, MaintenanceWindow
from shared.db.tables.base import db_now
from shared.db.tables.server import Server
from shared.db.tables.stats import ServerRollup
from shared.db.tables.storage import StoragePool
from shared.domain.alerts import (
    DEFAULTS,
    AlertKind,
    AlertState,
    Incident,
    Level,
    Threshold,
    evaluate,
    scopes,
)
from shared.errors import LeaseLost
from shared.runtime.leadership import Leadership
from shared.runtime.piecemeal import piecemeal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.stats.metrics.queries import Triple
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

_log = structlog.get_logger()
LEASE = "stats:alerts"
_LEASE_SECONDS = 45.0
_TREND_SECONDS = 6 * 3600
_TREND_POINTS = 6


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
        self._lead = Leadership(db, LEASE, _LEASE_SECONDS)

    async def evaluate(self, figures: list[Triple]) -> None:
        """Evaluate everything once, unless another replica does; however much is wrong, in short transactions."""
        if not await self._lead.taken():
            return
        await self._db.run(adopt)
        situation, keys = await self._db.run(lambda tx: _situation(tx, figures))

        async def write_led(some: Sequence[str]) -> None:
            await self._db.run(partial(self._write, situation, some))

        try:
            await piecemeal(keys, write_led, _leave)
        except LeaseLost as error:
            _log.warning("evaluation_passed_on", reason=error.message)

    async def _write(self, situation: Situation, keys: Sequence[str], tx: UnitOfWork) -> None:
        await self._lead.repeat(tx)
        await write(tx, situation, keys)

    async def release(self) -> None:
        """Let another replica evaluate at once."""
        await self._lead.release()


async def _leave(key: str, error: BaseException) -> None:
    """Leave an incident that cannot be written as it is: the others go on."""
    _log.error("incident_unwritten", incident=key, exc_info=error)


async def evaluate_thresholds(tx: UnitOfWork, figures: list[Triple]) -> None:
    """Open, change and close incidents in one transaction; each change is on the record, and told."""
    await adopt(tx)
    situation, keys = await _situation(tx, figures)
    await write(tx, situation, keys)


async def _situation(tx: UnitOfWork, figures: list[Triple]) -> tuple[Situation, list[str]]:
    """Read once what holds for all incidents; return it, and the keys of those that something happens to."""
    now = await tx.session.scalar(select(db_now())) or datetime.now(UTC)
    rules = await load_rules(tx, now)
    found = {open_key(reading): reading for reading in readings(figures, growth=await _growth(tx, now))}
    situation = Situation(
        now,
        rules,
        found,
        frozenset(await tx.session.scalars(select(Server.name))),
        frozenset(await tx.session.scalars(select(StoragePool.name))),
        await load_audience(tx, rules.tags, now),
        frozenset((one.kind.value, one.server) for one in found.values() if one.kind in OF_MOUNTS),
    )
    rows = {
        row.open_key or "": row for row in await tx.session.scalars(select(Alert).where(Alert.open_key.is_not(None)))
    }
    return situation, situation.concerned(rows)


async def load_rules(tx: UnitOfWork, now: datetime) -> Rules:
    """Read the thresholds that differ from the built-in ones, and the maintenance windows of now."""
    by_kind: dict[tuple[str, str], Threshold] = {}
    for rule, scope in await with_scopes(tx.session, AlertRule):
        if (threshold := _threshold(rule, now)) is not None:
            by_kind[rule.kind, scope] = threshold
    under_way = MaintenanceWindow.starts_at <= now, MaintenanceWindow.ends_at > now
    quiet = frozenset(scope for _, scope in await with_scopes(tx.session, MaintenanceWindow, *under_way))
    return Rules(by_kind, quiet, await tags_by_server_name(tx.session))


def _threshold(rule: AlertRule, now: datetime) -> Threshold | None:
    """Read a threshold; one that makes no sense, as of a newer version's kind, holds for nothing and stops no other."""
    try:
        below = DEFAULTS[AlertKind(rule.kind)].below
        found = Threshold(
            rule.warning, rule.critical, rule.for_seconds, rule.hysteresis, below=below, enabled=rule.enabled
        )
        evaluate(found, Incident(AlertState.PENDING, Level.WARNING, now), 0.0, now)
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        _log.error("threshold_unreadable", kind=rule.kind, server=rule.server, tag=rule.tag, reason=str(error)[:500])
        return None
    return found


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
