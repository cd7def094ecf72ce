"""From settings to running services."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from borgfleet.master_key import open_database, proven_database
from borgfleet.registry import SERVICES, SLOTS
from shared.bus.jetstream import JetStreamBus, connect
from shared.errors import Transient
from shared.runtime.service import Parts
from shared.runtime.supervisor import run_services, stop_on_signals
from shared.telemetry.metrics import denied_counter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import Counter

    from shared.config.settings import Settings
    from shared.runtime.board import Board

__all__ = ["open_database", "run"]
_PATIENCE = 60.0
_PAUSE = 1.0


async def run(
    settings: Settings,
    names: Sequence[str],
    stopping: asyncio.Event | None = None,
    watched: tuple[CollectorRegistry, Board] | None = None,
) -> None:
    """Run services by name in this process until a signal comes, beside tasks that are watched already."""
    stopping = stopping or asyncio.Event()
    stop_on_signals(stopping)
    registry, board = watched or (CollectorRegistry(), None)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    db = await proven_database(settings, slots=sum(SLOTS[name](settings) for name in names))
    bus = await _patiently(settings, "+".join(names), denied_counter(registry))
    parts = Parts(settings, db, bus, registry)
    await run_services([SERVICES[name](parts) for name in names], parts, stopping, board)


async def _patiently(settings: Settings, name: str, denied: Counter) -> JetStreamBus:
    """Wait a minute for a bus that is still starting."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        try:
            return await connect(
                settings.nats, name=f"borgfleet-{name}", denied=lambda direction: denied.labels(direction).inc()
            )
        except Transient:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(_PAUSE)
