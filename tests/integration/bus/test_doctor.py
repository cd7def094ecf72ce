"""`borgfleet doctor` and a bus of several servers: each is told of, and what is away or behind is a problem."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from borgfleet.doctor import examine
from shared.bus.jetstream import connect
from shared.config.settings import NatsSettings, Settings
from shared.errors import Transient
from shared.events.streams import STREAMS
from tests.harness.fleet import until
from tests.harness.nats_server import NatsCluster, NatsServer
from tests.harness.patience import WAIT


@pytest.fixture
def cluster(scratch: Path, tmp_path: Path) -> Iterator[NatsCluster]:
    made = NatsCluster(scratch / f"doctor-{tmp_path.name}").start()
    until(made.leads, "the cluster has a leader")
    yield made
    made.stop()


async def found(nats: NatsSettings, directory: Path) -> str:
    """What is said of the bus."""
    said: list[str] = []
    await examine(Settings(data_dir=directory, nats=nats), said.append)
    return next(line for line in said if "message bus:" in line)


async def test_each_server_of_a_cluster_is_told_of(cluster: NatsCluster, tmp_path: Path) -> None:
    settings = NatsSettings(urls=cluster.urls, monitor_urls=cluster.monitor_urls, replicas=3)
    bus = await connect(settings, name="test")
    try:
        while True:
            try:
                await bus.ensure_streams(STREAMS)
                break
            except Transient:
                continue  # they choose a leader
    finally:
        await bus.close()
    until(cluster.whole, "all replicas hold all")
    well = await found(settings, tmp_path)
    assert well.startswith("ok ")
    for name in ("nats-0", "nats-1", "nats-2"):
        assert f"; {name} 2." in well
    assert "each message on disk, with nats-1, nats-2" in well

    cluster.servers[2].kill()
    ill = await found(settings, tmp_path)
    assert ill.startswith(f"PROBLEM  message bus: these nats-servers do not answer: {cluster.servers[2].monitor_url}")
    others = NatsSettings(urls=cluster.urls[:2], monitor_urls=cluster.monitor_urls[:2], replicas=3)
    async with asyncio.timeout(WAIT):
        while "on nats-2" not in (behind := await found(others, tmp_path)):
            assert behind, "not yet: they choose a leader, or have not missed it"
    assert behind.startswith("PROBLEM  message bus: these replicas do not hold all messages yet: ")


async def test_a_server_alone_is_told_of(scratch: Path, tmp_path: Path) -> None:
    server = NatsServer(scratch / "doctor-alone").start()
    try:
        well = await found(NatsSettings(url=server.url, monitor_url=server.monitor_url), tmp_path)
        assert well.startswith("ok ")
        assert well.endswith("each message on disk")
        lax = NatsSettings(url=server.url)
        assert (await found(lax, tmp_path)).endswith("JetStream answers")
    finally:
        server.stop()
