"""Every header that the gateway reads takes the hostile alphabet: 4xx at worst, and what comes back is inert."""

from __future__ import annotations

import ipaddress
import itertools
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.datastructures import Headers
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from shared.config.settings import LogSettings
from shared.db.session import Database
from shared.db.tables import AuditEntry, Base
from shared.domain.text import clean
from shared.telemetry.logging import configure_logging
from tests.contract.test_hostile_values import (  # noqa: F401 # pyright: ignore[reportUnusedImport] - a fixture is asked for by name
    World,
    world,
)
from tests.harness import hostile

pytestmark = pytest.mark.unmeasured  # thousands of requests through the same lines

_numbers = itertools.count(1)
_ADDRESSES = (
    b"1.2.3.4", b"1.2.3.4, 5.6.7.8", b"[::1]:80", b"fe80::1%" + b"e" * 300, b"fe80::1%\x1b[2J", b"unknown", b"," * 500, b":" * 500,
    b"1.2.3.4:99999999999", b"127.0.0.1, \xff\xfe", b"\x1b[31mroot\x1b[0m", b"1.2.3.4\r\nadmin logged in", b"[", b"[::1", b"a" * 8000,
)  # fmt: skip
_HOSTS = (
    b"", b"[", b"]", b"[::1", b"[v1.x]", b"a:b:c", b"x:99999", b"x:-1", b"evil.example", b"a@b", b"a/b?c#d", b"\\", b"xn--a", b"%00",
    "\u2100.example".encode(), b"\xff\xfe", b"localhost\r\nX: y", b"127.0.0.1:" + b"9" * 5000, b"x" * 8000, b"[fe80::1%\x1b]:1",
)  # fmt: skip
_LENGTHS = (
    b"",
    b"-1",
    b"+5",
    b"5, 5",
    b"0x10",
    b"1e3",
    b"\xb2",
    "٣".encode(),
    b"9" * 5000,
    b"18446744073709551616",
    b" 5 ",
    b"5\x00",
)
HEADERS: dict[str, tuple[bytes, ...]] = {
    "accept": (b"*/*;q=nan", b"application/json;q=1e999", b"," * 5000, b"text/html"),
    "accept-encoding": (b"br;q=0, gzip;q=", b"gzip;" * 2000, b"*;q=0", b"identity;q=0, *;q=0"),
    "accept-language": (b"fr;q=NaN", b"-" * 5000, b"../../etc", b"fr-\xff"),
    "authorization": hostile.AUTHORIZATIONS,
    "connection": (b"upgrade", b"close, keep-alive", b"host"),
    "content-encoding": (b"gzip", b"br, gzip", b"identity"),
    "content-length": _LENGTHS,
    "content-type": tuple(one.encode("latin-1") for one in hostile.CONTENT_TYPES),
    "cookie": (
        b"borgfleet=", b"=", b";" * 5000, b"borgfleet=\xff; borgfleet=x", b'borgfleet="\\377\\033[2J"', b"__Host-borgfleet=" + b"x" * 8000,
        b"$Version=1; borgfleet=a", b"borgfleet", b"a=b; " * 1500, b"borgfleet=\x1b]0;owned\x07",
    ),
    "expect": (b"100-continue", b"200-ok"),
    "forwarded": (b'for="[::1]:80";proto=https;host=evil', b"for=_x;" * 500),
    "host": _HOSTS,
    "idempotency-key": (b"a b", b"a" * 255, b"a" * 256, b"a", b"\x7f", b"a\r\nb"),
    "if-match": (b"*", b'"', b'W/"x"', b"," * 5000),
    "if-none-match": (b"*", b'"', b'W/"x", "y"', b"," * 5000, b"W/" * 4000),
    "if-modified-since": (b"Thu, 01 Jan 1970 00:00:00 GMT", b"yesterday", b"Sat, 99 Foo 99999 99:99:99 GMT"),
    "last-event-id": (b"x-1", b"-", b"x-" + b"9" * 60, b"x-\xb2", b"1" * 64, b"1" * 65),
    "origin": (b"null", b"http://test", b"https://evil.example", b"http://[", b"file://", b"http://test\x00"),
    "range": (b"bytes=0-", b"bytes=-1", b"bytes=" + b"0-1," * 2000, b"bytes=9999999999999999999-"),
    "referer": (b"http://[", b"javascript:x"),
    "sec-fetch-site": (b"same-origin", b"cross-site", b"none", b"SAME-ORIGIN", b"same-origin\x00"),
    "te": (b"trailers", b"chunked"),
    "traceparent": (b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"ff-x"),
    "transfer-encoding": (b"chunked", b"gzip", b"chunked, chunked", b"identity"),
    "upgrade": (b"websocket", b"h2c"),
    "user-agent": (b"\x1b]0;owned\x07", b"a" * 8000, b"\xff\xfe"),
    "x-forwarded-for": _ADDRESSES,
    "x-forwarded-host": _HOSTS,
    "x-forwarded-port": _LENGTHS,
    "x-forwarded-prefix": (b"/api", b"//evil.example", b"/\x1b"),
    "x-forwarded-proto": (b"https", b"http, https", b"ftp", b"HTTPS", b"https\r\nX: y"),
    "x-http-method-override": (b"DELETE", b"GET"),
    "x-request-id": (b"a" * 64, b"a" * 65, b"abcdefgh\n", b"abcd efgh", b"\x1b[31mabcdefgh", b"0" * 32, "\u202eabcdefgh".encode()),
}  # fmt: skip
"""What each header is given besides the alphabet."""


def names_asked_for(patched: pytest.MonkeyPatch) -> set[str]:
    """Return a set that gets the name of each header that something asks a request for."""
    names: set[str] = set()

    def noting(original: Callable[..., Any]) -> Callable[..., Any]:
        def noted(headers: Headers, name: str) -> Any:
            if type(headers) is Headers:  # an answer's are of a subclass
                names.add(name.lower())
            return original(headers, name)

        return noted

    for method in ("getlist", "__getitem__", "__contains__"):
        patched.setattr(Headers, method, noting(getattr(Headers, method)))
    return names


def requests_of(gateway: World) -> Iterator[tuple[str, str, bytes | None]]:
    """Yield one request of each kind of route: a page, a list with a link, one thing, a stream, changes, what is public."""
    yield "get", "/", None
    yield "get", "/api/nowhere", None
    yield "get", "/api/tags?limit=1", None
    yield "get", f"/api/jobs/{gateway.ids['job_id']}", None
    yield "get", "/api/events", None
    yield "head", "/api/servers", None
    yield "get", "/api/auth/me", None
    yield "post", "/api/tags", b'{"name": "%s"}'
    yield "put", "/api/limits", b'{"x": 1}'
    yield "delete", f"/api/tags/{gateway.ids['server_id']}", None
    yield "post", "/api/auth/login", b'{"email": "a@example.org", "password": "wrong password"}'
    yield "post", "/api/auth/logout", None


def values_of(name: str, alphabet: hostile.Turns) -> Iterator[bytes]:
    yield from HEADERS[name]
    yield from (one.encode(errors="surrogatepass") for one in alphabet.some(hostile.TEXTS))


def assert_inert(answer: Any, what: str) -> None:
    """Nothing in the answer ends a line, moves a cursor, or reads in another direction."""
    for name, value in answer.headers.raw:
        assert re.fullmatch(rb"[\x20-\x7e]*", name + value), what
    kind = answer.headers.get("content-type", "")
    if answer.content and ("json" in kind):
        for one in texts_in(answer.json()):
            assert clean(one, 100_000) == one, (what, one)


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from texts_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts_in(one)


async def counted(db: Database) -> dict[str, int]:
    """Return how many rows each table has, but for what is written of every request: audit, answers, counts of failures."""
    async with db.read() as session:
        return {
            table.name: await session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
        }


@pytest.fixture
def gateway(world: World, monkeypatch: pytest.MonkeyPatch) -> World:  # noqa: F811 - the fixture of this name
    """The gateway behind a proxy that it trusts, which passes on whatever it is given."""
    transport: Any = world.http._transport
    monkeypatch.setattr(transport, "app", ProxyHeadersMiddleware(transport.app, ["127.0.0.1"]))
    return world


async def test_every_header_takes_the_alphabet_on_every_kind_of_route(
    gateway: World, db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(LogSettings(level="debug"))
    for noisy in ("aiosqlite", "asyncio", "httpx2", "httpcore2", "sqlalchemy"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    before, made, alphabet = await counted(db), 0, hostile.Turns()
    for name in HEADERS:
        for method, path, content in requests_of(gateway):
            for value in values_of(name, alphabet):
                body = content and content.replace(b"%s", b"h%d" % next(_numbers))
                answer = await ask(gateway, method, path, body, {name: value})
                assert_inert(answer, f"{method} {path} {name}: {value[:200]!r}: {answer.headers} {answer.text[:500]}")
                assert "evil.example" not in str(answer.headers) + answer.text
                made += method == "post" and path == "/api/tags" and answer.status_code == 201
    after = await counted(db)
    changed = {table for table in after if after[table] != before[table]}
    assert after["tags"] - before["tags"] == made > 100
    assert changed <= {"tags", "audit_entries", "audit_seals", "idempotency_keys", "throttles"}, changed
    async with db.read() as session:
        addresses = set(await session.scalars(select(AuditEntry.address)))
    assert {"1.2.3.4", "127.0.0.1", ""} < addresses
    assert all(ipaddress.ip_address(one) for one in addresses - {""})
    assert not any("%" in one for one in addresses), "a zone may hold anything"
    said = capsys.readouterr().err
    assert re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e]", said) is None, said


async def test_no_header_is_read_that_is_not_tried(gateway: World, monkeypatch: pytest.MonkeyPatch) -> None:
    names = names_asked_for(monkeypatch)
    for method, path, content in requests_of(gateway):
        await ask(gateway, method, path, content, {})
        await ask(
            gateway, method, path, content, {"authorization": b"", "cookie": b"borgfleet=x", "host": b"localhost"}
        )
    for method, path, operation in gateway.operations():
        await gateway.ask(method, gateway.whole(path, operation), b"{}" if operation.get("requestBody") else None)
    assert {"authorization", "cookie", "idempotency-key", "last-event-id", "host", "x-request-id"} < names
    assert names <= set(HEADERS)


async def ask(gateway: World, method: str, path: str, content: bytes | None, headers: dict[str, bytes]) -> Any:
    more: dict[str, Any] = dict(headers)
    if method == "head":
        return await gateway.http.head(path, headers=more)
    return await gateway.ask(method, path, content, **more)
