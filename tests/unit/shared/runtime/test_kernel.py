"""The kernel on SQLite and the in-memory bus: claim, heartbeat, disposition, relay, shutdown."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.bus.memory import MemoryBus
from shared.db.tables import Job, JobLog, OutboxRow
from shared.db.unit_of_work import UnitOfWork
from shared.domain.job import JobState
from shared.errors import Incident, LeaseLost, Permanent, Transient
from shared.events.backup import BackupRequested
from shared.events.streams import DEAD, JOBS
from shared.runtime import context as context_module
from shared.runtime.context import Abort, Context
from shared.runtime.disposition import Verdict, decide
from shared.runtime.relay import Relay
from shared.runtime.service import Parts
from tests.harness.kernel import Kernel, Runs, ended
from tests.harness.patience import WAIT

LEASE = timedelta(seconds=1.25)
SUBJECT = "backup.requested.node1"


@pytest.fixture
def kernel(parts: Parts) -> Kernel:
    return Kernel(parts)


async def finish(event: BackupRequested, ctx: Context) -> None:
    if await ctx.claim(event.job_id) is not None:
        ctx.log("info", "kernel", "done")
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED, result={"n": 1}))


async def test_a_queued_job_is_claimed_run_and_its_message_ended(kernel: Kernel) -> None:
    job = await kernel.queue()
    async with kernel.working(finish):
        row = await kernel.until(job, ended)
    assert (row.state, row.attempt, row.result) == ("succeeded", 1, {"n": 1})
    assert await kernel.parts.bus.count(JOBS, SUBJECT) == 0
    async with kernel.parts.db.read() as session:
        assert (await session.scalars(select(JobLog.message))).all() == ["done"]


async def test_a_message_delivered_three_times_runs_once(kernel: Kernel) -> None:
    job = await kernel.queue()
    for _ in range(2):
        await kernel.parts.bus.publish(SUBJECT, json.dumps({"job_id": str(job.id)}).encode(), {})
    async with kernel.working(finish, concurrency=3):
        await kernel.until(job, ended)
        async with asyncio.timeout(WAIT):
            while await kernel.parts.bus.count(JOBS, SUBJECT):
                await asyncio.sleep(0.02)
    assert (await kernel.row(job)).attempt == 1


async def test_a_passing_failure_is_tried_again_and_given_up_after_its_attempts(kernel: Kernel) -> None:
    failures: list[str] = []

    async def fails(event: BackupRequested, ctx: Context) -> None:
        await ctx.claim(event.job_id)
        raise Transient("storage is away", code="away", remedy="wait", retry_after=0.05)

    async def announce(_tx: Any, _job: Job, error: Any) -> None:
        failures.append(error.code)

    job = await kernel.queue()
    async with kernel.working(fails, on_failure=announce):
        row = await kernel.until(job, ended)
    assert (row.state, row.attempt, row.code) == ("failed", 2, "away")
    assert "after 2 attempts" in (row.reason or "")
    assert failures == ["away"]


async def test_an_unexpected_error_is_tried_again_and_then_said_plainly(kernel: Kernel) -> None:
    async def breaks(event: BackupRequested, ctx: Context) -> None:
        await ctx.claim(event.job_id)
        raise ZeroDivisionError("oops")

    job = await kernel.queue()
    await kernel.parts.db.run(lambda tx: tx.session.execute(update(Job).values(failures=1)))
    async with kernel.working(breaks):
        row = await kernel.until(job, ended)
    assert (row.state, row.code) == ("failed", "unexpected")
    assert "ZeroDivisionError" in (row.reason or "")


async def test_a_permanent_failure_ends_at_once(kernel: Kernel) -> None:
    async def refuses(event: BackupRequested, ctx: Context) -> None:
        await ctx.claim(event.job_id)
        raise Permanent("no", code="nope", remedy="do that")

    job = await kernel.queue()
    async with kernel.working(refuses):
        row = await kernel.until(job, ended)
    assert (row.state, row.attempt, row.code, row.remedy) == ("failed", 1, "nope", "do that")


@pytest.mark.parametrize("payload", [b"\xff", b"{}", b'{"job_id": "not-a-uuid"}', b'{"job_id": "%s"}' % (b"0" * 32)])
async def test_what_cannot_be_worked_on_is_dead_lettered_with_its_reason(kernel: Kernel, payload: bytes) -> None:
    async def handler(event: BackupRequested, ctx: Context) -> None:
        if event.job_id is None:
            raise Permanent("no job", code="job_missing")
        await ctx.claim(event.job_id)

    await kernel.parts.bus.publish(SUBJECT, payload, {"From": "outside"})
    async with kernel.working(handler), asyncio.timeout(WAIT):
        while (data := await kernel.parts.bus.last(DEAD, f"dead.{SUBJECT}")) is None:
            await asyncio.sleep(0.02)
    letter = json.loads(data)
    assert letter["reason"]
    assert letter["headers"] == {"From": "outside"}
    assert await kernel.parts.bus.count(JOBS, SUBJECT) == 0


async def test_a_long_run_outlives_its_first_lease(quick_parts: Parts) -> None:
    kernel, runs = Kernel(quick_parts), Runs()
    job = await kernel.queue()
    async with kernel.working(runs, concurrency=2):
        first = (await kernel.until(job, lambda row: row.lease_until is not None)).lease_until
        assert first is not None
        await kernel.until(job, lambda row: row.lease_until is not None and row.lease_until > first + LEASE)
        runs.go.set()
        row = await kernel.until(job, ended)
    assert row.state == "succeeded"
    assert runs.together == set()


async def test_progress_is_in_the_row_of_the_job(quick_parts: Parts) -> None:
    kernel, seen = Kernel(quick_parts), asyncio.Event()

    async def reads(event: BackupRequested, ctx: Context) -> None:
        if await ctx.claim(event.job_id) is None:
            return
        ctx.progress("reading", files=1)
        await seen.wait()
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED))

    job = await kernel.queue()
    async with kernel.working(reads):
        row = await kernel.until(job, lambda row: row.progress is not None)
        assert row.progress is not None
        assert row.progress["files"] == 1
        seen.set()
        await kernel.until(job, ended)


async def test_a_cancelled_run_is_stopped_and_ends_as_cancelled(kernel: Kernel) -> None:
    holding, cleaned = asyncio.Event(), asyncio.Event()

    async def runs(event: BackupRequested, ctx: Context) -> None:
        await ctx.claim(event.job_id)
        await ctx.hold("thing", "a thing", on_beat=lambda _epoch: None)
        try:
            holding.set()
            await asyncio.sleep(WAIT)
        finally:
            assert ctx.abort is Abort.CANCELLED
            cleaned.set()

    job = await kernel.queue()
    async with kernel.working(runs):
        await asyncio.wait_for(holding.wait(), WAIT)
        await kernel.parts.db.run(lambda tx: tx.jobs.request_cancel(job.id))
        row = await kernel.until(job, ended)
    assert (row.state, row.code) == ("cancelled", "cancelled")
    assert cleaned.is_set()
    assert await kernel.parts.db.run(lambda tx: tx.leases.holder("thing")) == ""


async def test_shutdown_hands_the_job_over_without_counting_a_failure(kernel: Kernel) -> None:
    async def runs(event: BackupRequested, ctx: Context) -> None:
        await ctx.claim(event.job_id)
        await asyncio.sleep(WAIT)

    job = await kernel.queue()
    async with kernel.working(runs):
        await kernel.until(job, lambda row: row.state == "running")
    row = await kernel.row(job)
    assert (row.state, row.failures, row.lease) == ("queued", 0, None)
    assert await kernel.parts.bus.count(JOBS, SUBJECT) == 1


async def test_a_run_that_is_told_to_stop_while_its_end_is_written_has_ended(kernel: Kernel) -> None:
    writing = asyncio.Event()

    async def runs(event: BackupRequested, ctx: Context) -> None:
        if await ctx.claim(event.job_id) is None:
            return

        async def end(tx: UnitOfWork) -> None:
            await ctx.finish(tx, JobState.SUCCEEDED)
            writing.set()
            while ctx.abort is None:
                await asyncio.sleep(0.01)

        await ctx.run(end)

    job = await kernel.queue()
    async with kernel.working(runs):
        await asyncio.wait_for(writing.wait(), WAIT)
    assert (await kernel.row(job)).state == "succeeded"
    assert await kernel.parts.bus.count(JOBS, SUBJECT) == 0


async def test_a_superseded_run_is_stopped_and_writes_nothing(quick_parts: Parts) -> None:
    kernel = Kernel(quick_parts)
    stopped = asyncio.Event()

    async def runs(event: BackupRequested, ctx: Context) -> None:
        if await ctx.claim(event.job_id) is None:
            return
        try:
            await asyncio.sleep(WAIT)
        finally:
            assert ctx.abort is Abort.LEASE_LOST
            stopped.set()

    job = await kernel.queue()
    async with kernel.working(runs):
        await kernel.until(job, lambda row: row.state == "running")
        await kernel.parts.db.run(lambda tx: tx.session.execute(update(Job).values(lease="another")))
        await asyncio.wait_for(stopped.wait(), WAIT)
    row = await kernel.row(job)
    assert (row.state, row.lease) == ("running", "another")


async def test_waiting_is_visible_and_no_attempt(kernel: Kernel) -> None:
    async def runs(event: BackupRequested, ctx: Context) -> None:
        if await ctx.claim(event.job_id) is None:
            return
        await ctx.hold("repository:x", "web1/system", on_beat=lambda _epoch: None)
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED))

    await kernel.parts.db.run(lambda tx: tx.leases.acquire("repository:x", "somebody", 60))
    job = await kernel.queue()
    async with kernel.working(runs):
        row = await kernel.until(job, lambda row: row.waiting_for is not None)
        assert (row.state, row.waiting_for, row.attempt) == ("queued", "web1/system", 0)
        await kernel.parts.db.run(lambda tx: tx.leases.release("repository:x", "somebody"))
        row = await kernel.until(job, ended)
    assert (row.state, row.attempt, row.failures) == ("succeeded", 1, 0)


async def lines(kernel: Kernel) -> list[JobLog]:
    async with kernel.parts.db.read() as session:
        return list(await session.scalars(select(JobLog).order_by(JobLog.seq)))


async def test_a_full_log_says_so_once(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_module, "LOG_LINES", 5)

    async def talks(event: BackupRequested, ctx: Context) -> None:
        await ctx.claim(event.job_id)
        for number in range(20):
            ctx.log("info", "borg", f"line {number}")
        while len(await lines(kernel)) < 6:
            await asyncio.sleep(0.02)
        ctx.log("info", "borg", "late")
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED))

    job = await kernel.queue()
    async with kernel.working(talks):
        await kernel.until(job, ended)
    found = await lines(kernel)
    assert [line.seq for line in found] == [1, 2, 3, 4, 5, 6]
    assert found[-1].code == "log_full"


async def test_the_relay_keeps_what_it_could_not_publish(kernel: Kernel, bus: MemoryBus) -> None:
    await kernel.queue()
    relay = Relay(kernel.parts.db, bus, kernel.metrics)
    bus.down = True
    with pytest.raises(Transient):
        await relay.publish_all()
    bus.down = False
    assert await relay.publish_all() == 2
    assert await relay.publish_all() == 0
    async with kernel.parts.db.read() as session:
        assert all((await session.scalars(select(OutboxRow.sent_at))).all())


async def test_a_bus_that_goes_away_and_comes_back_loses_nothing(kernel: Kernel, bus: MemoryBus) -> None:
    bus.down = True
    job = await kernel.queue()
    async with kernel.working(finish):
        async with asyncio.timeout(WAIT):
            while not kernel.parts.registry.get_sample_value("borgfleet_task_failures_total", {"task": "relay"}):
                await asyncio.sleep(0.02)
        bus.down = False
        row = await kernel.until(job, ended)
    assert row.state == "succeeded"


def test_decisions_follow_the_abort_before_the_error(parts: Parts) -> None:
    ctx = Context(parts.db, parts.bus, key="k", lease_seconds=1)
    assert decide(None, ctx, max_failures=3).verdict is Verdict.DONE
    assert decide(Permanent("x"), ctx, max_failures=3).verdict is Verdict.DEAD
    assert decide(Transient("x"), ctx, max_failures=3).verdict is Verdict.RETRY
    assert decide(LeaseLost("x"), ctx, max_failures=3).verdict is Verdict.LOST
    ctx.abort = Abort.SHUTDOWN
    assert decide(asyncio.CancelledError(), ctx, max_failures=3).verdict is Verdict.HAND_OVER
    ctx.abort = Abort.CANCELLED
    assert decide(Permanent("x"), ctx, max_failures=3).verdict is Verdict.CANCELLED
    for abort in (None, Abort.SHUTDOWN, Abort.CANCELLED):  # an attack is told, whatever ended the run
        ctx.abort = abort
        assert decide(Incident("x"), ctx, max_failures=3).verdict is Verdict.DEAD
    ctx.abort = Abort.LEASE_LOST
    assert decide(None, ctx, max_failures=3).verdict is Verdict.LOST
    assert decide(Incident("x"), ctx, max_failures=3).verdict is Verdict.LOST
