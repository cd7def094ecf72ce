"""What may befall periodic work: it hangs, it is stopped at any moment, the clock jumps, news comes while it works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from shared.errors import Transient
from shared.runtime import supervisor
from shared.runtime.board import Board
from shared.runtime.leadership import Leadership
from shared.runtime.supervisor import supervise
from shared.runtime.tasks import Periodic
from shared.telemetry.metrics import TaskMetrics
from tests.harness.patience import WAIT

NEVER = 10_000.0
DAY = 86_400.0


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def board(registry: CollectorRegistry) -> Board:
    return Board(TaskMetrics(registry))


class Rounds:
    """Work that the test lets begin and end."""

    def __init__(self) -> None:
        self.begun, self.ended = 0, 0
        self.gate = asyncio.Event()
        self.told: list[str] = []

    async def __call__(self, _stopping: asyncio.Event) -> None:
        self.begun += 1
        await self.gate.wait()
        self.ended += 1
        self.told.append("round")

    async def last_word(self, _stopping: asyncio.Event) -> None:
        self.told.append("last word")


class Lead:
    """A lease that fails a few times before it is taken."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.released = failures, 0

    async def taken(self) -> bool:
        self.failures -= 1
        if self.failures >= 0:
            message = "the database is away"
            raise Transient(message)
        return True

    async def release(self) -> None:
        self.released += 1

    def as_lead(self) -> Leadership:
        return cast("Leadership", self)


@asynccontextmanager
async def running(task: Periodic, board: Board) -> AsyncGenerator[tuple[asyncio.Event, asyncio.Task[None]]]:
    stopping = asyncio.Event()
    watched = asyncio.create_task(supervise(task, board, stopping))
    try:
        yield stopping, watched
    finally:
        watched.cancel()
        await asyncio.wait({watched})


async def until(probe: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT):
        while not probe():
            await asyncio.sleep(0.005)


async def ended(watched: asyncio.Task[None]) -> None:
    async with asyncio.timeout(WAIT):
        await watched


def last_success(registry: CollectorRegistry) -> float:
    return registry.get_sample_value("borgfleet_task_last_success_timestamp_seconds", {"task": "t"}) or 0.0


async def test_a_round_that_hangs_is_no_success_so_that_the_alert_on_its_age_is_raised(
    board: Board, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    wake, work = asyncio.Event(), Rounds()
    work.gate.set()
    async with running(Periodic("t", work, every=NEVER, wake=wake), board):
        await until(lambda: work.ended)
        work.gate.clear()
        now[0] = 2000.0
        wake.set()
        await until(lambda: work.begun == 2)
        now[0] = 3000.0
        wake.set()
        await asyncio.sleep(0.05)
        assert last_success(registry) == 1000.0
        assert work.begun == 2  # and no other round beside it
        work.gate.set()
        await until(lambda: last_success(registry) == 3000.0)


async def test_a_round_that_hangs_for_ever_is_cancelled_and_not_begun_again(board: Board) -> None:
    work = Rounds()
    async with running(Periodic("t", work, every=0.001), board) as (_, watched):
        await until(lambda: work.begun)
        watched.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ended(watched)
    assert (work.begun, work.ended) == (1, 0)


async def test_a_stop_while_it_works_waits_for_the_round_and_then_for_its_last_word(board: Board) -> None:
    work, lead = Rounds(), Lead()
    task = Periodic("t", work, every=0.001, lead=lead.as_lead(), last_word=work.last_word)
    async with running(task, board) as (stopping, watched):
        await until(lambda: work.begun)
        stopping.set()
        await asyncio.sleep(0.05)
        assert not watched.done()
        assert lead.released == 0
        work.gate.set()
        await ended(watched)
    assert work.told == ["round", "last word"]
    assert lead.released == 1


async def fails(_stopping: asyncio.Event) -> None:
    raise RuntimeError


async def nothing(_stopping: asyncio.Event) -> None: ...


@pytest.mark.parametrize(
    "task",
    [
        Periodic("t", nothing, every=NEVER),
        Periodic("t", nothing, every=NEVER, least=NEVER),
        Periodic("t", nothing, every=NEVER, wake=asyncio.Event()),
        Periodic("t", fails, every=0.001, after_trouble=NEVER),
    ],
    ids=["between two rounds", "in the least pause", "while it waits for news", "after trouble"],
)
async def test_a_stop_ends_every_wait_at_once(task: Periodic, board: Board) -> None:
    began: list[str] = []
    began_of = board.began
    board.began = lambda name: (began_of(name), began.append(name))[0]
    async with running(task, board) as (stopping, watched):
        await until(lambda: began)
        stopping.set()
        await ended(watched)
    assert began == ["t"]


def for_ever(_task: Periodic) -> float:
    return NEVER


async def test_a_stop_before_the_first_round_does_no_work(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_jitter", for_ever)
    work, lead = Rounds(), Lead()
    async with running(Periodic("t", work, every=1, jitter=NEVER, lead=lead.as_lead()), board) as (stopping, watched):
        await asyncio.sleep(0.05)
        stopping.set()
        await ended(watched)
    assert work.begun == 0
    assert lead.released == 1


@pytest.mark.parametrize("jump", [DAY * 400, -DAY * 400], ids=["ahead", "back"])
async def test_a_clock_that_jumps_neither_stops_the_rounds_nor_makes_them_a_storm(
    jump: float, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    often, seldom = Rounds(), Rounds()
    often.gate.set()
    seldom.gate.set()
    async with running(Periodic("t", often, every=0.001), board), running(Periodic("s", seldom, every=NEVER), board):
        await until(lambda: often.ended and seldom.ended)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + jump)
        seen = often.ended
        await until(lambda: often.ended > seen + 5)
        assert seldom.ended == 1


async def test_news_that_comes_while_it_works_is_not_lost(board: Board) -> None:
    wake, work = asyncio.Event(), Rounds()
    async with running(Periodic("t", work, every=NEVER, wake=wake), board):
        await until(lambda: work.begun)
        wake.set()
        work.gate.set()
        await until(lambda: work.ended == 2)
        assert not wake.is_set()


async def test_a_lease_that_cannot_be_asked_for_is_a_failure_and_asked_for_again(
    board: Board, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.runtime.board._RETRY_FIRST", 0.001)
    work = Rounds()
    work.gate.set()
    async with running(Periodic("t", work, every=NEVER, lead=Lead(failures=3).as_lead()), board):
        await until(lambda: work.ended)
    assert registry.get_sample_value("borgfleet_task_failures_total", {"task": "t"}) == 3
