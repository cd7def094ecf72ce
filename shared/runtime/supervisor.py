"""Runs services in one event loop: every task is watched and started again; one stopping event ends them in order."""

from __future__ import annotations

import asyncio
import random
import signal
from functools import partial
from typing import TYPE_CHECKING

import structlog

from shared.domain.messages.jobs import TASK_ENDED
from shared.errors import AppError, LeaseLost, Permanent
from shared.runtime.board import Board
from shared.runtime.crashpoint import failpoint
from shared.runtime.health import Health, serve
from shared.runtime.node_place import NodePlace, here
from shared.runtime.pause import pause
from shared.runtime.presence import Presence
from shared.runtime.tasks import Periodic, Supervised, named
from shared.telemetry.metrics import KernelMetrics

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shared.runtime.service import Parts, Service
    from shared.runtime.tasks import SideTask, Task

_log = structlog.get_logger()
_RELAY_SECONDS = 5.0
_CANCEL_SECONDS = 15.0
"""How long a task that was cancelled may take: a transaction under way ends first (ADR 10)."""


async def supervise(task: Task, board: Board, stopping: asyncio.Event) -> None:
    """Run a task until `stopping`; whatever error ends it, it is started again, after a pause that grows."""
    board.add(task)
    if isinstance(task, Periodic) and task.jitter:
        await pause(_jitter(task), stopping)
    while not stopping.is_set():
        board.began(task.name)
        error = await _attempt(task, stopping)
        if isinstance(task, Supervised) and error is None and not stopping.is_set():
            error = Permanent(TASK_ENDED())
        if error is not None:
            await _rest(task, board.failed(task.name, error), stopping)
            continue
        board.succeeded(task.name)
        if isinstance(task, Periodic):
            await _until_next(task, stopping)
    if isinstance(task, Periodic):
        await _last_word(task, stopping)


async def _attempt(task: Task, stopping: asyncio.Event) -> BaseException | None:
    work = partial(_round, task) if isinstance(task, Periodic) else task.work
    return await _caught(partial(_probed, task.name, work), stopping)


async def _probed(name: str, work: SideTask, stopping: asyncio.Event) -> None:
    failpoint(f"task:{name}")
    await work(stopping)


async def _caught(work: SideTask, stopping: asyncio.Event) -> BaseException | None:
    """Return what ended some work, instead of raising it; only our own cancellation goes on."""
    try:
        await work(stopping)
    except asyncio.CancelledError as error:
        own = asyncio.current_task()
        if own is None or own.cancelling():
            raise
        return error  # a library's own, come loose: it must not end us unseen
    except Exception as error:  # noqa: BLE001 - the supervisor, the one place where everything is caught
        return error
    return None


async def _round(task: Periodic, stopping: asyncio.Event) -> None:
    if task.lead is not None and not await task.lead.taken():
        return
    try:
        await task.work(stopping)
    except LeaseLost as lost:
        if task.lead is None:
            raise
        _log.info("lead_lost", task=task.name, reason=lost.message)


async def _rest(task: Task, seconds: float, stopping: asyncio.Event) -> None:
    if isinstance(task, Periodic):
        # Not to be woken: what wakes it may be the very thing that fails.
        seconds = max(seconds, task.after_trouble) + _jitter(task)
    await pause(seconds, stopping)


async def _until_next(task: Periodic, stopping: asyncio.Event) -> None:
    least = min(task.least, task.every)
    if least:
        await pause(least, stopping)
    if task.wake is None:
        await pause(task.every - least + _jitter(task), stopping)
        return
    await pause(task.every - least + _jitter(task), stopping, task.wake)
    task.wake.clear()


async def _last_word(task: Periodic, stopping: asyncio.Event) -> None:
    """Say the last word and give the lead away; an error is told and stops nobody: the process is ending."""

    async def end(stopping: asyncio.Event) -> None:
        if task.last_word is not None:
            await task.last_word(stopping)
        if task.lead is not None:
            await task.lead.release()

    if error := await _caught(end, stopping):
        _log.warning("task_ended_badly", task=task.name, error=type(error).__name__)


def _jitter(task: Periodic) -> float:
    return random.uniform(0, task.jitter) if task.jitter else 0.0  # noqa: S311 - it spreads load, it keeps no secret


async def run_services(
    services: Sequence[Service], parts: Parts, stopping: asyncio.Event, board: Board | None = None
) -> None:
    """Run until `stopping`; workers and side tasks end first, then the relay publishes what they left.

    A board that is given already watches tasks of this process that outlive its services.
    """
    from shared.runtime.relay import Relay  # noqa: PLC0415 - relay and workers use what is above

    places = [NodePlace(parts.db, node, here(parts.settings.state_dir)) for node in _nodes(services)]
    try:
        for place in places:
            await place.take(stopping)
    except AppError:
        await parts.bus.close()
        await parts.db.close()
        raise
    metrics = KernelMetrics(parts.registry, board.metrics if board else None)
    board = board or Board(metrics.tasks)
    relay_stopping = asyncio.Event()
    sweeps = any(service.sweeps for service in services)
    relay = asyncio.create_task(
        supervise(Relay(parts.db, parts.bus, metrics, sweeps=sweeps).task(), board, relay_stopping), name="relay"
    )
    watched = [
        asyncio.create_task(supervise(task, board, stopping), name=task.name)
        for task in _tasks(services, parts, metrics, board)
    ]
    # A node's name is kept until the last of its work has ended, however long a stop may take.
    keepers = [
        asyncio.create_task(supervise(place.task(stopping), board, relay_stopping), name="place") for place in places
    ]
    _log.info("started", services=[service.name for service in services])
    try:
        await _stopped(stopping, [relay, *keepers, *watched])
        _log.info("stopping")
        await asyncio.wait(watched, timeout=parts.settings.worker.grace)
    finally:
        await _end([task for task in watched if not task.done()], "stopped_late")
        relay_stopping.set()
        await asyncio.wait({relay, *keepers}, timeout=_RELAY_SECONDS)
        await _end([task for task in (relay, *keepers) if not task.done()], "relay_stopped_late")
        for place in places:
            await place.leave()
        await parts.bus.close()
        await parts.db.close()
        _log.info("stopped")


def _nodes(services: Sequence[Service]) -> set[str]:
    return {service.node for service in services if service.node}


async def _stopped(stopping: asyncio.Event, watched: Sequence[asyncio.Task[None]]) -> None:
    """Wait for the stop. That supervision itself ends is a fault of ours: the process ends, so that it is noticed."""
    stop = asyncio.create_task(stopping.wait())
    try:
        done, _ = await asyncio.wait({stop, *watched}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
    if stop not in done and not stopping.is_set():
        stopping.set()
        for task in done:
            _log.critical("supervision_ended", task=task.get_name())
            await task


async def _end(late: Collection[asyncio.Task[None]], event: str) -> None:
    """Cancel tasks and wait until they have ended, but not for ever: bus and database close after them."""
    for task in late:
        _log.warning(event, task=task.get_name())
        task.cancel()
    if late:
        _, lost = await asyncio.wait(late, timeout=_CANCEL_SECONDS)
        for task in lost:
            _log.error("abandoned", task=task.get_name())


def _tasks(services: Sequence[Service], parts: Parts, metrics: KernelMetrics, board: Board) -> list[Task]:
    from shared.runtime.worker import Worker  # noqa: PLC0415 - as in run_services

    health = Health(
        parts.db,
        parts.bus,
        parts.registry,
        board,
        needs_bus=any(service.needs_bus for service in services),
        bus_up=metrics.bus_up,
    )
    tasks: list[Task] = [
        Supervised("health", partial(serve, health.app(), parts.settings.health)),
        Presence(parts.db, services).task(),
    ]
    for service in services:
        for route in service.routes:
            worker = Worker(route, parts.db, parts.bus, parts.settings.worker, metrics)
            tasks += [named(task, f"{service.name}:{task.name}") for task in worker.tasks()]
        tasks += [named(task, f"{service.name}:{task.name}") for task in service.tasks]
    return tasks


def stop_on_signals(stopping: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT end the process in order; a second SIGINT ends it at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
