"""Two hundred who follow the events of a running gateway: others are answered, all are told, and a stop ends each stream."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2

from services.api.features.events.live import MOST_OF_ONE
from tests.harness.fleet import Fleet
from tests.harness.patience import WAIT

CLIENTS = 200


class Follower:
    """One client; what it was told is kept as it came."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.said: list[dict[str, str]] = []
        self.came = asyncio.Event()
        self.whole = False

    async def follow(self) -> None:
        """Read to the end of the stream; `whole` is told by the last thing that a gateway says."""
        event: dict[str, str] = {}
        async for line in self.answer.aiter_lines():
            name, _, value = line.partition(": ")
            self.whole = self.whole or name == "retry"
            if line:
                event[name] = value
            elif event:
                self.said.append(event)
                self.came.set()
                event = {}

    async def until(self, job: str, state: str) -> None:
        """Wait until it was told of a job in a state."""
        while not any(_row(event) == (job, state) for event in self.said):
            self.came.clear()
            await self.came.wait()


def _row(event: dict[str, str]) -> tuple[str, str]:
    row: dict[str, Any] = json.loads(event.get("data", "{}")).get("row", {})
    return row.get("job_id", ""), row.get("state", "")


def _id(row: dict[str, Any]) -> str:
    return str(row["event_id"])


def tokens(fleet: Fleet) -> list[str]:
    """Make as many tokens as need be: each has its own share of streams."""
    made = [fleet.post("/api/tokens", {"name": f"follower{number}"}) for number in range(CLIENTS // MOST_OF_ONE)]
    return [token["secret"] for token in made]


async def _all_are_told(fleet: Fleet, secrets: list[str], definition: dict[str, Any]) -> None:
    url, limits = f"http://127.0.0.1:{fleet.api_port}", httpx2.Limits(max_connections=None)
    async with AsyncExitStack() as stack, asyncio.timeout(5 * WAIT):
        client = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, timeout=WAIT, limits=limits))
        followers: list[Follower] = []
        for number in range(CLIENTS):
            headers = {"Authorization": f"Bearer {secrets[number // MOST_OF_ONE]}"}
            answer = await stack.enter_async_context(client.stream("GET", "/api/events", headers=headers))
            assert answer.status_code == 200
            followers.append(Follower(answer))
        deaf, heard = followers[::4], [one for number, one in enumerate(followers) if number % 4]
        reading = [asyncio.create_task(one.follow()) for one in heard]

        job = await asyncio.to_thread(fleet.run, definition)
        for state in ("queued", "running", "succeeded"):
            await asyncio.gather(*(one.until(job["id"], state) for one in heard))
        for one in heard:
            # In the order of their ids: each service sends what it did by itself, and one may be slower than another.
            rows = sorted(
                (json.loads(event["data"])["row"] for event in one.said if _row(event)[0] == job["id"]), key=_id
            )
            assert list(dict.fromkeys(row["state"] for row in rows)) == ["queued", "running", "succeeded"]
        # Those who read nothing hold up nobody, and whoever asks anything else is answered.
        for path in ("/api/servers", "/api/jobs", "/api/tonight", "/"):
            assert (await asyncio.to_thread(fleet.request, "GET", path)).status_code == 200

        gateway = fleet.services["api"]
        gateway.signal(signal.SIGTERM)
        await asyncio.gather(*reading)
        assert all(one.whole for one in heard), "a stream was broken off"
        assert await asyncio.to_thread(gateway.process.wait, WAIT) == 0
        for one in deaf:
            await one.follow()
            assert one.whole, "what was sent before the end is there to be read"


def test_two_hundred_follow_a_backup_to_its_end_and_a_gateway_that_stops_ends_them_all(
    fleet: Fleet, data: Path
) -> None:
    secrets, definition = tokens(fleet), fleet.backup_job([data])
    before = {log: log.stat().st_size for log in fleet.directory.glob("api-*.log")}  # others break tasks on purpose
    try:
        asyncio.run(_all_are_told(fleet, secrets, definition))
    finally:
        fleet.ensure_running("api")
    said = [log.read_bytes()[before.get(log, 0) :] for log in fleet.directory.glob("api-*.log")]
    assert b"Traceback" not in b"".join(said)
    assert fleet.finished(fleet.run(definition), "succeeded")
