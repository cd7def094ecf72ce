"""Runs services in one event loop: workers, relay, side tasks, health; one stopping event ends them in order."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import structlog

from shared.runtime.health import Health, serve
from shared.runtime.presence import Presence
from shared.runtime.relay import Relay
from shared.runtime.worker import Worker
from shared.telemetry.metrics import KernelMetrics

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from shared.runtime.service import Parts, Service, SideTask

_log = structlog.get_logger()
_RESTART_SECONDS = 1.0
_RELAY_SECONDS = 5.0


async def run_services(services: Sequence[Service], parts: Parts, stopping: asyncio.Event) -> None:
    """Run until `stopping`; workers and side tasks end first, then the relay publishes what they left."""
    metrics = KernelMetrics(parts.registry)
    relay_stopping = asyncio.Event()
    relay = asyncio.create_task(Relay(parts.db, parts.bus, metrics).run(relay_stopping))
    tasks = [asyncio.create_task(work) for work in _work(services, parts, metrics, stopping)]
    _log.info("started", services=[service.name for service in services])
    try:
        await stopping.wait()
        _log.info("stopping")
        _, late = await asyncio.wait(tasks, timeout=parts.settings.worker.grace)
        for task in late:
            _log.warning("stopped_late", task=task.get_name())
            task.cancel()
    finally:
        relay_stopping.set()
        await asyncio.wait({relay}, timeout=_RELAY_SECONDS)
        relay.cancel()
        await parts.bus.close()
        await parts.db.close()
        _log.info("stopped")


def _work(
    services: Sequence[Service], parts: Parts, metrics: KernelMetrics, stopping: asyncio.Event
) -> list[Coroutine[None, None, None]]:
    health = Health(parts.db, parts.bus, parts.registry)
    work: list[Coroutine[None, None, None]] = [serve(health.app(), parts.settings.health, stopping)]
    work.append(_kept_alive("presence", Presence(parts.db, services).keep, stopping))
    for service in services:
        for route in service.routes:
            worker = Worker(route, parts.db, parts.bus, parts.settings.worker, metrics)
            work.append(_kept_alive(f"{service.name}:{route.subject}", worker.run, stopping))
        work.extend(_kept_alive(f"{service.name}:{name}", task, stopping) for name, task in service.tasks)
    return work


async def _kept_alive(name: str, task: SideTask, stopping: asyncio.Event) -> None:
    """Run a task until stopping; one that breaks is logged and started again."""
    while not stopping.is_set():
        try:
            await task(stopping)
        except Exception:  # noqa: BLE001 - the supervisor, one of the two places where everything is caught
            _log.exception("task_crashed", task=name)
            await asyncio.sleep(_RESTART_SECONDS)


def stop_on_signals(stopping: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT end the process in order; a second SIGINT ends it at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
