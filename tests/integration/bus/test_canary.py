"""The bus is tried by a message each minute: what takes no message, or does not keep it, is told by a failing task."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.scheduler.canary import Canary
from shared.bus import jetstream
from shared.bus.jetstream import connect
from shared.bus.memory import MemoryBus
from shared.config.settings import NatsSettings
from shared.errors import Transient
from shared.events.streams import CANARY, STREAMS
from tests.harness.nats_server import NatsServer


@pytest.fixture
def server(scratch: Path, tmp_path: Path) -> Iterator[NatsServer]:
    made = NatsServer(scratch / f"canary-{tmp_path.name}", more="max_payload: 1MB")
    yield made
    made.stop()


async def test_a_bus_that_works_is_tried_again_and_again_and_keeps_one_message_of_each(server: NatsServer) -> None:
    bus = await connect(NatsSettings(url=server.start().url), name="test")
    try:
        await bus.ensure_streams(STREAMS)
        for canary in (Canary(bus), Canary(bus)):
            for _ in range(3):
                await canary.fly(asyncio.Event())
        assert await bus.count(CANARY, "canary.*") == 2
    finally:
        await bus.close()


async def test_a_store_that_takes_nothing_more_is_told(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a full disk; where the disk itself is full, nats-server does not answer at all, which is told the same way."""
    bus = await connect(NatsSettings(url=server.start().url), name="test")
    try:
        await bus.ensure_streams(STREAMS)
        canary = Canary(bus)
        await canary.fly(asyncio.Event())
        server.stop()
        server.sync = "sync_interval: always, max_file_store: 1KB"
        server.start()
        monkeypatch.setattr(jetstream, "_PUBLISH_SECONDS", 1.0)
        with pytest.raises(Transient):
            await canary.fly(asyncio.Event())
    finally:
        await bus.close()


async def test_a_message_that_was_taken_and_is_gone_is_told() -> None:
    class Forgetful(MemoryBus):
        async def last(self, *_: object) -> bytes | None:
            return None

    bus = Forgetful()
    await bus.ensure_streams(STREAMS)
    with pytest.raises(Transient) as refusal:
        await Canary(bus).fly(asyncio.Event())
    assert refusal.value.code == "bus_forgets"
