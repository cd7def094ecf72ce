"""Who is ready without the message bus: the API only takes orders; were it unready too, the UI would go with NATS."""

from __future__ import annotations

from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from shared.errors import Permanent, Transient
from shared.runtime.board import Board
from shared.runtime.health import Health
from shared.runtime.tasks import Supervised
from shared.telemetry.metrics import KernelMetrics


class Silent:
    async def healthy(self) -> bool:
        return False


class Answers:
    async def healthy(self) -> bool:
        return True


class Base:
    def __init__(self, error: str = "") -> None:
        self._error = error

    async def require_writable(self) -> None:
        if self._error:
            raise Transient(self._error, code="database_read_only", remedy="-")


async def _nothing(_stopping: object) -> None: ...


def asked(base: Base, bus: object, *, needs_bus: bool, errors: dict[str, Exception]) -> tuple[int, dict[str, Any], str]:
    metrics = KernelMetrics(CollectorRegistry())
    board = Board(metrics.tasks)
    for name, error in errors.items():
        board.add(Supervised(name, _nothing))
        for _ in range(5):
            board.began(name)
            board.failed(name, error)
    health = Health(
        cast("Any", base), cast("Any", bus), metrics.registry, board, needs_bus=needs_bus, bus_up=metrics.bus_up
    )
    client = TestClient(health.app())
    answer = client.get("/readyz")
    return answer.status_code, answer.json(), client.get("/metrics").text


STALLED = Transient("-", code="bus_timeout", remedy="-")
CASES: dict[str, tuple[Base, object, bool, dict[str, Exception], int, str]] = {
    "all well": (Base(), Answers(), True, {}, 200, "ready"),
    "a worker without the bus": (Base(), Silent(), True, {}, 503, "unready"),
    "the API without the bus": (Base(), Silent(), False, {}, 200, "degraded"),
    "the API, its relay stalled by it": (Base(), Silent(), False, {"relay": STALLED}, 200, "degraded"),
    "a worker, its relay stalled by it": (Base(), Answers(), True, {"relay": STALLED}, 503, "unready"),
    "the API, a task down for itself": (
        Base(), Silent(), False, {"http": Permanent("-", code="port_taken", remedy="-")}, 503, "unready",
    ),
    "the API, a task that crashed": (Base(), Silent(), False, {"http": ValueError("bus_")}, 503, "unready"),
    "the API on a replica": (Base("can only be read"), Answers(), False, {}, 503, "unready"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_only_what_keeps_a_process_from_its_work_makes_it_unready(case: str) -> None:
    base, bus, needs_bus, errors, status, word = CASES[case]
    code, body, metrics = asked(base, bus, needs_bus=needs_bus, errors=errors)
    assert (code, body["status"]) == (status, word), body
    assert ("bus" in body["problems"] | body["degraded"]) == isinstance(bus, Silent)
    assert f"borgfleet_bus_up {float(isinstance(bus, Answers))}" in metrics
