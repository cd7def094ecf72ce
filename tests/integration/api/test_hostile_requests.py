"""Requests that no client would write, byte by byte to a gateway in a process of its own: an answer or an end, and no effect."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.domain.text import clean
from shared.testing.sshd import free_port, wait_for_listener
from tests.harness import hostile
from tests.harness.api_process import TOKEN
from tests.harness.patience import WAIT

MANY = 16
HEAD = b"Host: t\r\nConnection: close\r\n"
AUTH = HEAD + f"Authorization: Bearer {TOKEN}\r\n".encode()
JSON = AUTH + b"Content-Type: application/json\r\n"
POST = b"POST /api/tags HTTP/1.1\r\n" + JSON
TAG = b'{"name": "smuggled"}'
NEXT = b"POST /api/tags HTTP/1.1\r\n" + JSON + b"Content-Length: 20\r\n\r\n" + TAG
TOLD_OF_ALL = {"audit_entries", "audit_seals", "idempotency_keys", "throttles", "api_tokens"}


@dataclass(frozen=True)
class Gateway:
    """The gateway's process, its database and what it wrote."""

    process: subprocess.Popen[bytes]
    port: int
    directory: Path

    async def answers(self, *parts: bytes, pause: float = 0, cut: bool = False) -> list[tuple[int, bytes, bytes]]:
        """Send parts, and return status, head and body of each answer; `cut` leaves without waiting for one.

        After a 503 of a database that is slow, it is asked again, as the answer says: this machine may be, at times.
        """
        async with asyncio.timeout(WAIT):
            while True:
                found = await self._answers(*parts, pause=pause, cut=cut)
                if not any(status == 503 and b'"database_' in body for status, _, body in found):
                    return found
                await asyncio.sleep(1)

    async def _answers(self, *parts: bytes, pause: float, cut: bool) -> list[tuple[int, bytes, bytes]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        said = b""
        try:
            hearing = asyncio.create_task(_heard(reader))
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    if hearing.done():
                        break
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(pause)
            if cut:
                hearing.cancel()
            else:
                said = await hearing
        finally:
            writer.close()
        return list(answers_in(said))

    def rows(self) -> dict[str, int]:
        with contextlib.closing(sqlite3.connect(self.directory / "api.db", timeout=WAIT)) as db:
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}  # noqa: S608 - our own names

    def said(self) -> str:
        return (self.directory / "log").read_bytes().decode(errors="surrogateescape")


async def _heard(reader: asyncio.StreamReader) -> bytes:
    said = b""
    with contextlib.suppress(ConnectionError):
        while block := await reader.read(65536):
            said += block
    return said


def answers_in(said: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Take what came apart: each answer has a length, or is the last."""
    while said:
        head, _, rest = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 "), said[:500]
        status = int(head.split(b" ", 2)[1])
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        size = int(length[1]) if length else 0 if status < 200 else len(rest)
        if status >= 200:
            yield status, head, rest[:size]
        said = rest[size:]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory, port = tmp_path_factory.mktemp("hostile-requests"), free_port()
    argv = [sys.executable, "-m", "tests.harness.api_process", str(directory), str(port)]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(argv, stderr=log)
    try:
        wait_for_listener("127.0.0.1", port, WAIT)
        yield Gateway(process, port, directory)
    finally:
        process.terminate()
        process.wait(WAIT)


def line(start: bytes) -> bytes:
    return start + b"\r\n" + AUTH + b"\r\n"


def get(more: bytes, path: bytes = b"/api/tags") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + AUTH + more + b"\r\n"


def post(more: bytes, body: bytes) -> bytes:
    return POST + more + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked\r\n"
NONE, REFUSED, ANY = (), range(400, 500), range(200, 500)
CASES: dict[str, tuple[range, bytes]] = {
    "two lengths that differ": (REFUSED, post(b"Content-Length: 20\r\nContent-Length: 0\r\n", TAG)),
    "two lengths in one line": (REFUSED, post(b"Content-Length: 20, 0\r\n", TAG)),
    "chunked and a length": (REFUSED, post(CHUNKED + b"Content-Length: 20\r\n", b"14\r\n" + TAG + b"\r\n0\r\n\r\n")),
    "a length and chunked": (REFUSED, post(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n" + NEXT)),
    "chunked twice": (range(400, 502), post(CHUNKED * 2, b"0\r\n\r\n" + NEXT)),
    "chunked behind a space": (REFUSED, post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + NEXT)),
    "chunked behind a control": (range(400, 502), post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n" + NEXT)),
    "chunked behind a coding": (range(400, 502), post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n" + NEXT)),
    "a length of 5,000 digits": (REFUSED, post(b"Content-Length: " + b"9" * 5000 + b"\r\n", TAG)),
    "a length of 19 digits": (REFUSED, post(b"Content-Length: 9999999999999999999\r\n", TAG)),
    "a length with a sign": (REFUSED, post(b"Content-Length: +20\r\n", TAG)),
    "a length in hexadecimal": (REFUSED, post(b"Content-Length: 0x14\r\n", TAG)),
    "two hosts": (REFUSED, get(b"Host: evil.example\r\n")),
    "no host": (REFUSED, b"GET /api/tags HTTP/1.1\r\nConnection: close\r\n\r\n"),
    "two authorizations": (REFUSED, get(b"Authorization: Bearer bf_other\r\n")),
    "two keys": (REFUSED, post(b"Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 20\r\n", TAG)),
    "two kinds of content": (REFUSED, post(b"Content-Type: text/plain\r\nContent-Length: 20\r\n", TAG)),
    "a header of 1 MB": (REFUSED, get(b"X: " + b"y" * 1024**2 + b"\r\n")),
    "a header of 30 kB": (REFUSED, get(b"X: " + b"y" * 30_000 + b"\r\n")),
    "10,000 headers": (REFUSED, get(b"".join(b"x%d: y\r\n" % number for number in range(10_000)))),
    "one header 3,000 times": (REFUSED, get(b"x: y\r\n" * 3000)),
    "a path of 1 MB": (REFUSED, get(b"", b"/api/" + b"x" * 1024**2)),
    "a query of 30 kB": (REFUSED, get(b"", b"/api/tags?after=" + b"x" * 30_000)),
    "NUL in a value": (REFUSED, get(b"X: a\x00b\r\n")),
    "NUL in a name": (REFUSED, get(b"X\x00: b\r\n")),
    "NUL in a path": (REFUSED, get(b"", b"/api/tags\x00")),
    "NUL in a path, spelled": (REFUSED, get(b"", b"/api/tags/%00")),
    "a path that is no UTF-8": (REFUSED, get(b"", b"/api/tags/\xff")),
    "a path that is no UTF-8, spelled": (REFUSED, get(b"", b"/api/tags/%FF%ED%A0%80")),
    "a query that is no UTF-8, spelled": (REFUSED, get(b"", b"/api/tags?after=%FF%ED%A0%80")),
    "a fragment": (ANY, get(b"", b"/api/tags#x")),
    "a space in the path": (REFUSED, get(b"", b"/api/ta gs")),
    "bare line feeds": (ANY, b"GET /api/tags HTTP/1.1\nHost: t\nConnection: close\n\n"),
    "a bare carriage return in a value": (REFUSED, get(b"X: a\rAuthorization: Bearer x\r\n")),
    "a folded header": (ANY, get(b"X: a\r\n Idempotency-Key: b\r\n")),
    "a folded length": (REFUSED, post(b"Content-Length: 2\r\n 0\r\n", TAG)),
    "a fold before the first header": (REFUSED, b"GET /api/tags HTTP/1.1\r\n X: a\r\n" + AUTH + b"\r\n"),
    "no colon": (REFUSED, get(b"nonsense\r\n")),
    "no name": (REFUSED, get(b": value\r\n")),
    "a name in UTF-8": (REFUSED, get("é: x\r\n".encode())),
    "a chunk of no size": (ANY, post(CHUNKED, b"zz\r\n" + TAG)),
    "a chunk of too many digits": (ANY, post(CHUNKED, b"F" * 30 + b"\r\n" + TAG)),
    "a chunk of a negative size": (ANY, post(CHUNKED, b"-1\r\n" + TAG)),
    "a chunk longer than it says": (ANY, post(CHUNKED, b"1\r\n" + TAG + b"\r\n0\r\n\r\n")),
    "a chunk with an endless extension": (ANY, post(CHUNKED, b"14;" + b"x" * 500_000)),
    "trailers of 500 kB": (ANY, post(CHUNKED, b"2\r\n{}\r\n0\r\nX: " + b"y" * 500_000)),
    "a trailer that names an account": (REFUSED, b"POST /api/tags HTTP/1.1\r\n" + HEAD + CHUNKED +
        b"\r\n14\r\n" + TAG + b"\r\n0\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"),
    "a body that is gzip": (REFUSED, post(b"Content-Encoding: gzip\r\nContent-Length: 4\r\n", b"\x1f\x8b\x08\x00")),
    "HTTP/0.9": (REFUSED, b"GET /api/tags\r\n\r\n"),
    "HTTP/2": (REFUSED, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/9.9": (range(200, 506), line(b"GET /api/tags HTTP/9.9")),
    "TLS": (REFUSED, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n"),
    "SSH": (REFUSED, b"SSH-2.0-x\r\n\r\n"),
    "a tunnel": (REFUSED, line(b"CONNECT evil.example:80 HTTP/1.1")),
    "an echo": (REFUSED, line(b"TRACE /api/tags HTTP/1.1")),
    "all of the server": (ANY, line(b"OPTIONS * HTTP/1.1")),
    "an absolute target": (ANY, line(b"GET http://evil.example/api/tags HTTP/1.1")),
    "a method of escapes": (REFUSED, line(b"\x1b[2J /api/tags HTTP/1.1")),
    "a method of 50 kB": (REFUSED, line(b"A" * 50_000 + b" /api/tags HTTP/1.1")),
    "an upgrade": (ANY, get(b"Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n")),
    "an upgrade to HTTP/2": (ANY, get(b"Upgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: x\r\n")),
    "a look before a leap": (REFUSED, post(b"Expect: 100-continue\r\nContent-Length: 3\r\n", b"{a}")),
    "empty lines": (REFUSED, b"\r\n" * 50_000),
}  # fmt: skip
CUT = (get(b""), post(b"Content-Length: 20\r\n", TAG), post(CHUNKED, b"14\r\n" + TAG + b"\r\n0\r\n\r\n"))


def assert_sound(answers: list[tuple[int, bytes, bytes]], what: str) -> None:
    for status, head, body in answers:
        assert status < 500 or status in (501, 505), what
        assert re.fullmatch(rb"[\x20-\x7e\r\n]*", head), what
        assert b"evil.example" not in head + body, what
        if status >= 400:
            assert b"application/problem+json" in head, (what, head)
            problem = json.loads(body)
            assert problem["detail"], what
            assert problem["remedy"], what
        if b"json" in head:
            text = body.decode()
            assert clean(text, 10**6) == text, what


@pytest.mark.parametrize("name", CASES)
async def test_a_malformed_request_is_refused_and_does_nothing(gateway: Gateway, name: str) -> None:
    before = gateway.rows()
    allowed, sent = CASES[name]
    answers = await gateway.answers(sent)
    assert_sound(answers, f"{name}: {answers}")
    assert len(answers) <= (2 if name == "HTTP/2" else 1), answers
    # A client that has sent more than was read may lose the answer to a reset.
    assert answers or len(sent) > 20_000, "closed without an answer"
    assert all(status in allowed for status, _, _ in answers), answers
    after = gateway.rows()
    assert {one for one in after if after[one] != before[one]} <= TOLD_OF_ALL


@pytest.mark.parametrize("whole", CUT, ids=("get", "length", "chunked"))
async def test_a_request_cut_anywhere_does_nothing(gateway: Gateway, whole: bytes) -> None:
    before, gate = gateway.rows(), asyncio.Semaphore(MANY)

    async def cut(at: int) -> None:
        async with gate:
            await gateway.answers(whole[:at], cut=True)

    await asyncio.gather(*(cut(at) for at in range(len(whole))))
    assert len(await gateway.answers(get(b""))) == 1
    after = gateway.rows()
    assert {one for one in after if after[one] != before[one]} <= TOLD_OF_ALL


async def test_a_value_in_any_header_is_answered_and_not_repeated(gateway: Gateway) -> None:
    names = (
        b"Accept", b"Accept-Encoding", b"Cookie", b"Idempotency-Key", b"If-Match", b"If-None-Match", b"Last-Event-ID", b"Origin", b"Range",
        b"Sec-Fetch-Site", b"User-Agent", b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Request-Id", b"Forwarded", b"Accept-Language",
    )  # fmt: skip
    before, gate, alphabet = gateway.rows(), asyncio.Semaphore(MANY), hostile.Turns()

    async def ask(start: bytes, name: bytes, value: bytes) -> None:
        async with gate:
            answers = await gateway.answers(start + name + b": " + value + b"\r\n\r\n")
            assert_sound(answers, f"{start[:20]!r} {name!r}: {value[:200]!r}: {answers}")
            assert answers or len(value) > 10_000, (name, value[:200])

    starts = (get(b"")[:-2], get(b"", b"/api/auth/me")[:-2], b"DELETE /api/tags/x HTTP/1.1\r\n" + AUTH)
    await asyncio.gather(
        *(
            ask(start, name, one.encode(errors="surrogatepass"))
            for start in starts
            for name in names
            for one in alphabet.some(hostile.TEXTS)
        )
    )
    after = gateway.rows()
    assert {one for one in after if after[one] != before[one]} <= TOLD_OF_ALL


async def test_what_follows_nonsense_on_a_connection_is_not_done(gateway: Gateway) -> None:
    kept = b"GET /api/tags HTTP/1.1\r\nHost: t\r\n\r\n"
    answers = await gateway.answers(kept * 50 + b"\x00\r\n\r\n" + NEXT)
    assert_sound(answers, str(answers))
    assert [status for status, _, _ in answers] == [401] * 50 + [400]
    assert gateway.rows()["tags"] == 0


@pytest.mark.slow
async def test_slow_bytes_end_in_time_and_keep_nobody_waiting(gateway: Gateway) -> None:
    slow_head = [bytes([one]) for one in get(b"X: " + b"y" * 500 + b"\r\n")]
    slow_body = [POST + b"Content-Length: 500\r\n\r\n", *[b" "] * 500]
    slow_chunks = [POST + CHUNKED + b"\r\n", *[b"1\r\n \r\n"] * 500]
    began = time.monotonic()
    tasks = [asyncio.create_task(gateway.answers(*one, pause=1)) for one in (slow_head, slow_body, slow_chunks) * 20]
    for _ in range(20):
        assert [status for status, _, _ in await gateway.answers(get(b""))] == [200]
    for found in await asyncio.gather(*tasks):
        assert_sound(found, str(found))
        assert [status for status, _, _ in found] == [408], found
    assert 25 < time.monotonic() - began < WAIT
    assert gateway.rows()["tags"] == 0


async def test_the_process_is_well_and_its_log_holds_nothing_that_was_sent(gateway: Gateway) -> None:
    await gateway.answers(get(b"X-Forwarded-For: \x1b[2Jforged\r\nUser-Agent: \x1b[2Jforged\r\n"))
    assert [status for status, _, _ in await gateway.answers(get(b""))] == [200]
    assert gateway.process.poll() is None
    said = gateway.said()
    assert "Traceback" not in said
    assert "forged" not in said
    assert re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e\udc80-\udcff]", said) is None
