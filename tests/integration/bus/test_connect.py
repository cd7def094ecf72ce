"""What a process refuses to work with at its start: a server that is too old, not durable, or not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.bus.jetstream import connect
from shared.config.settings import NatsSettings
from shared.errors import Permanent, Transient
from shared.testing.sshd import free_port
from tests.harness.nats_server import DEBIAN_NATS, NatsServer


@pytest.fixture
def server(request: pytest.FixtureRequest, scratch: Path) -> Iterator[NatsServer]:
    options: dict[str, str] = request.param
    server = NatsServer(scratch / f"nats-{free_port()}", **options).start()
    yield server
    server.stop()


def settings(server: NatsServer) -> NatsSettings:
    return NatsSettings(url=server.url, monitor_url=server.monitor_url)


@pytest.mark.parametrize("server", [{"binary": DEBIAN_NATS, "sync": ""}], indirect=True)
async def test_a_nats_server_that_is_too_old_is_refused_with_its_version(server: NatsServer) -> None:
    with pytest.raises(Permanent, match=r"nats-server 2\.9\.\d+ is too old") as refusal:
        await connect(settings(server), name="test")
    assert refusal.value.code == "nats_too_old"
    assert "2.11" in refusal.value.remedy


@pytest.mark.parametrize("server", [{"sync": "sync_interval: 2m"}], indirect=True)
async def test_a_nats_server_that_may_lose_what_it_acknowledged_is_refused(server: NatsServer) -> None:
    with pytest.raises(Permanent) as refusal:
        await connect(settings(server), name="test")
    assert refusal.value.code == "nats_not_durable"
    assert "sync_interval: always" in refusal.value.remedy


async def test_no_nats_server_is_said_within_seconds() -> None:
    with pytest.raises(Transient) as refusal:
        await connect(NatsSettings(url=f"nats://127.0.0.1:{free_port()}"), name="test")
    assert refusal.value.code == "bus_unreachable"
