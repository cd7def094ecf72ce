"""The news that wakes the evaluation of alerts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from services.stats.alerts.evaluate import Alerts
from services.stats.metrics import snapshot as metrics
from services.stats.metrics.snapshot import MetricsSnapshot
from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.errors import Transient
from shared.runtime.board import Board
from shared.runtime.supervisor import supervise
from shared.telemetry.metrics import TaskMetrics
from tests.harness.patience import WAIT


class Flaky(MemoryBus):
    """A bus whose third subscription fails, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: Counter[str] = Counter()
        self.failures = 2

    async def listen(self, subject: str, heard: Callable[[], None]) -> None:
        if len(self.heard) == 2 and self.failures:
            self.failures -= 1
            message = "away"
            raise Transient(message)
        self.heard[subject] += 1


async def test_a_subscription_that_fails_is_made_again_and_the_others_are_not(db: Database) -> None:
    bus, registry, stopping = Flaky(), CollectorRegistry(), asyncio.Event()
    _, news = MetricsSnapshot(db, registry, Alerts(db)).tasks(bus)
    task = asyncio.create_task(supervise(news, Board(TaskMetrics(registry)), stopping))
    async with asyncio.timeout(WAIT):
        while len(bus.heard) < len(metrics.NEWS):
            await asyncio.sleep(0.02)
        stopping.set()
        await task
    assert set(bus.heard.values()) == {1}
