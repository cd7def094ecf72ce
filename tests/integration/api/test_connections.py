"""What a client does with a connection costs others nothing: silence, a slow head, no HTTP, an answer not read, too many."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from shared.config.settings import HealthSettings
from shared.runtime.health import serve
from shared.runtime.http import HEAD_SECONDS, BoundedHttp, most_connections
from shared.testing.sshd import free_port
from tests.harness.patience import WAIT

LARGE = 50 * 1024 * 1024


async def heard(reader: asyncio.StreamReader) -> bytes:
    """Read to the end, and keep what came before a reset: what the server had not read when it closed makes it one."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while block := await reader.read(65536):
            said += block
    return said


async def said_while_sending(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parts: Sequence[bytes], pause: float
) -> bytes:
    """Send parts until the server has closed; return what it said."""
    reading = asyncio.create_task(heard(reader))
    with contextlib.suppress(ConnectionError):
        for part in parts:
            if reading.done():
                break
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
    return await reading


class Served:
    def __init__(self, port: int) -> None:
        self.port = port

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def problem(self, *parts: bytes, pause: float = 0) -> dict[str, Any] | None:
        """Send parts, and return the problem that is answered before the server closes; None for silence."""
        reader, writer = await self.open()
        try:
            async with asyncio.timeout(WAIT):
                answer = await said_while_sending(reader, writer, parts, pause)
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"application/problem+json" in head:
            assert b"connection: close" in head.lower()
            return json.loads(body)
        assert not answer, answer
        return None


async def small(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("here")


async def large(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("x" * LARGE)


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(BoundedHttp, "head_seconds", WAIT)
    stopping, port = asyncio.Event(), free_port()
    app = Starlette(routes=[Route("/", small), Route("/large", large)])
    task = asyncio.create_task(serve(app, HealthSettings(port=port), stopping))
    made = Served(port)
    async with asyncio.timeout(WAIT):
        while True:
            with contextlib.suppress(OSError):
                (await made.open())[1].close()
                break
            await asyncio.sleep(0.05)
    yield made
    stopping.set()
    await task


SLOW: dict[str, tuple[bytes, ...]] = {
    "nothing at all": (),
    "half a line": (b"GET / HT",),
    "a header at a time": (b"GET / HTTP/1.1\r\nHost: t\r\n", *(b"x%d: y\r\n" % number for number in range(1000))),
    "a byte at a time": tuple(bytes([one]) for one in b"GET / HTTP/1.1\r\nHost: t\r\nx: " + b"y" * 1000),
}


@pytest.mark.parametrize("name", SLOW)
async def test_a_head_that_does_not_come_in_time_ends_the_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(BoundedHttp, "head_seconds", 1.0)
    found = await served.problem(*SLOW[name], pause=0.1)
    assert found is not None
    assert (found["status"], found["code"]) == (408, "head_too_slow")
    assert found["remedy"]


async def test_a_second_head_on_a_connection_has_no_more_time_than_the_first(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = await served.open()
    async with asyncio.timeout(WAIT):
        writer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        assert b"here" in await reader.readuntil(b"here")
        monkeypatch.setattr(BoundedHttp, "head_seconds", 1.0)
        parts = [b"GET / HTTP/1.1\r\nHost: t\r\n", *[b"x: y\r\n"] * 1000]
        assert b"head_too_slow" in await said_while_sending(reader, writer, parts, 0.1)
    writer.close()


async def test_a_request_that_takes_its_time_is_not_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is one of the head alone: the door has its own for bodies, the routes theirs for work."""
    monkeypatch.setattr(BoundedHttp, "head_seconds", 1.0)
    early = socket.create_connection(("127.0.0.1", served.port), timeout=WAIT)
    # The head is there before the connection is taken: its own time cannot run out, however slow the machine is.
    early.sendall(b"GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{")
    reader, writer = await asyncio.open_connection(sock=early)
    async with asyncio.timeout(WAIT):
        await asyncio.sleep(1.5)
        writer.write(b"}")
        assert b"here" in await reader.readuntil(b"here")
    writer.close()


@pytest.mark.parametrize(
    "sent",
    [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: t\r\nx\x01: y\r\n\r\n", b"GET / HTTP/1.1\r\nHost: t\r\nx: " + b"y" * 300_000,
     b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n", b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n"],
    ids=lambda one: ascii(one)[:30],
)  # fmt: skip
async def test_what_is_no_http_is_answered_as_a_problem_with_cause_and_remedy(served: Served, sent: bytes) -> None:
    found = await served.problem(sent)
    if found is None:
        return  # reset, with the answer on its way: more was sent than was read
    assert found["status"] in (400, 501)
    assert found["code"] == "not_http"
    assert found["detail"]
    assert found["remedy"]


async def test_connections_are_bounded_and_the_next_is_told_so(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHttp, "most", 3)
    held = [await served.open() for _ in range(3)]
    found = await served.problem()
    assert found is not None
    assert (found["status"], found["code"]) == (503, "too_many_connections")
    assert found["remedy"]
    held.pop()[1].close()
    async with asyncio.timeout(WAIT):
        while True:
            reader, writer = await served.open()
            writer.write(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            answer = await heard(reader)
            writer.close()
            if b"here" in answer:
                break
            await asyncio.sleep(0.05)
    for _, writer in held:
        writer.close()


async def test_an_answer_that_nobody_reads_holds_no_connection(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHttp, "unread_seconds", 0.5)
    monkeypatch.setattr(BoundedHttp, "most", 1)
    with socket.create_connection(("127.0.0.1", served.port), timeout=WAIT) as deaf:
        deaf.sendall(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n")
        async with asyncio.timeout(WAIT):
            while True:
                reader, writer = await served.open()
                with contextlib.suppress(ConnectionError):
                    writer.write(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                    answer = await heard(reader)
                    if b"here" in answer:
                        writer.close()
                        break
                writer.close()
                await asyncio.sleep(0.1)


def test_connections_leave_descriptors_for_everything_else() -> None:
    assert 0 < most_connections() <= 2000
    assert HEAD_SECONDS == 30
