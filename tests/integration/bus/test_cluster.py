"""Streams on several nats-servers: made as they are meant while they are used, and what stands in the way is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from shared.bus.jetstream import JetStreamBus, connect
from shared.config.settings import NatsSettings
from shared.errors import Permanent, Transient
from shared.events.streams import FACTS_STREAM, JOBS, STREAMS
from tests.harness.fleet import until
from tests.harness.nats_server import NatsCluster, NatsServer
from tests.harness.patience import WAIT

Connect = Callable[..., Awaitable[JetStreamBus]]
Answer = TypeVar("Answer")
SUBJECT = "backup.requested.cluster"


@pytest.fixture
def cluster(scratch: Path, tmp_path: Path) -> Iterator[NatsCluster]:
    made = NatsCluster(scratch / f"cluster-{tmp_path.name}").start()
    until(made.leads, "the cluster has a leader")
    yield made
    made.stop()


@pytest.fixture
async def connected() -> AsyncIterator[Connect]:
    opened: list[JetStreamBus] = []

    async def connected(server: NatsCluster | NatsServer, replicas: int) -> JetStreamBus:
        where: dict[str, Any] = {"urls": server.urls} if isinstance(server, NatsCluster) else {"url": server.url}
        opened.append(await connect(NatsSettings(**where, replicas=replicas), name="test"))
        return opened[-1]

    yield connected
    for bus in opened:
        await bus.close()


async def patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask again while the bus does not answer, as relay and workers do: its servers may be choosing a leader."""
    async with asyncio.timeout(WAIT):
        while True:
            try:
                return await ask()
            except Transient:
                await asyncio.sleep(0.1)


async def publish(bus: JetStreamBus, message: str) -> None:
    """Publish a message that is counted once, by its id."""
    await patiently(lambda: bus.publish(SUBJECT, message.encode(), {"Nats-Msg-Id": message}))


async def drained(bus: JetStreamBus) -> list[str]:
    consumer = await patiently(lambda: bus.consumer(JOBS, SUBJECT, ack_wait=WAIT))
    taken: list[str] = []
    while await patiently(lambda: bus.count(JOBS, SUBJECT)):
        if delivery := await patiently(lambda: consumer.fetch(1.0)):
            taken.append(delivery.data.decode())
            await patiently(delivery.ack)
    await consumer.close()
    return taken


async def test_replicas_are_raised_and_lowered_while_messages_come(cluster: NatsCluster, connected: Connect) -> None:
    alone, three = await connected(cluster, 1), await connected(cluster, 3)
    await patiently(lambda: alone.ensure_streams(STREAMS))
    assert await alone.shape_streams(STREAMS, within=WAIT) == []
    sent, shaped = 0, asyncio.create_task(three.shape_streams(STREAMS, within=WAIT))
    while not shaped.done():
        await publish(alone, f"message-{sent}")
        sent += 1
    assert await shaped == [f"{spec.name}: num_replicas 1 -> 3" for spec in STREAMS]
    assert await three.shape_streams(STREAMS, within=WAIT) == []

    leader = until(lambda: cluster.leads("JOBS"), "JOBS has a leader")
    cluster.named(leader).kill()  # what it acknowledged, two others have
    await publish(alone, f"message-{sent}")
    assert sorted(await drained(three)) == sorted(f"message-{number}" for number in range(sent + 1))

    cluster.start()
    lowered = await alone.shape_streams(STREAMS, within=WAIT)
    assert lowered == [f"{spec.name}: num_replicas 3 -> 1" for spec in STREAMS]


async def test_a_replica_that_is_away_keeps_nobody_from_a_new_version(cluster: NatsCluster, connected: Connect) -> None:
    three = await connected(cluster, 3)
    await patiently(lambda: three.ensure_streams(STREAMS))
    cluster.servers[0].kill()
    assert await patiently(lambda: three.ensure_streams(STREAMS)) == []
    assert await three.shape_streams(STREAMS, within=WAIT) == []


async def test_a_change_is_waited_for_until_each_replica_has_it_all(cluster: NatsCluster, connected: Connect) -> None:
    three = await connected(cluster, 3)
    await patiently(lambda: three.ensure_streams([JOBS]))
    leaders = {until(lambda: cluster.leads("JOBS"), "JOBS has a leader"), cluster.leads()}
    other = next(server for server in cluster.servers if server.name not in leaders)
    other.kill()
    await publish(three, "message-0")  # of which it knows nothing
    with pytest.raises(Transient, match=other.name) as refusal:
        await three.shape_streams([replace(JOBS, max_age=86_400)], within=2)
    assert refusal.value.code == "stream_not_current"


@pytest.mark.parametrize("different", [{"retention": "limits"}, {"storage": "memory"}])
async def test_a_stream_of_another_kind_is_left_alone(
    cluster: NatsCluster, connected: Connect, different: dict[str, Any]
) -> None:
    bus = await connected(cluster, 1)
    await patiently(lambda: bus.ensure_streams([JOBS]))
    await publish(bus, "message-0")
    with pytest.raises(Permanent, match=next(iter(different))) as refusal:
        await bus.shape_streams([replace(JOBS, **different)], within=WAIT)
    assert (refusal.value.code, await bus.count(JOBS, SUBJECT)) == ("stream_of_another_kind", 1)


async def test_more_replicas_than_servers_are_refused_with_a_remedy(cluster: NatsCluster, connected: Connect) -> None:
    three = await connected(cluster, 3)
    await patiently(lambda: three.ensure_streams(STREAMS))
    five = await connected(cluster, 5)
    with pytest.raises(Permanent, match="5 replicas") as refusal:
        await five.shape_streams(STREAMS, within=WAIT)
    assert (refusal.value.code, "BORGFLEET_NATS__REPLICAS" in refusal.value.remedy) == ("stream_without_room", True)


async def test_replicas_on_a_server_without_a_cluster_are_refused(scratch: Path, connected: Connect) -> None:
    server = NatsServer(scratch / "alone").start()
    try:
        with pytest.raises(Permanent, match="3 replicas") as refusal:
            await (await connected(server, 3)).ensure_streams(STREAMS)
        assert refusal.value.code == "stream_without_room"
    finally:
        server.stop()


async def test_a_stream_of_an_older_version_gets_its_limits(scratch: Path, connected: Connect) -> None:
    server = NatsServer(scratch / "limits").start()
    try:
        bus = await connected(server, 1)
        await bus.ensure_streams([replace(FACTS_STREAM, max_bytes=0)])
        assert await bus.ensure_streams(STREAMS) == [spec.name for spec in STREAMS if spec is not FACTS_STREAM]
        assert await bus.shape_streams(STREAMS, within=WAIT) == [f"FACTS: max_bytes -1 -> {FACTS_STREAM.max_bytes}"]
    finally:
        server.stop()
