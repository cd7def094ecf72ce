"""`GET /api/events` over a gateway that listens, and over the bus in memory and nats-server."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete, update

from services.api.features.events import stream
from services.api.features.events.live import MOST_OF_ONE, Live
from services.api.features.events.ring import Ring
from shared.config.settings import HealthSettings
from shared.db.session import Database
from shared.db.tables import ApiToken, Grant
from shared.events.alert import AlertRaised
from shared.events.base import Event
from shared.events.progress import JobChanged
from shared.events.server import ServerUnreachable
from shared.runtime.health import serve
from shared.runtime.http import BoundedHttp
from shared.testing.sshd import free_port
from tests.harness.pairs import PAIRS
from tests.harness.patience import WAIT
from tests.harness.world import World

pytestmark = [pytest.mark.measured, PAIRS]  # measured on both: JetStream is reached by code of its own


class Reader:
    """Somebody who follows the events."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next(self) -> dict[str, str]:
        """The next event; without a name at the stream's end."""
        found: dict[str, str] = {}
        async with asyncio.timeout(WAIT):
            async for line in self._lines:
                if not line and "event" in found:
                    return found
                name, _, value = line.partition(": ")
                if line and name:
                    found[name] = value
        return found

    async def comments(self, count: int) -> None:
        """Wait for so many comments."""
        async with asyncio.timeout(WAIT):
            while count:
                count -= (await anext(self._lines)).startswith(":")

    async def row(self) -> dict[str, Any]:
        return json.loads((await self.next())["data"])["row"]


class Gateway:
    """A gateway over a world of two servers, in this process, on a port."""

    def __init__(self, world: World, port: int) -> None:
        self.world, self.port = world, port
        self.live: Live = world.app.state.live
        self.stopping = asyncio.Event()

    async def say(self, event: Event) -> None:
        await self.world.bus.publish(
            event.subject, event.model_dump_json().encode(), {"Nats-Msg-Id": str(uuid.uuid4())}
        )

    @asynccontextmanager
    async def follow(self, who: str, path: str = "/api/events", last: str = "") -> AsyncIterator[Reader]:
        headers = {"Authorization": f"Bearer {self.world.tokens[who]}"} | ({"Last-Event-ID": last} if last else {})
        url = f"http://127.0.0.1:{self.port}{path}"
        async with httpx2.AsyncClient(timeout=WAIT) as client, client.stream("GET", url, headers=headers) as answer:
            yield Reader(answer)

    async def until_streams(self, count: int) -> None:
        async with asyncio.timeout(WAIT):
            while self.live.streams != count:
                await asyncio.sleep(0.01)


@pytest.fixture
async def gateway(db: Database, bus: Any) -> AsyncIterator[Gateway]:
    world = World(db, bus)
    await world.prepare()
    await world.token("all", ("admin", None))
    made = Gateway(world, free_port())
    work = [made.live.run(made.stopping), made.live.hear(made.stopping)]
    work.append(serve(world.app, HealthSettings(port=made.port), made.stopping))
    tasks = [asyncio.create_task(one) for one in work]
    async with asyncio.timeout(WAIT):
        while made.live.ring.head == 0 or not await _answers(made.port):
            await asyncio.sleep(0.01)
    yield made
    made.stopping.set()
    async with asyncio.timeout(WAIT):
        await asyncio.gather(*tasks)


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def job(server: uuid.UUID | None = None, title: str = "") -> JobChanged:
    return JobChanged(job_id=uuid.uuid4(), type="backup_create", state="running", server_id=server, title=title)


async def test_what_happens_is_told_after_a_reset(gateway: Gateway) -> None:
    async with gateway.follow("all") as reader:
        assert reader.answer.headers["content-type"].startswith("text/event-stream")
        assert reader.answer.headers["x-accel-buffering"] == "no"
        assert "no-store" in reader.answer.headers["cache-control"]
        assert (await reader.next())["event"] == "reset"
        said = job(title="first")
        await gateway.say(said)
        event = await reader.next()
        assert event["event"] == "job.changed"
        assert json.loads(event["data"]) == {"fact": "job.changed", "row": json.loads(said.model_dump_json())}


async def test_each_sees_the_events_of_his_own_servers_and_nothing_else(gateway: Gateway) -> None:
    mine, other = gateway.world.mine["server_id"], gateway.world.other["server_id"]

    def alert(server: str) -> AlertRaised:
        about = {"kind": "disk", "about": "server:x:/", "level": "warning", "value": 1.0, "server": server}
        return AlertRaised(alert_id=uuid.uuid4(), **about)  # type: ignore[arg-type] - of several types

    def lost(server: uuid.UUID, reason: str) -> ServerUnreachable:
        return ServerUnreachable(job_id=uuid.uuid4(), server_id=server, code="x", reason=reason)

    async with gateway.follow("eu") as eu, gateway.follow("us") as us, gateway.follow("all") as everybody:
        for reader in (eu, us, everybody):
            assert (await reader.next())["event"] == "reset"
        said = [
            job(None, "of no server"), job(other, "other"), job(mine, "mine"), alert("other"), alert(""), alert("mine"),
            lost(other, "other"), lost(mine, "mine"), job(other, "last"), job(mine, "last"),
        ]  # fmt: skip
        for event in said:
            await gateway.say(event)
        ids = [str(event.event_id) for event in said]
        assert [(await everybody.row())["event_id"] for _ in said] == ids
        assert [(await eu.row())["event_id"] for _ in range(4)] == [ids[2], ids[5], ids[7], ids[9]]
        assert [(await us.row())["event_id"] for _ in range(4)] == [ids[1], ids[3], ids[6], ids[8]]


async def test_topics_narrow_it_and_others_are_refused(gateway: Gateway) -> None:
    async with gateway.follow("all", "/api/events?topics=server") as reader:
        await reader.next()
        await gateway.say(job())
        await gateway.say(ServerUnreachable(job_id=uuid.uuid4(), server_id=uuid.uuid4(), code="x", reason="y"))
        assert (await reader.next())["event"] == "server.status"
    async with gateway.follow("all", "/api/events?topics=weather") as reader:
        assert reader.answer.status_code == 422


async def test_what_nobody_can_read_is_left_out_and_ends_nothing(gateway: Gateway) -> None:
    async with gateway.follow("all") as reader:
        await reader.next()
        for payload in (b"", b"{", b"[]", b"\xff\xfe", b'{"job_id": 1}', b'{"state": "\\ud800"}', b"[" * 100_000):
            await gateway.world.bus.publish("job.changed", payload, {"Nats-Msg-Id": str(uuid.uuid4())})
        title = "sound\n\nevent: reset\r\u2028\x85\x0b é 😀"
        await gateway.say(job(title=title))
        assert (await reader.row())["title"] == title


async def test_a_connection_is_kept_alive_though_all_that_happens_is_for_others(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "COMMENT_SECONDS", 0.5)
    other = str(gateway.world.other["server_id"])

    async def busy() -> None:
        while True:
            gateway.live.ring.put("job.changed", "{}", topic="job", server=other)
            await asyncio.sleep(0.02)

    async with gateway.follow("eu") as reader:
        await reader.next()
        others = asyncio.create_task(busy())
        await reader.comments(3)
        others.cancel()


async def test_who_comes_back_misses_nothing_or_is_told_to_ask_anew(gateway: Gateway) -> None:
    async with gateway.follow("all") as reader:
        await reader.next()
        await gateway.say(job(title="had"))
        last = (await reader.next())["id"]
    await gateway.until_streams(0)
    for title in ("missed", "missed too"):
        await gateway.say(job(title=title))
    async with gateway.follow("all", last=last) as reader:
        assert [(await reader.row())["title"] for _ in range(2)] == ["missed", "missed too"]
    for unknown in ("", "elsewhere-1", last.replace("-", "-9999")):
        async with gateway.follow("all", last=unknown) as reader:
            assert (await reader.next())["event"] == "reset"


async def test_a_right_that_is_taken_away_ends_what_is_told(gateway: Gateway) -> None:
    async def revoke(tx: Any) -> None:
        await tx.session.execute(
            update(ApiToken).where(ApiToken.name == "t-all").values(revoked_at=ApiToken.created_at)
        )

    async def take(tx: Any) -> None:
        await tx.session.execute(delete(Grant).where(Grant.tag_id.is_not(None)))

    async with gateway.follow("all") as everybody, gateway.follow("eu") as eu:
        assert [(await one.next())["event"] for one in (everybody, eu)] == ["reset", "reset"]
        await gateway.world.db.run(revoke)
        await gateway.world.db.run(take)
        gateway.world.app.state.authenticate.forget()
        await gateway.say(job(gateway.world.mine["server_id"]))
        assert "event" not in await everybody.next()
        assert (await eu.next())["event"] == "reset"  # a stream of somebody who sees something else now
        gateway.stopping.set()
        assert "event" not in await eu.next()


async def test_one_person_has_so_many_streams_and_no_more(gateway: Gateway) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(MOST_OF_ONE):
            await stack.enter_async_context(gateway.follow("all"))
        async with gateway.follow("all") as reader:
            assert reader.answer.status_code == 503
            assert json.loads(await reader.answer.aread())["code"] == "too_many_streams"
        async with gateway.follow("eu") as reader:
            assert reader.answer.status_code == 200
    await gateway.until_streams(0)


async def test_who_does_not_read_is_cut_off_and_holds_up_nobody(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedHttp, "unread_seconds", 0.5)
    gateway.live.ring = Ring(most=64)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", gateway.port))
    token = gateway.world.tokens["eu"]
    slow.sendall(f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    await gateway.until_streams(1)
    said = 0
    async with gateway.follow("all") as reader:
        await reader.next()
        async with asyncio.timeout(WAIT):
            while gateway.live.streams == 2:
                gateway.live.ring.put("job.changed", f'{{"row":{{"n":{said},"x":"{"y" * 60_000}"}}}}')
                assert (await reader.row())["n"] == said
                said += 1
    slow.close()


async def test_a_gateway_that_stops_ends_a_hundred_streams_by_itself(gateway: Gateway) -> None:
    for n in range(5):
        await gateway.world.token(f"reader{n}", ("viewer", None))
    async with AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(gateway.follow(f"reader{n}")) for n in range(5) for _ in range(MOST_OF_ONE)
        ]
        for reader in readers:
            assert (await reader.next())["event"] == "reset"
        gateway.stopping.set()
        for reader in readers:
            assert 1_000 <= int((await reader.next())["retry"]) <= 5_000  # whole, and not broken off


async def test_head_is_the_head_alone(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {gateway.world.tokens['all']}"}
    async with httpx2.AsyncClient(timeout=WAIT) as client:
        answer = await client.head(f"http://127.0.0.1:{gateway.port}/api/events", headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
