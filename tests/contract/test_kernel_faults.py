"""A worker meets errors that nobody foresaw: the run concerned begins anew and ends, the others go on, nothing runs twice.

On the memory bus with SQLite, and on JetStream with MariaDB.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select
from sqlalchemy.exc import DataError, InvalidRequestError, StatementError

from shared.config.settings import Settings
from shared.db.session import Database
from shared.db.stores.jobs import Jobs
from shared.db.tables import DeadLetter, Job
from shared.domain.job import JobState
from shared.errors import Permanent, Transient
from shared.events.backup import BackupRequested
from shared.events.streams import JOBS
from shared.runtime import board, disposition
from shared.runtime.context import Abort, Context
from shared.runtime.service import Parts
from tests.harness.kernel import Kernel, Runs, ended
from tests.harness.pairs import PAIRS
from tests.harness.patience import WAIT

ERRORS: tuple[Callable[[], Exception], ...] = (
    lambda: OverflowError("Python int too large to convert to SQLite INTEGER"),
    lambda: DataError("UPDATE jobs", {}, Exception(1406, "Data too long for column")),
    lambda: StatementError("'str' object has no attribute 'hex'", "UPDATE jobs", {}, AttributeError()),
    lambda: InvalidRequestError("This session is in 'prepared' state"),
    lambda: RecursionError("maximum recursion depth exceeded"),
    lambda: UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
    lambda: Permanent("the database refused it", code="internal"),
    lambda: OSError(28, "No space left on device"),
)
_node = itertools.count(1)


@pytest.fixture
def kernel(bus: Any, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A lease of three seconds and a third: a run may lose it at any time on a slow machine, and then begins anew."""
    worker = {"ack_wait": 4, "cancel_poll": 0.1, "max_failures": 50}
    settings = Settings.model_validate({"data_dir": tmp_path, "worker": worker})
    monkeypatch.setattr(disposition, "backoff", lambda *_: 0.05)
    monkeypatch.setattr(board, "_RETRY_FIRST", 0.05)
    return Kernel(Parts(settings, db, bus, CollectorRegistry()), node=f"faults{next(_node)}")


class Faults:
    """Errors that calls of the queue's rows raise: for each victim one kind, so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: str, *, times: int = 1) -> None:
        self.victims: dict[uuid.UUID, Callable[[], Exception]] = {}
        self.met: Counter[uuid.UUID] = Counter()
        self._times = times
        real = getattr(Jobs, call)

        async def faulty(jobs: Jobs, job: Any, *arguments: Any, **named: Any) -> Any:
            job_id = job.id if isinstance(job, Job) else job
            if job_id in self.victims and self.met[job_id] < self._times:
                self.met[job_id] += 1
                error = self.victims[job_id]()
                raise error
            return await real(jobs, job, *arguments, **named)

        monkeypatch.setattr(Jobs, call, faulty)


async def beaten(kernel: Kernel, job: Job) -> None:
    """Wait until a run's heartbeat has renewed its lease."""
    lease_until = (await kernel.row(job)).lease_until
    await kernel.until(job, lambda row: row.lease_until is not None and row.lease_until != lease_until)


@PAIRS
@pytest.mark.parametrize("call", ["claim", "finish", "put_back", "log", "beat", "cancel_requested"])
async def test_an_error_in_one_run_leaves_the_others_alone_and_begins_nothing_twice(
    kernel: Kernel, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A log line that fails for good goes as one; what fails twice in a row at its end gives the job back without it.
    runs, faults = Runs(), Faults(monkeypatch, call, times=2)
    victims = [await kernel.queue() for _ in ERRORS]
    faults.victims = {job.id: error for job, error in zip(victims, ERRORS, strict=True)}

    async def work(event: BackupRequested, ctx: Context) -> None:
        if event.job_id in faults.victims and call == "put_back":
            await ctx.claim(event.job_id)
            if faults.met[event.job_id] < 2:
                raise Transient("tried again", code="away")
            await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED))
            return
        if event.job_id in faults.victims and call in {"claim", "finish"}:
            if await ctx.claim(event.job_id) is not None:
                await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED))
            return
        await runs(event, ctx)

    async with kernel.working(work, concurrency=len(ERRORS) + 2):
        others = [await kernel.queue() for _ in range(2)]
        async with asyncio.timeout(WAIT):
            while not all(faults.met[job.id] >= 2 for job in victims):
                await asyncio.sleep(0.02)
        for job in others:
            await kernel.until(job, lambda row: row.state == "running")
            await beaten(kernel, job)
        runs.go.set()
        for job in [*victims, *others]:
            assert (await kernel.until(job, ended)).state == "succeeded"
    assert runs.together == set()
    assert [row.state for row in await kernel.rows()] == ["succeeded"] * (len(victims) + len(others))


@PAIRS
async def test_a_heartbeat_that_cannot_beat_stops_its_run_when_the_lease_is_over(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, faults = Runs(), Faults(monkeypatch, "beat", times=1_000_000)
    job = await kernel.queue()
    faults.victims = {job.id: ERRORS[0]}
    async with kernel.working(runs, concurrency=2):
        async with asyncio.timeout(WAIT):
            while not runs.aborts:
                await asyncio.sleep(0.02)
        assert runs.aborts[0] == (job.id, Abort.LEASE_LOST)
        faults.victims.clear()
        runs.go.set()
        row = await kernel.until(job, ended)
    assert row.state == "succeeded"
    assert row.attempt >= 2
    assert runs.together == set()


@PAIRS
async def test_a_run_whose_end_can_never_be_written_as_it_is_ends_as_failed_and_says_why(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the run logged cannot be stored, whatever is tried: it must not begin again and again."""
    job = await kernel.queue(params={"max_failures": 2})
    faults = Faults(monkeypatch, "log", times=1_000_000)
    faults.victims = {job.id: ERRORS[1]}

    async def fails(event: BackupRequested, ctx: Context) -> None:
        if await ctx.claim(event.job_id) is not None:
            ctx.log("error", "borg", "what nobody can store")
            raise Transient("no", code="away")

    async with kernel.working(fails):
        row = await kernel.until(job, ended)
    assert (row.state, row.code) == ("failed", "unexpected")
    assert row.attempt >= 2
    assert "could not be written" in (row.reason or "")


@PAIRS
async def test_a_job_that_can_never_be_claimed_ends_with_a_dead_letter(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await kernel.queue()
    faults = Faults(monkeypatch, "claim", times=1_000_000)
    faults.victims = {job.id: ERRORS[6]}
    kernel.parts.settings.worker.__dict__["max_failures"] = 3
    async with kernel.working(Runs()):
        row = await kernel.until(job, ended)
        async with asyncio.timeout(WAIT):
            while await kernel.parts.bus.count(JOBS, kernel.subject):
                await asyncio.sleep(0.02)
    assert (row.state, row.code, row.attempt) == ("failed", "internal", 0)


HOSTILE = ["\udcff", "\x00", "\ud800 and \udfff", "\u202etxt.exe", "x" * 100_000, "\x1b[2J", "🦊" * 20_000, "a\r\nb"]


@PAIRS
async def test_whatever_a_run_says_it_runs_once_and_its_words_are_kept(kernel: Kernel) -> None:
    texts: dict[uuid.UUID, str] = {}
    begun = Counter[uuid.UUID]()

    async def says(event: BackupRequested, ctx: Context) -> None:
        job = await ctx.claim(event.job_id) if event.job_id else None
        if job is None:
            return
        begun[job.id] += 1
        text = texts[job.id]
        ctx.log(text, text, text, code=text)
        ctx.progress(text, path=text, files=1)
        await patiently(ctx.beat)
        await patiently(ctx.tick)
        ctx.log("info", "borg", text)
        hostile = {"path": text, text: [text, float("nan"), float("inf"), 2**70], "deep": deep(200)}
        await ctx.run(lambda tx: ctx.finish(tx, JobState.WARNING, warnings=[text], result=hostile))

    jobs = [await kernel.queue() for _ in HOSTILE]
    texts.update({job.id: text for job, text in zip(jobs, HOSTILE, strict=True)})
    async with kernel.working(says, concurrency=4):
        for job in jobs:
            row = await kernel.until(job, ended)
            assert (row.state, begun[job.id], row.failures) == ("warning", row.attempt, 0), ascii(texts[job.id][:20])
            assert row.warnings[0][:1] == row.result["path"][:1] != ""


async def patiently(call: Callable[[], Awaitable[Any]]) -> None:
    """As the heartbeat does: a deadlock with another run's lines is no end of this one."""
    async with asyncio.timeout(WAIT):
        while True:
            try:
                await call()
            except Transient as error:
                if error.code != "database_busy":
                    raise
                await asyncio.sleep(0.02)
            else:
                return


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


@PAIRS
async def test_whatever_an_error_says_its_job_ends_with_it(kernel: Kernel) -> None:
    texts: dict[uuid.UUID, str] = {}

    async def fails(event: BackupRequested, ctx: Context) -> None:
        job = await ctx.claim(event.job_id) if event.job_id else None
        if job is not None:
            raise Permanent(texts[job.id], code=texts[job.id], remedy=texts[job.id])

    jobs = [await kernel.queue() for _ in HOSTILE]
    texts.update({job.id: text for job, text in zip(jobs, HOSTILE, strict=True)})
    async with kernel.working(fails, concurrency=4):
        for job in jobs:
            row = await kernel.until(job, ended)
            assert row.state == "failed"
            assert row.reason


@PAIRS
async def test_one_request_delivered_twice_at_once_is_done_once_and_no_dead_letter(kernel: Kernel) -> None:
    """Both deliveries look before either has written: the unique key tells the second that it was done before."""
    together = asyncio.Barrier(2)
    looked: list[bool] = []

    async def place(event: BackupRequested, ctx: Context) -> None:
        async def ask(tx: Any) -> None:
            await tx.jobs.enqueue(Job(type="server_setup", title="t", request_key="the same"))

        ctx._key = "the same"  # two messages stand for two deliveries of one
        looked.append(await ctx.requested())
        if len(looked) <= 2:
            await together.wait()
        await ctx.run(ask)

    async with kernel.working(place, concurrency=2):
        for _ in range(2):
            await kernel.parts.bus.publish(kernel.subject, b"{}", {})
        async with asyncio.timeout(WAIT):
            while await kernel.parts.bus.count(JOBS, kernel.subject):
                await asyncio.sleep(0.02)
    assert looked[:2] == [False, False]
    async with kernel.parts.db.read() as session:
        assert await session.scalar(select(func.count()).select_from(DeadLetter)) == 0
        assert await session.scalar(select(func.count()).select_from(Job)) == 1
