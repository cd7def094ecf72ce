"""The relay between the outbox and the bus: one event that cannot be published stops no other, and is told of.

On the memory bus with SQLite, and on JetStream with MariaDB.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select

from shared.bus.jetstream import connect
from shared.bus.port import MESSAGE_ID, too_large
from shared.config.settings import NatsSettings
from shared.db.session import Database
from shared.db.stores.job_messages import asks_for
from shared.db.tables import DeadLetter, Job, OutboxRow
from shared.domain.ids import new_id
from shared.domain.job import JobType
from shared.domain.text import clean
from shared.errors import Permanent, Transient
from shared.events.streams import DEAD, JOBS
from shared.runtime import relay as relay_module
from shared.runtime.relay import Relay
from shared.telemetry.metrics import KernelMetrics
from tests.harness.nats_server import NatsServer
from tests.harness.pairs import PAIRS

_number = itertools.count(1)
MEGABYTE = 1024 * 1024


class Doors:
    """A bus that counts what is published on each subject, and fails as told before it is reached."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self.tries: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.failing: dict[str, Exception] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        self.tries[subject] += 1
        if subject in self.failing:
            raise self.failing[subject]
        await self._bus.publish(subject, payload, headers)
        self.ids[headers.get(MESSAGE_ID, "")] += 1


@pytest.fixture
def doors(bus: Any) -> Doors:
    return Doors(bus)


@pytest.fixture
def relay(db: Database, doors: Doors) -> Relay:
    return Relay(db, doors, KernelMetrics(CollectorRegistry()))  # type: ignore[arg-type] - stands for the bus, and can be closed


def subject() -> str:
    return f"backup.requested.relay{next(_number)}"


async def outbox(db: Database, *rows: tuple[str, str]) -> None:
    async def add(tx: Any) -> None:
        for where, payload in rows:
            tx.session.add(OutboxRow(id=new_id(), subject=where, event_type="x.v1", payload=payload))

    await db.run(add)


async def unsent(db: Database) -> list[str]:
    async with db.read() as session:
        return list(await session.scalars(select(OutboxRow.subject).where(OutboxRow.sent_at.is_(None))))


async def letters(db: Database) -> list[DeadLetter]:
    async with db.read() as session:
        return list(await session.scalars(select(DeadLetter)))


POISON = {
    "more than the server takes": ("backup.requested.poison", "x" * (MEGABYTE + 1), "message_too_large"),
    "too large with its headers": ("backup.requested.poison", "x" * (MEGABYTE - 20), "message_too_large"),
    "a subject with a space": ("backup.requested.a b", "{}", "message_subject_invalid"),
    "a subject with a line's end": ("backup.requested.a\r\nPUB evil 0", "{}", "message_subject_invalid"),
    "a subject for all": ("backup.requested.*", "{}", "message_subject_invalid"),
    "no subject": ("", "{}", "message_subject_invalid"),
    "an empty word": ("backup..requested", "{}", "message_subject_invalid"),
}


@PAIRS
@pytest.mark.parametrize("kind", POISON)
async def test_an_event_the_bus_refuses_is_set_aside_and_the_others_are_sent_once(
    db: Database, doors: Doors, relay: Relay, kind: str
) -> None:
    bad, payload, code = POISON[kind]
    good = [subject() for _ in range(20)]
    await outbox(db, *((one, "{}") for one in good[:10]), (bad, payload), *((one, "{}") for one in good[10:]))
    for _ in range(4):
        await relay.publish_all()
    assert await unsent(db) == []
    for one in good:
        assert (doors.tries[one], await doors.count(JOBS, one)) == (1, 1)
    (letter,) = await letters(db)
    assert (letter.code, letter.subject) == (code, clean(bad))
    assert letter.deliveries >= 1
    if code == "message_too_large":
        kept = json.loads(await doors.last(DEAD, f"dead.{bad}"))
        assert (kept["truncated"], kept["payload"][:3]) == (True, "xxx")
    await outbox(db, (late := subject(), "{}"))
    await relay.publish_all()  # the connection is whole
    assert await doors.count(JOBS, late) == 1


@PAIRS
async def test_an_error_nobody_foresaw_in_one_event_is_that_events_alone(
    db: Database, doors: Doors, relay: Relay
) -> None:
    bad, good = subject(), subject()
    doors.failing[bad] = UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")
    await outbox(db, (bad, "{}"), (good, "{}"))
    for _ in range(4):
        await relay.publish_all()
    assert (await unsent(db), doors.tries[good]) == ([], 1)
    assert [letter.code for letter in await letters(db)] == ["unpublishable"]


@PAIRS
async def test_what_fails_for_now_is_never_given_up_and_keeps_nothing_back(
    db: Database, doors: Doors, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "_BATCH", 5)
    full = [subject() for _ in range(5)]
    good = [subject() for _ in range(12)]
    doors.failing = {one: Transient("the stream is full", code="bus_unreachable") for one in full[:4]}
    await outbox(db, *((one, "{}") for one in [*full, *good]))
    for _ in range(10):
        with pytest.raises(Transient, match="full"):
            await relay.publish_all()
    assert sorted(await unsent(db)) == sorted(full[:4])
    assert {doors.tries[one] for one in good} == {1}
    assert await letters(db) == []
    doors.failing.clear()
    assert await relay.publish_all() == 4


@PAIRS
async def test_a_full_stream_of_commands_keeps_no_fact_back(
    db: Database, doors: Doors, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many commands wait, and whole batches of them: facts behind them go to a stream that takes them."""
    monkeypatch.setattr(relay_module, "_BATCH", 5)
    monkeypatch.setattr(relay_module, "_FAILED", 12)
    full = [subject() for _ in range(3)]
    doors.failing = {one: Transient("the stream takes no more", code="stream_full") for one in full}
    fact = "job.changed"
    await outbox(db, *((one, "{}") for one in [*full * 10, fact]))
    with pytest.raises(Transient, match="no more"):
        await relay.publish_all()
    assert sorted(set(await unsent(db))) == sorted(full)
    assert await letters(db) == []


async def test_a_stream_that_is_full_is_told_as_that_and_not_as_a_bus_that_is_away(contract_nats: NatsServer) -> None:
    bus = await connect(NatsSettings(url=contract_nats.url, monitor_url=contract_nats.monitor_url), name="full")
    name = f"full{next(_number)}"
    js = bus._js
    await js.add_stream(name=name, subjects=[f"{name}.>"], max_msgs=1, discard="new")
    await bus.publish(f"{name}.a", b"1", {})
    with pytest.raises(Transient) as full:
        await bus.publish(f"{name}.b", b"2", {})
    assert full.value.code == "stream_full"
    for refused_headers in ({"Nats-Expected-Last-Msg-Id": "another"}, {f"H{n}": "x" * 1000 for n in range(70)}):
        with pytest.raises(Permanent) as refused:
            await bus.publish(f"{name}.a", b"3", refused_headers)
        assert refused.value.code == "bus_refused", "tried again, it would be refused for ever"
    await js.delete_stream(name)
    await bus.close()


COMMANDS = {
    "more than the server takes": ("too_large", "message_too_large"),
    "an error that nobody foresaw": ("unforeseen", "unpublishable"),
}


@PAIRS
@pytest.mark.parametrize("kind", COMMANDS)
async def test_a_job_whose_command_the_bus_refuses_ends_and_says_why(
    db: Database, doors: Doors, relay: Relay, kind: str
) -> None:
    """Queued, it would wait for ever for a message that nobody sends."""
    what, code = COMMANDS[kind]
    node = subject().rpartition(".")[2]
    jobs = [Job(type=JobType.BACKUP_CREATE.value, node=node, title="t") for _ in range(2)]
    await db.run(lambda tx: tx.jobs.enqueue(*jobs))
    await db.run(lambda tx: tx.jobs.claim(jobs[1].id, lease="a", seconds=600))  # of an earlier message of its own
    doors.failing[f"backup.requested.{node}"] = too_large() if what == "too_large" else OverflowError("oh")
    for _ in range(4):
        await relay.publish_all()
    async with db.read() as session:
        refused, running = [await session.get_one(Job, job.id) for job in jobs]
    assert (refused.state, refused.code, running.state) == ("failed", code, "running")
    assert refused.reason
    assert refused.finished_at is not None
    assert await unsent(db) == []


@PAIRS
async def test_a_fact_that_the_bus_refuses_ends_no_job(db: Database, doors: Doors, relay: Relay) -> None:
    job = Job(type=JobType.BACKUP_CREATE.value, node=subject().rpartition(".")[2], title="t")
    await db.run(lambda tx: tx.jobs.enqueue(job))
    doors.failing["job.changed"] = too_large()
    for _ in range(4):
        await relay.publish_all()
    async with db.read() as session:
        assert (await session.get_one(Job, job.id)).state == "queued"


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("job.changed.v1", '{"job_id": "0190aaaa-0000-7000-8000-000000000000"}'),
        ("backup.requested.v1", "[1]"),
        ("backup.requested.v1", "{"),
        ("backup.requested.v1", "{}"),
        ("backup.requested.v1", '{"job_id": null}'),
        ("backup.requested.v1", '{"job_id": 5}'),
        ("backup.requested.v1", '{"job_id": "not one"}'),
    ],
)
def test_only_a_command_that_names_its_job_asks_for_one(event: str, payload: str) -> None:
    assert asks_for(event, payload) is None
    job = new_id()
    assert asks_for("backup.requested.v1", f'{{"job_id": "{job}"}}') == job


@PAIRS
async def test_a_bus_that_is_away_is_asked_for_one_batch_and_not_for_all(
    db: Database, doors: Doors, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "_BATCH", 5)
    names = [subject() for _ in range(20)]
    doors.failing = {one: Transient("away") for one in names}
    await outbox(db, *((one, "{}") for one in names))
    with pytest.raises(Transient):
        await relay.publish_all()
    assert doors.tries.total() == 5


@PAIRS
async def test_a_long_outage_fills_no_memory(
    db: Database, doors: Doors, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "_FRESH", 50)
    name = subject()

    async def emit(tx: Any) -> None:
        for _ in range(40):
            row = OutboxRow(id=new_id(), subject=name, event_type="x.v1", payload="{}")
            tx.outbox._added[row.id] = row

    for _ in range(4):
        await db.run(emit)
    assert len(relay._fresh) <= 50
    while await relay.publish_all():
        pass
    assert await doors.count(JOBS, name) == 160
    async with db.read() as session:
        assert await session.scalar(select(func.count()).select_from(OutboxRow).where(OutboxRow.sent_at.is_(None))) == 0


@PAIRS
async def test_two_relays_make_one_message_of_each_event(db: Database, doors: Doors) -> None:
    relays = [Relay(db, doors, KernelMetrics(CollectorRegistry())) for _ in range(2)]  # type: ignore[arg-type] - stands for the bus, and can be closed
    name = subject()
    await outbox(db, *((name, "{}") for _ in range(30)))
    await asyncio.gather(*(one.publish_all() for one in relays))
    assert await doors.count(JOBS, name) == 30
    assert await unsent(db) == []
