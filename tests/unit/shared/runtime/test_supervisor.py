"""Whatever ends a task, it is started again, and the process says so; nothing else suffers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select, update

from shared.db.session import Database
from shared.db.tables.kernel import Lease
from shared.errors import Conflict, LeaseLost, Permanent, Transient
from shared.runtime import board as board_module
from shared.runtime import health as health_module
from shared.runtime import node_place, supervisor
from shared.runtime.board import STEADY_SECONDS, Board
from shared.runtime.health import Health
from shared.runtime.leadership import Leadership
from shared.runtime.service import Parts, Service
from shared.runtime.supervisor import run_services, supervise
from shared.runtime.tasks import Periodic, Supervised, Task, named
from shared.telemetry.metrics import TaskMetrics
from tests.harness.patience import WAIT

UNFORESEEN = [
    RuntimeError("oops"), RecursionError(), MemoryError(), OSError(28, "No space left on device"), KeyError("x"),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), asyncio.CancelledError(), StopAsyncIteration(),
]  # fmt: skip
FORESEEN = [Transient("away"), Permanent("no"), Conflict("taken"), LeaseLost("gone")]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def board(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setattr(board_module, "_RETRY_FIRST", 0.001)
    return Board(TaskMetrics(registry))


@asynccontextmanager
async def running(task: Task, board: Board) -> AsyncIterator[asyncio.Event]:
    stopping = asyncio.Event()
    watched = asyncio.create_task(supervise(task, board, stopping))
    try:
        yield stopping
    finally:
        stopping.set()
        async with asyncio.timeout(WAIT):
            await watched


async def until(probe: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT):
        while not probe():
            await asyncio.sleep(0.005)


def figure(registry: CollectorRegistry, name: str, task: str = "t") -> float:
    return registry.get_sample_value(f"borgfleet_task_{name}", {"task": task}) or 0.0


class Fails:
    """Work that fails a few times in one way and then goes well, or on."""

    def __init__(self, error: BaseException | None, times: int = 3, *, lasting: bool) -> None:
        self.error, self.times, self.lasting = error, times, lasting
        self.begun = 0

    async def __call__(self, stopping: asyncio.Event) -> None:
        self.begun += 1
        if self.begun <= self.times:
            if self.error is not None:
                raise self.error
            return
        if self.lasting:
            await stopping.wait()


@pytest.mark.parametrize("lasting", [False, True], ids=["periodic", "lasting"])
@pytest.mark.parametrize("error", [*UNFORESEEN, *FORESEEN], ids=lambda error: type(error).__name__)
async def test_whatever_ends_a_task_it_is_started_again(
    error: BaseException, lasting: bool, board: Board, registry: CollectorRegistry
) -> None:
    work = Fails(error, lasting=lasting)
    task: Task = Supervised("t", work) if lasting else Periodic("t", work, every=0.001)
    async with running(task, board):
        await until(lambda: work.begun > 3)
    assert figure(registry, "failures_total") == 3


async def test_lasting_work_that_returns_is_started_again_and_not_in_a_busy_loop(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def rest(_task: Task, seconds: float, _stopping: asyncio.Event) -> None:
        waits.append(seconds)

    monkeypatch.setattr(supervisor, "_rest", rest)
    work = Fails(None, times=4, lasting=True)
    async with running(Supervised("t", work), Board(TaskMetrics(registry))):
        await until(lambda: work.begun > 4)
    assert len(waits) == 4
    assert min(waits) > 0.5


def failing(board: Board, error: BaseException, times: int, name: str = "t") -> list[float]:
    delays = []
    for _ in range(times):
        board.began(name)
        delays.append(board.failed(name, error))
    return delays


async def nothing(_stopping: asyncio.Event) -> None: ...


@pytest.mark.parametrize("error", UNFORESEEN, ids=lambda error: type(error).__name__)
def test_what_nobody_foresaw_is_named_at_once_until_the_next_success(
    error: BaseException, registry: CollectorRegistry
) -> None:
    board = Board(TaskMetrics(registry))
    board.add(Periodic("t", nothing, every=1))
    failing(board, error, 1)
    assert type(error).__name__ in board.problems()["t"]
    board.began("t")
    assert "t" in board.problems()  # begun again is not recovered
    board.succeeded("t")
    assert board.problems() == {}


def test_what_passes_is_named_when_it_lasts(registry: CollectorRegistry) -> None:
    board = Board(TaskMetrics(registry))
    board.add(Periodic("t", nothing, every=1))
    failing(board, Transient("away", code="database_silent"), 2)
    assert board.problems() == {}
    failing(board, Transient("away", code="database_silent"), 1)
    assert "database_silent" in board.problems()["t"]


def test_lasting_work_has_recovered_when_it_has_run_for_a_while(registry: CollectorRegistry) -> None:
    clock = Clock()
    board = Board(TaskMetrics(registry), clock)
    board.add(Supervised("t", nothing))
    failing(board, RuntimeError(), 5)
    board.began("t")
    before = figure(registry, "last_success_timestamp_seconds")
    clock.now += STEADY_SECONDS / 2
    assert "5 times" in board.problems()["t"]
    assert figure(registry, "last_success_timestamp_seconds") == before
    clock.now += STEADY_SECONDS
    assert board.problems() == {}
    assert figure(registry, "last_success_timestamp_seconds") > before
    assert board.failed("t", RuntimeError()) < 2  # its back-off begins anew


def test_the_pause_grows_and_has_an_end(registry: CollectorRegistry) -> None:
    board = Board(TaskMetrics(registry))
    board.add(Periodic("t", nothing, every=1))
    delays = failing(board, RuntimeError(), 40)
    assert delays[:4] == [1, 2, 4, 8]
    assert max(delays) == delays[-1] == 60
    passing = failing(board, Transient("away"), 40)
    assert max(passing) <= 5  # what comes back by itself is not to be waited for long


def test_an_error_of_another_s_making_never_shows_its_words_to_whoever_asks(registry: CollectorRegistry) -> None:
    board = Board(TaskMetrics(registry))
    board.add(Periodic("t", nothing, every=1))
    failing(board, RuntimeError("password=hunter2"), 1)
    failing(board, Permanent("mysql://root:hunter2@db", code="internal"), 5)
    assert "hunter2" not in str(board.problems())


async def test_a_failing_task_is_not_woken_out_of_its_pause(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_module, "_RETRY_FIRST", 10 * WAIT)  # a pause that does not end by itself meanwhile
    monkeypatch.setattr(board_module, "_RETRY_CAP", 10 * WAIT)
    wake = asyncio.Event()
    wake.set()
    work = Fails(RuntimeError(), times=100, lasting=False)
    async with running(Periodic("t", work, every=0.001, wake=wake), Board(TaskMetrics(registry))):
        await until(lambda: work.begun)
        for _ in range(20):
            await asyncio.sleep(0)
        assert work.begun == 1


async def test_a_task_that_is_woken_works_at_once(board: Board) -> None:
    wake, work = asyncio.Event(), Fails(None, times=0, lasting=False)
    async with running(Periodic("t", work, every=10_000, wake=wake, jitter=0.001), board):
        await until(lambda: work.begun == 1)
        wake.set()
        await until(lambda: work.begun == 2)


async def test_of_two_processes_one_leads_and_the_other_is_well(db: Database, registry: CollectorRegistry) -> None:
    works = [Fails(None, times=0, lasting=False) for _ in range(2)]
    boards = [Board(TaskMetrics(registry)), Board(TaskMetrics(CollectorRegistry()))]
    leads = [Leadership(db, "thing", 1000) for _ in range(2)]
    async with running(Periodic("t", works[0], every=0.01, lead=leads[0]), boards[0]):
        await until(lambda: works[0].begun)
        async with running(Periodic("t", works[1], every=0.01, lead=leads[1]), boards[1]):
            await until(lambda: works[0].begun > 5)
            assert works[1].begun == 0
    assert figure(registry, "failures_total") == 0
    assert await leads[1].taken()  # given away at the end, not after a thousand seconds


async def test_who_no_longer_leads_writes_nothing_and_is_not_broken(db: Database, board: Board) -> None:
    lead, other = Leadership(db, "thing", 1000), Leadership(db, "thing", 1000)
    written, rounds = [], []

    async def work(_stopping: asyncio.Event) -> None:
        rounds.append(1)
        await db.run(lambda tx: tx.session.execute(update(Lease).values(until=datetime(2020, 1, 1, tzinfo=UTC))))
        assert await other.taken()  # as when this process slept

        async def write(tx: Any) -> None:
            await lead.repeat(tx)
            written.append(1)

        await db.run(write)

    async with running(Periodic("t", work, every=0.01, lead=lead), board):
        await until(lambda: rounds)
    assert written == []
    assert board.problems() == {}


async def test_a_last_word_that_fails_stops_nobody(board: Board) -> None:
    async def breaks(_stopping: asyncio.Event) -> None:
        raise RuntimeError

    async with running(Periodic("t", nothing, every=1, last_word=breaks), board):
        pass


class Process:
    """Services that run, with what their health says."""

    def __init__(self, parts: Parts, board: list[Board]) -> None:
        self.parts, self._boards = parts, board

    async def problems(self) -> dict[str, str]:
        return await Health(self.parts.db, self.parts.bus, self.parts.registry, self._boards[0]).problems()

    def figure(self, name: str, task: str) -> float:
        return figure(self.parts.registry, name, task)


@pytest.fixture
def process(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> Process:
    boards: list[Board] = []

    class Kept(Board):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            boards.append(self)

    async def serve(_app: object, _settings: object, stopping: asyncio.Event) -> None:
        await stopping.wait()  # no sockets in unit tests

    monkeypatch.setattr(supervisor, "Board", Kept)
    monkeypatch.setattr(supervisor, "serve", serve)
    monkeypatch.setattr(board_module, "_RETRY_FIRST", 0.001)
    monkeypatch.setattr(health_module, "_PROBE_SECONDS", WAIT)
    return Process(parts, boards)


@asynccontextmanager
async def process_of(process: Process, *tasks: Task) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    run = asyncio.create_task(run_services([Service("x", tasks=tasks)], process.parts, stopping))
    try:
        yield
    finally:
        stopping.set()
        async with asyncio.timeout(WAIT):
            await run


async def test_one_dead_task_is_named_and_the_others_work_on(process: Process) -> None:
    broken = asyncio.Event()
    broken.set()

    async def dies(_stopping: asyncio.Event) -> None:
        if broken.is_set():
            raise ZeroDivisionError

    other = Fails(None, times=0, lasting=False)
    async with process_of(process, Periodic("dies", dies, every=0.01), Periodic("other", other, every=0.01)):
        await until(lambda: process.figure("failures_total", "x:dies") > 2)
        assert set(await process.problems()) == {"x:dies"}
        begun = other.begun
        await until(lambda: other.begun > begun + 3)
        broken.clear()
        async with asyncio.timeout(WAIT):
            while await process.problems():
                await asyncio.sleep(0.01)


async def test_every_task_of_a_process_tells_when_it_last_succeeded(process: Process) -> None:
    async with process_of(process, Periodic("own", nothing, every=0.01)):
        for task in ("relay", "health", "presence", "x:own"):
            await until(lambda task=task: process.figure("last_success_timestamp_seconds", task))


async def test_nothing_runs_any_more_when_bus_and_database_are_closed(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[str] = []

    async def stubborn(_stopping: asyncio.Event) -> None:
        try:
            await asyncio.sleep(WAIT)
        finally:
            await asyncio.sleep(0.2)  # it takes a while to end
            ends.append("task")

    async def close() -> None:
        ends.append("closed")

    worker = process.parts.settings.worker.model_copy(update={"grace": 0.05})
    settings = process.parts.settings.model_copy(update={"worker": worker})
    process.parts = Parts(settings, process.parts.db, process.parts.bus, process.parts.registry)
    monkeypatch.setattr(process.parts.bus, "close", close)
    async with process_of(process, Supervised("stubborn", stubborn)):
        await until(lambda: process.figure("last_success_timestamp_seconds", "x:stubborn"))
    assert ends == ["task", "closed"]


async def test_a_node_keeps_its_name_while_its_work_takes_long_to_end(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_place, "_RENEW_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "_nodes", lambda _services: {"node1"})
    begun, may_end, stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(stopping: asyncio.Event) -> None:
        begun.set()
        await stopping.wait()
        await may_end.wait()

    async def lasts_until() -> datetime:
        async with process.parts.db.read() as session:
            return (await session.scalars(select(Lease.until).where(Lease.name == "node:node1"))).one()

    service = Service("x", tasks=(Supervised("slow", slow),))
    run = asyncio.create_task(run_services([service], process.parts, stopping))
    async with asyncio.timeout(WAIT):
        await begun.wait()
        stopping.set()
        for _ in range(5):  # one may have been under way
            last = await lasts_until()
            while await lasts_until() <= last:
                await asyncio.sleep(0.01)
        may_end.set()
        await run


async def test_supervision_that_ends_itself_ends_the_process_loudly(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Board, name: str) -> None:
        if name == "x:t":
            message = "a fault of the supervisor"
            raise AssertionError(message)

    monkeypatch.setattr(Board, "succeeded", broken)
    with pytest.raises(AssertionError, match="a fault of the supervisor"):
        async with asyncio.timeout(WAIT):
            await run_services([Service("x", tasks=(Periodic("t", nothing, every=1),))], process.parts, asyncio.Event())


def test_a_task_keeps_its_ways_under_its_full_name() -> None:
    task = named(Periodic("t", nothing, every=3, jitter=1), "service:t")
    assert (task.name, task) == ("service:t", Periodic("service:t", nothing, every=3, jitter=1))
    assert named(Supervised("t", nothing), "service:t") == Supervised("service:t", nothing)
