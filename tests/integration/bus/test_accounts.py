"""One NATS user a service on a real nats-server: each does its work, and is refused whatever is not its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import nats
import pytest
from nats.aio.client import Client
from nats.js import api

from borgfleet.accounts import MIGRATE, OUTSIDE, USERS, built
from borgfleet.registry import SERVICES
from shared.bus.jetstream import JetStreamBus, connect
from shared.bus.port import Consumer, Delivery, durable_name
from shared.config.settings import NatsSettings
from shared.errors import Permanent, Transient
from shared.events.backup import BackupRequested
from shared.events.progress import JobProgress
from shared.events.server import ServerSetup
from shared.events.stats import StatsCollect
from shared.events.streams import AUDIT, JOBS, NODE_BOUND, PROGRESS, STREAMS
from tests.harness.accounts import Accounts, violations
from tests.harness.fleet import until
from tests.harness.nats_server import NatsServer
from tests.harness.patience import WAIT

ACK_WAIT = WAIT
TABLES = built()


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Accounts:
    return Accounts(tmp_path_factory.mktemp("seeds"))


@pytest.fixture(scope="module")
def server(accounts: Accounts, scratch: Path) -> Iterator[NatsServer]:
    started = accounts.server(scratch / "nats-accounts").start()
    asyncio.run(migrated(accounts, started))
    yield started
    started.stop()


async def migrated(accounts: Accounts, server: NatsServer) -> None:
    bus = await connect(accounts.settings(server, MIGRATE), name="borgfleet-migrate")
    try:
        await bus.ensure_streams(STREAMS)
        await bus.ensure_streams(STREAMS)  # when they are there
        assert await bus.healthy()
    finally:
        await bus.close()


@asynccontextmanager
async def bus_of(accounts: Accounts, server: NatsServer, user: str) -> AsyncIterator[JetStreamBus]:
    bus = await connect(accounts.settings(server, user), name=f"borgfleet-{user}")
    try:
        yield bus
    finally:
        await bus.close()


@asynccontextmanager
async def raw(accounts: Accounts, server: NatsServer, user: str, refused: list[str]) -> AsyncIterator[Client]:
    async def error(found: Exception) -> None:
        refused.append(str(found))

    seed = accounts.seed(user).read_text()
    client = await nats.connect(server.url, nkeys_seed_str=seed, inbox_prefix=f"_INBOX_{user}", error_cb=error)
    try:
        yield client
    finally:
        await client.close()


async def answered(refused: list[str], client: Client) -> list[str]:
    """What nats-server says against what was sent; empty if it says nothing."""
    await client.flush(timeout=WAIT)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WAIT):
            while not refused:
                await asyncio.sleep(0.02)
    return refused


async def so_far(server: NatsServer) -> list[str]:
    """What was refused before: nats-server's log has it later than who was refused, but before it forgets him."""

    def left() -> bool:
        return httpx2.get(f"{server.monitor_url}/connz", timeout=WAIT).json()["num_connections"] == 0

    await asyncio.to_thread(until, left, "whoever was connected has left")
    return violations(server)


async def worked(bus: JetStreamBus, scheduler: JetStreamBus, subject: str) -> None:
    """Take messages of a subject and end them in each of the ways that a worker has."""
    consumer = await bus.consumer(JOBS, subject, ack_wait=ACK_WAIT)
    await scheduler.publish(subject, b"{}", {})
    await (await fetched(consumer)).nak()
    again = await fetched(consumer)
    await again.in_progress()
    await again.ack()
    await scheduler.publish(subject, b"{}", {})
    await (await fetched(consumer)).term()
    await consumer.close()
    await bus.publish(f"dead.{subject}", b"{}", {})
    await bus.notify("progress.0b5e", b"{}")


@pytest.mark.parametrize("name", SERVICES)
async def test_every_service_does_all_that_its_table_names(name: str, accounts: Accounts, server: NatsServer) -> None:
    table, before = TABLES[name], await so_far(server)
    async with bus_of(accounts, server, name) as bus, bus_of(accounts, server, "scheduler") as scheduler:
        assert await bus.healthy()
        heard = asyncio.Event()
        for event in table.hears:
            await bus.listen(event.subject, heard.set)
        for route in table.routes:
            await worked(bus, scheduler, route.subject)
        for event in table.emits:
            for subject in [event.subject, *([f"{event.subject}.another-node"] if event in NODE_BOUND else [])]:
                await bus.publish(subject, b"{}", {})
                await bus.publish(f"dead.{subject}", b"{}", {})
        for event in table.hears:
            await scheduler.publish(event.subject, b"{}", {})
        if table.hears:
            await asyncio.wait_for(heard.wait(), WAIT)
        for event in table.reads:
            stream, place = (PROGRESS, f"{event.subject}.0b5e") if event is JobProgress else (AUDIT, event.subject)
            await bus.last(stream, place)
        if table.sweeps:
            assert await bus.ensure_streams(STREAMS) == []
            await bus.count(JOBS, BackupRequested.subject)
    assert violations(server) == before


ASKS = [(name, subject) for name in SERVICES for subject in TABLES[name].asks]


@pytest.mark.parametrize(("name", "subject"), ASKS)
async def test_a_service_asks_what_its_table_names_and_is_answered(
    name: str, subject: str, accounts: Accounts, server: NatsServer
) -> None:
    before = await so_far(server)
    (answering,) = [other for other in SERVICES if subject in TABLES[other].answers]
    question = subject.replace("*", "node1")
    async with bus_of(accounts, server, name) as bus, bus_of(accounts, server, answering) as other:

        async def answer(payload: bytes) -> bytes:
            return b"to " + payload

        listening = await other.serve(question, answer)
        for payload in (b"one", b"two"):
            assert await bus.request(question, payload, WAIT) == b"to " + payload
        await listening.close()
    assert violations(server) == before


@pytest.mark.parametrize(("name", "subject"), ASKS)
async def test_nobody_else_asks_or_answers(name: str, subject: str, accounts: Accounts, server: NatsServer) -> None:
    """Who could answer would say what is in backups; who could ask would read it."""
    question = subject.replace("*", "node1")
    for other in (one for one in (*SERVICES, "outside") if one != name):
        refused: list[str] = []
        async with raw(accounts, server, other, refused) as client:
            await client.publish(question, b"{}", reply=f"_INBOX_{other}.a")
            assert "permissions violation" in str(await answered(refused, client)).lower()
    for other in (one for one in (*SERVICES, "outside") if one not in TABLES or subject not in TABLES[one].answers):
        refused = []
        async with raw(accounts, server, other, refused) as client:
            await client.subscribe(question)
            assert "permissions violation" in str(await answered(refused, client)).lower()


async def fetched(consumer: Consumer) -> Delivery:
    async with asyncio.timeout(WAIT):
        while (found := await consumer.fetch(5)) is None:
            pass
    return found


async def test_a_program_of_others_asks_for_a_backup_and_sees_that_it_was_taken(
    accounts: Accounts, server: NatsServer
) -> None:
    before = await so_far(server)
    async with bus_of(accounts, server, OUTSIDE) as bus:
        await bus.publish(BackupRequested.subject, b"{}", {})
    assert [line for line in violations(server)[len(before) :] if OUTSIDE in line] == []


async def test_doctor_asks_as_the_service_in_whose_container_it_is(accounts: Accounts, server: NatsServer) -> None:
    before = await so_far(server)
    bus = await connect(accounts.settings(server, "setup"), name="borgfleet-doctor")
    try:
        assert await bus.healthy()
        assert await bus.count_streams() == len(STREAMS)  # what `borgfleet wait` asks
    finally:
        await bus.close()
    assert violations(server) == before


FORBIDDEN = [
    (user, subject)
    for user in USERS
    for subject in (
        "$JS.API.STREAM.DELETE.JOBS", "$JS.API.STREAM.PURGE.JOBS", "$JS.API.STREAM.MSG.GET.JOBS",
        "$JS.API.STREAM.MSG.DELETE.JOBS", "$JS.API.CONSUMER.DELETE.JOBS.server-setup", "$JS.API.CONSUMER.CREATE.FACTS",
        "$JS.API.CONSUMER.CREATE.JOBS.server-setup.backup.requested.x", "$JS.API.STREAM.CREATE.MINE", "_INBOX_api.x.1",
    )
] + [
    ("stats", ServerSetup.subject), ("stats", BackupRequested.subject), ("stats", f"{BackupRequested.subject}.local"),
    ("stats", "backup.completed"), ("setup", StatsCollect.subject), ("setup", "alert.raised"),
    ("setup", "$JS.API.CONSUMER.MSG.NEXT.JOBS.backup-requested-local"), ("setup", "$JS.ACK.JOBS.stats-collect.1.1.1.1.1"),
    ("api", "backup.completed"), ("api", "server.ready"), ("api", "$JS.API.CONSUMER.MSG.NEXT.JOBS.server-setup"),
    ("api", "progress.x"), ("backup", ServerSetup.subject), ("backup", "server.ready"), ("backup", "alert.resolved"),
    ("backup", "$JS.API.CONSUMER.MSG.NEXT.JOBS.server-setup"), ("backup", "$JS.ACK.JOBS.server-setup.1.1.1.1.1"),
    (OUTSIDE, f"{BackupRequested.subject}.local"), (OUTSIDE, ServerSetup.subject), (OUTSIDE, "job.changed"),
    (OUTSIDE, "repository.prune"), (OUTSIDE, "$JS.API.INFO"), (MIGRATE, BackupRequested.subject),
]  # fmt: skip


@pytest.mark.parametrize("user", USERS)
async def test_what_is_not_its_own_nobody_publishes(user: str, accounts: Accounts, server: NatsServer) -> None:
    for subject in [subject for name, subject in FORBIDDEN if name == user]:
        refused: list[str] = []
        async with raw(accounts, server, user, refused) as client:
            await client.publish(subject, b"{}")
            found = await answered(refused, client)
        assert found, f"{user} may publish to {subject}"
        assert f'to "{subject}"'.lower() in found[0].lower()


@pytest.mark.parametrize("user", USERS)
async def test_nobody_listens_to_the_others(user: str, accounts: Accounts, server: NatsServer) -> None:
    others = [f"_INBOX_{other}.>" for other in USERS if other != user]
    hears = {event.subject for event in TABLES[user].hears} if user in SERVICES else set()
    for subject in [">", "_INBOX.>", "*.*", "progress.*", "dead.>", "$JS.>", *others,
                    *({"job.changed", "backup.requested", "backup.completed"} - hears)]:  # fmt: skip
        refused: list[str] = []
        async with raw(accounts, server, user, refused) as client:
            await client.subscribe(subject)
            found = await answered(refused, client)
        assert found, f"{user} may listen to {subject}"


async def test_a_consumer_of_an_older_version_is_taken_as_it_is(accounts: Accounts, server: NatsServer) -> None:
    """They were made by another request: a release must not stand before messages that it cannot fetch."""
    config = api.ConsumerConfig(
        durable_name=durable_name(StatsCollect.subject), filter_subject=StatsCollect.subject, max_deliver=-1,
        ack_policy=api.AckPolicy.EXPLICIT, ack_wait=ACK_WAIT, max_ack_pending=10_000,
    )  # fmt: skip
    other = NatsServer(server.directory.parent / "nats-older").start()
    try:
        client = await nats.connect(other.url)
        bus = await connect(NatsSettings(url=other.url), name="borgfleet-stats")
        await bus.ensure_streams(STREAMS)
        await client.jetstream().add_consumer(JOBS.name, config)
        await bus.publish(StatsCollect.subject, b"{}", {})
        delivery = await fetched(await bus.consumer(JOBS, StatsCollect.subject, ack_wait=ACK_WAIT))
        assert delivery.subject == StatsCollect.subject
        await bus.close()
        await client.close()
    finally:
        other.stop()


async def test_an_answer_asked_for_at_the_subject_of_an_order_is_no_order(
    accounts: Accounts, server: NatsServer
) -> None:
    """A pull names where its message is to go, and nats-server does not hold that against the rights."""
    refused: list[str] = []
    async with bus_of(accounts, server, "stats") as bus, bus_of(accounts, server, "scheduler") as scheduler:
        consumer = await bus.consumer(JOBS, StatsCollect.subject, ack_wait=ACK_WAIT)
        while await consumer.fetch(1):
            pass
        before, handed_out = await scheduler.count(JOBS, ServerSetup.subject), delivered(server, StatsCollect.subject)
        await scheduler.publish(StatsCollect.subject, b"{}", {})
        async with raw(accounts, server, "stats", refused) as client:
            pull = f"$JS.API.CONSUMER.MSG.NEXT.JOBS.{durable_name(StatsCollect.subject)}"
            await client.publish(pull, b'{"batch":1,"expires":1000000000}', ServerSetup.subject)
            await client.flush(timeout=WAIT)
        subject = StatsCollect.subject
        await asyncio.to_thread(until, lambda: delivered(server, subject) > handed_out, "the message was handed out")
        assert await scheduler.count(JOBS, ServerSetup.subject) == before


def delivered(server: NatsServer, subject: str) -> int:
    """How often a consumer has handed out a message."""
    answer = httpx2.get(f"{server.monitor_url}/jsz?consumers=true&streams=true", timeout=WAIT).json()
    consumers = [
        consumer for stream in answer["account_details"][0]["stream_detail"] if stream["name"] == JOBS.name
        for consumer in stream["consumer_detail"]
    ]  # fmt: skip
    return next(one["delivered"]["consumer_seq"] for one in consumers if one["name"] == durable_name(subject))


async def test_what_is_refused_is_counted_and_told_once(
    accounts: Accounts, server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    denied: list[str] = []
    settings = accounts.settings(server, "stats")
    bus = await connect(settings, name="borgfleet-stats", denied=denied.append)
    try:
        for _ in range(3):
            await bus.notify(ServerSetup.subject, b"{}")
        await bus.listen("dead.>", lambda: None)
        async with asyncio.timeout(WAIT):
            while len(denied) < 4:
                await asyncio.sleep(0.05)
    finally:
        await bus.close()
    assert sorted(denied) == ["publish", "publish", "publish", "subscription"]
    told = capsys.readouterr()
    assert (told.out + told.err).count("bus_denied") == 1


async def test_a_service_with_the_seed_of_another_does_not_work(accounts: Accounts, server: NatsServer) -> None:
    """Its answers would go to an inbox that is not its own: it is told so, and does nothing by halves."""
    bus = await connect(accounts.settings(server, "setup"), name="borgfleet-stats")
    try:
        assert not await bus.healthy()
        with pytest.raises(Transient):
            await bus.consumer(JOBS, StatsCollect.subject, ack_wait=ACK_WAIT)
    finally:
        await bus.close()


async def test_nobody_comes_in_without_a_seed(server: NatsServer) -> None:
    with pytest.raises((Transient, Permanent), match=r"(?i)authorization"):
        await connect(NatsSettings(url=server.url), name="borgfleet-stats")
