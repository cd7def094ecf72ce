"""A row or a message that makes no sense ends, with its cause; the slot that met it takes the next one.

On the memory bus with SQLite, and on JetStream with MariaDB.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select, text

from shared.bus.port import MESSAGE_ID, too_large
from shared.config.settings import Settings
from shared.db.session import Database
from shared.db.tables import DeadLetter
from shared.domain.ids import new_id
from shared.domain.job import JobState
from shared.errors import Conflict, Permanent, Transient
from shared.events.backup import BackupRequested
from shared.events.streams import DEAD, JOBS
from shared.runtime import board, disposition, worker
from shared.runtime.board import Board
from shared.runtime.context import Context
from shared.runtime.delivery import send_dead_letter
from shared.runtime.service import Parts
from tests.harness.kernel import Kernel, ended
from tests.harness.pairs import PAIRS
from tests.harness.patience import WAIT

PARAMS = ("[1]", "null", '{"max_failures": "many"}', '{"retry_seconds": 1e300}', '{"scheduled": 5}')
_node = itertools.count(1)


@pytest.fixture
def failed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the tasks met that ended them: nothing, where a slot is not to end with what it works on."""
    found: list[str] = []
    real = Board.failed

    def noted(board_: Board, name: str, error: BaseException) -> float:
        found.append(f"{name}: {error!r}")
        return real(board_, name, error)

    monkeypatch.setattr(Board, "failed", noted)
    return found


@pytest.fixture
def kernel(bus: Any, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    settings = Settings.model_validate({"data_dir": tmp_path, "worker": {"ack_wait": WAIT, "max_failures": 3}})

    def soon(*_: object) -> float:
        return 0.05

    monkeypatch.setattr(disposition, "backoff", soon)
    monkeypatch.setattr(board, "_RETRY_FIRST", 0.05)
    return Kernel(Parts(settings, db, bus, CollectorRegistry()), node=f"nonsense{next(_node)}")


class Handler:
    """Claims its job and ends as told; knows what it claimed."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.begun: list[Any] = []
        self._error = error

    async def __call__(self, event: BackupRequested, ctx: Context) -> None:
        assert event.job_id is not None
        if (job := await ctx.claim(event.job_id)) is None:
            return
        self.begun.append(job.id)
        if self._error is not None:
            raise self._error
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED))


@PAIRS
@pytest.mark.parametrize("params", PARAMS)
async def test_a_job_whose_parameters_make_no_sense_ends_with_that_and_stops_no_slot(
    kernel: Kernel, failed: list[str], params: str
) -> None:
    bad = await kernel.queue()
    async with kernel.parts.db.transaction() as tx:
        change = text("UPDATE jobs SET params = :params WHERE node = :node")
        await tx.session.execute(change, {"params": params, "node": kernel.node})
    handler = Handler()
    async with kernel.working(handler):
        now = await kernel.until(bad, ended)
        good = await kernel.queue()
        await kernel.until(good, ended)
        assert (now.state, now.code, now.attempt) == ("failed", "job_params_invalid", 1)
        assert handler.begun == [good.id], "nothing was done for what nobody could have asked for"
        assert await kernel.parts.db.run(lambda tx: tx.jobs.retry(now))
        again = await kernel.until(bad, lambda row: row.run == 1 and ended(row))
        # Asked for by hand it keeps no hours: that is left out, and makes sense then.
        assert again.code == (None if "scheduled" in params else "job_params_invalid")
    assert failed == []


class Unspeakable(Exception):
    """An error that has no words: whoever asks for them meets another one."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@PAIRS
async def test_an_error_that_breaks_its_judge_ends_its_job_and_stops_no_slot(kernel: Kernel, failed: list[str]) -> None:
    job = await kernel.queue()
    async with kernel.working(Handler(Unspeakable())):
        now = await kernel.until(job, ended)
    assert (now.state, now.code) == ("failed", "unexpected")
    assert failed == []


@PAIRS
async def test_a_database_that_is_away_while_it_is_judged_costs_no_slot(
    kernel: Kernel, failed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Context] = []

    async def requested(ctx: Context) -> bool:
        asked.append(ctx)
        if len(asked) == 1:
            raise Transient("the database is away", code="database_unreachable", retry_after=0.05)
        return True

    async def handler(_event: BackupRequested, _ctx: Context) -> None:
        raise Conflict("it is there already", code="request_repeated")

    monkeypatch.setattr(Context, "requested", requested)
    job = await kernel.queue()
    async with kernel.working(handler):
        async with asyncio.timeout(WAIT):
            while len(asked) < 2 or await kernel.parts.bus.count(JOBS, kernel.subject):
                await kernel.row(job)
    assert failed == []


class Deaf:
    """A bus whose stream of dead letters takes nothing, or nothing with what arrived."""

    def __init__(self, bus: Any, *, whole: bool) -> None:
        self._bus = bus
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        if subject.startswith("dead.") and (self._whole or len(payload) > 2000):
            raise too_large()
        await self._bus.publish(subject, payload, headers)


@PAIRS
@pytest.mark.parametrize("whole", [False, True], ids=["with what arrived", "at all"])
async def test_a_dead_letter_that_is_refused_does_not_come_again_for_ever(
    kernel: Kernel, failed: list[str], *, whole: bool
) -> None:
    bus = kernel.parts.bus
    deaf: Any = Deaf(bus, whole=whole)
    kernel.parts = Parts(kernel.parts.settings, kernel.parts.db, deaf, CollectorRegistry())
    await bus.publish(kernel.subject, b"\xff" * 5000, {f"H{n}": "x" * 100 for n in range(50)})
    async with kernel.working(Handler()):
        good = await kernel.queue()
        await kernel.until(good, ended)
        while await bus.count(JOBS, kernel.subject):
            await kernel.row(good)
    async with kernel.parts.db.read() as session:
        assert await session.scalar(select(func.count()).select_from(DeadLetter)) == 1
    kept = await bus.last(DEAD, f"dead.{kernel.subject}")
    assert (kept is None) == whole
    assert failed == []


@PAIRS
async def test_a_dead_letter_of_a_job_tells_its_cause_whatever_words_it_has(kernel: Kernel, failed: list[str]) -> None:
    async def handler(event: BackupRequested, ctx: Context) -> None:
        raise Permanent("no \udcff" * 10, code="c" * 200)

    job = await kernel.queue()
    async with kernel.working(handler):
        now = await kernel.until(job, ended)
    assert now.state == "failed"
    assert str(now.code).startswith("c" * 59)
    assert failed == []


def guesses(key: str) -> list[str]:
    """Return ids that somebody may try who sees the message, and knows how Borgfleet is written but not its key."""
    info = b"borgfleet keyed id: dead letter"
    plain = [key, f"dead:{key}", f"dead letter:{key}", hashlib.sha256(key.encode()).hexdigest()]
    return plain + [hmac.digest(secret, key.encode(), "sha256").hex() for secret in (b"", info, b"borgfleet")]


@PAIRS
async def test_nobody_outside_can_hide_a_dead_letter_by_publishing_its_id_first(
    kernel: Kernel, failed: list[str]
) -> None:
    bus, dead = kernel.parts.bus, f"dead.{kernel.subject}"
    consumer = await bus.consumer(JOBS, kernel.subject, ack_wait=WAIT)
    await bus.publish(kernel.subject, b"bad", {})
    seen = await consumer.fetch(WAIT)
    assert seen is not None
    for guess in guesses(seen.key):
        await bus.publish(dead, b"hides it", {MESSAGE_ID: guess})
    hiding = await bus.count(DEAD, dead)
    # A worker that dies between the letter and the end of the message: it comes again, and the letter does not.
    await send_dead_letter(kernel.parts.db, bus, seen, Permanent("bad", code="undecodable"))
    await seen.nak()
    await consumer.close()
    async with kernel.working(Handler()):
        async with asyncio.timeout(WAIT):
            while await bus.count(JOBS, kernel.subject):
                await asyncio.sleep(0.02)
    assert await bus.count(DEAD, dead) == hiding + 1
    assert json.loads(await bus.last(DEAD, dead) or b"{}").get("payload") == "bad"
    assert failed == []


async def test_messages_that_another_worker_ended_fill_no_memory(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_COUNTED", 10)
    route: Any = None
    one = worker.Worker(route, kernel.parts.db, kernel.parts.bus, kernel.parts.settings.worker, kernel.metrics)
    for _ in range(50):
        one._count(str(new_id()), 1)
    one._count("last", 2)
    assert len(one._failures) == 10
    assert one._failures["last"] == 2
