"""A heartbeat that fails, for whatever reason, stops its run when the lease is over; a bus that is away does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.stores.jobs import Jobs
from shared.db.tables import Job
from shared.domain.job import JobType
from shared.errors import LeaseLost, Permanent, Transient
from shared.runtime.context import Abort, Context
from shared.runtime.disposition import Verdict, decide
from shared.runtime.heartbeat import Heartbeat
from shared.runtime.outcome import cancelled
from shared.runtime.service import Parts
from tests.harness.patience import WAIT


class Message:
    """A delivery that counts how often it was held, or fails to be."""

    subject, data, headers, deliveries, key = "s", b"{}", {}, 1, "k"

    def __init__(self, error: Exception | None = None) -> None:
        self.held = 0
        self.error = error

    async def in_progress(self) -> None:
        self.held += 1
        if self.error is not None:
            raise self.error


async def claimed(parts: Parts, seconds: float) -> Context:
    job = Job(type=JobType.SERVER_SETUP.value, title="t")
    await parts.db.run(lambda tx: tx.jobs.enqueue(job))
    ctx = Context(parts.db, parts.bus, key="k", lease_seconds=seconds)
    assert await ctx.claim(job.id)
    return ctx


async def beating(parts: Parts, ctx: Context, message: Message, until: Callable[[], Any]) -> None:
    """Let a heart beat beside a run that goes on for ever, until something is so."""
    task = asyncio.create_task(asyncio.sleep(WAIT))
    beat = asyncio.create_task(Heartbeat(message, ctx, task, parts.settings.worker).run())  # type: ignore[arg-type] - as much of a message as it needs
    try:
        async with asyncio.timeout(WAIT):
            while not until():
                await asyncio.sleep(0.01)
    finally:
        await cancelled(beat, task)


def on(monkeypatch: pytest.MonkeyPatch, call: str, does: Callable[[], Awaitable[Any]]) -> None:
    async def replaced(*_: Any, **__: Any) -> Any:
        return await does()

    monkeypatch.setattr(Jobs, call, replaced)


def failing(error: Exception) -> Callable[[], Awaitable[Any]]:
    async def fails() -> Any:
        raise error

    return fails


UNFORESEEN = [RuntimeError(), OverflowError(), OSError(28, "full"), Permanent("no", code="internal"), Transient("away")]


@pytest.mark.parametrize("call", ["beat", "cancel_requested"])
@pytest.mark.parametrize("error", UNFORESEEN, ids=lambda error: type(error).__name__)
async def test_whatever_fails_in_a_beat_stops_the_run_after_one_lease_and_not_before(
    quick_parts: Parts, monkeypatch: pytest.MonkeyPatch, call: str, error: Exception
) -> None:
    on(monkeypatch, call, failing(error))
    loop, lease = asyncio.get_running_loop(), quick_parts.settings.worker.lease
    began = loop.time()  # before the claim, which may take longer than the lease: it is over then before the first beat
    ctx = await claimed(quick_parts, lease)
    await beating(quick_parts, ctx, Message(), lambda: ctx.abort)
    assert ctx.abort is Abort.LEASE_LOST
    # A lease that is not renewed counts from the claim, however long that took; one that is, from the first failure.
    assert ctx.lease_left() <= lease * 0.1 if call == "beat" else loop.time() - began >= lease * 0.9
    # On a slow machine the last beat may have hung instead, which is no fault of the run either.
    met = ctx.heart_failed
    assert isinstance(met, (type(error), TimeoutError))
    verdict = decide(asyncio.CancelledError(), ctx, max_failures=3).verdict
    assert verdict is (Verdict.HAND_OVER if isinstance(met, (Transient, TimeoutError)) else Verdict.RETRY)


async def test_a_grant_that_cannot_be_written_stops_the_run_though_the_lease_is_renewed(quick_parts: Parts) -> None:
    ctx = await claimed(quick_parts, quick_parts.settings.worker.lease)

    def full(_epoch: int) -> None:
        raise OSError(28, "No space left on device")

    await ctx.hold("repository:x", "web1/system", on_beat=full)
    await beating(quick_parts, ctx, Message(), lambda: ctx.abort)
    assert ctx.abort is Abort.LEASE_LOST
    assert isinstance(ctx.heart_failed, OSError)


async def test_a_beat_that_hangs_stops_the_run(quick_parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "beat", lambda: asyncio.sleep(5))
    ctx = await claimed(quick_parts, quick_parts.settings.worker.lease)
    await beating(quick_parts, ctx, Message(), lambda: ctx.abort)
    assert ctx.abort is Abort.LEASE_LOST


@pytest.mark.parametrize("error", [Transient("away"), ConnectionResetError(), RuntimeError()], ids=repr)
async def test_a_bus_that_is_away_does_not_let_the_lease_run_out(quick_parts: Parts, error: Exception) -> None:
    ctx, message = await claimed(quick_parts, WAIT), Message(error)
    renewed = []
    real = ctx.beat

    async def beat() -> None:
        await real()
        renewed.append(1)

    ctx.beat = beat  # type: ignore[method-assign] - a stand-in for this one test
    await beating(quick_parts, ctx, message, lambda: len(renewed) >= 3)
    assert ctx.abort is None
    assert message.held >= 3


async def test_a_lost_lease_stops_the_run_at_once_whatever_its_length(
    quick_parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, "beat", failing(LeaseLost("gone")))
    ctx = await claimed(quick_parts, 10_000)
    await beating(quick_parts, ctx, Message(), lambda: ctx.abort)
    assert decide(asyncio.CancelledError(), ctx, max_failures=3).verdict is Verdict.LOST


async def test_a_run_that_has_claimed_nothing_is_never_stopped_for_its_lease(quick_parts: Parts) -> None:
    ctx = Context(quick_parts.db, quick_parts.bus, key="k", lease_seconds=0.0)
    message = Message()
    await beating(quick_parts, ctx, message, lambda: message.held >= 2)
    assert ctx.abort is None


async def test_lines_that_cannot_be_stored_are_left_out_and_that_is_said(
    db: Database, bus: MemoryBus, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, broken = Jobs.log, [RuntimeError("no"), None]

    async def log(jobs: Jobs, *arguments: Any) -> None:
        if (error := broken.pop(0)) is not None:
            raise error
        await real(jobs, *arguments)

    monkeypatch.setattr(Jobs, "log", log)
    ctx = await claimed(parts, 60)
    ctx.log("info", "borg", "one")
    ctx.log("info", "borg", "two")
    assert not await ctx.tick()
    assert not await ctx.tick()
    assert broken == []
