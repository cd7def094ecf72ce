"""What the stats service listens to, and what it keeps in order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from services.stats.alerts.evaluate import Alerts
from services.stats.alerts.notify import Notifier
from services.stats.collect.connection_pool import ConnectionPool
from services.stats.collect.probe import SshProbe
from services.stats.handlers import collect_stats
from services.stats.history.purge import StatsKeeper
from services.stats.metrics.snapshot import NEWS, MetricsSnapshot
from shared.events.alert import AlertRaised, AlertResolved
from shared.events.progress import JobChanged
from shared.events.server import ServerUnreachable
from shared.events.stats import ServerReachable, StatsCollect, StatsCollected
from shared.notify.process import ChildSender
from shared.runtime.service import Route, Service
from shared.ssh.asyncssh import AsyncSsh

if TYPE_CHECKING:
    from shared.runtime.service import Parts

_JOBS_AT_ONCE = 2


def build(parts: Parts) -> Service:
    """Wire the probe to connections that are kept between sweeps."""
    settings = parts.settings.stats
    # Kept connections are many and idle: a keep-alive every few seconds would be most of the work.
    patient = parts.settings.ssh.model_copy(update={"keepalive_interval": settings.keepalive_interval})
    kept = ConnectionPool(AsyncSsh(patient), limit=settings.kept_connections, idle_seconds=settings.idle_seconds)
    figures = MetricsSnapshot(parts.db, parts.registry, Alerts(parts.db))
    probe = SshProbe(kept, seconds=settings.answer_seconds)
    return Service(
        name="stats",
        routes=(
            Route(
                StatsCollect, partial(collect_stats, probe=probe, settings=settings, learnt=figures.wake), _JOBS_AT_ONCE
            ),
        ),
        emits=(
            StatsCollect,
            StatsCollected,
            ServerReachable,
            ServerUnreachable,
            AlertRaised,
            AlertResolved,
            JobChanged,
        ),
        hears=NEWS,
        tasks=(
            kept.task(),
            StatsKeeper(parts.db, parts.settings.keep).task(),
            *figures.tasks(parts.bus),
            Notifier(parts.db, ChildSender(parts.settings.notify.networks())).task(),
        ),
    )
