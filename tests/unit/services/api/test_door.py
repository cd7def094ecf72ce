"""What the API refuses before it reads, and in which form."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from services.api.app import build_app
from services.api.kernel.dependencies import Gateway
from services.api.kernel.request import LARGEST_BODY, Door
from shared.db.tables import ApiToken
from shared.runtime.service import Parts
from tests.harness.patience import WAIT

TOKEN = {"Authorization": "Bearer bf_door"}


@pytest.fixture
async def api(parts: Parts) -> AsyncIterator[httpx2.AsyncClient]:
    async def add(tx: Any) -> None:
        tx.session.add(ApiToken(name="admin", digest=hashlib.sha256(b"bf_door").hexdigest()))

    await parts.db.run(add)
    transport = httpx2.ASGITransport(app=build_app(parts), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=TOKEN) as client:
        yield client


def assert_problem(answer: httpx2.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["title"]
    assert problem["detail"]
    assert problem["remedy"]


class Endless:
    """A client that sends for as long as anybody reads; counts how much was read."""

    def __init__(self, pause: float = 0) -> None:
        self.read = 0
        self.pause = pause

    async def __call__(self) -> dict[str, Any]:
        await asyncio.sleep(self.pause)
        self.read += 64 * 1024
        return {"type": "http.request", "body": bytes(64 * 1024), "more_body": True}


async def sent(parts: Parts, receive: Any, headers: dict[str, str], **limits: Any) -> tuple[int, dict[str, Any]]:
    """Send a request by hand; return status and problem; 0 where nothing was answered."""

    async def echo(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    app = Starlette(routes=[Route("/x", echo, methods=["POST"])])
    door = Door(app, Gateway(parts.db, parts.bus, None, {}), **limits)  # pyright: ignore[reportArgumentType] - nothing is sent
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": raw, "http_version": "1.1"}
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async with asyncio.timeout(WAIT):
        await door(scope, receive, send)
    if not said:
        return 0, {}
    body = b"".join(message.get("body", b"") for message in said[1:])
    if said[0]["status"] >= 400:
        assert (b"connection", b"close") in said[0]["headers"]
    return said[0]["status"], json.loads(body)


async def test_nothing_is_read_of_whoever_has_no_token(api: httpx2.AsyncClient, parts: Parts) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer bf_wrong"},
        {"Authorization": "Basic bf_door"},
        {"Authorization": "Bearer "},
    ):
        endless = Endless()
        status, problem = await sent(parts, endless, headers)
        assert (status, problem["code"], endless.read) == (401, "unauthenticated", 0)
        assert problem["remedy"]


async def test_a_body_is_cut_at_its_limit_and_the_limit_is_told(api: httpx2.AsyncClient, parts: Parts) -> None:
    endless = Endless()
    status, problem = await sent(parts, endless, TOKEN)
    assert (status, problem["code"]) == (413, "body_too_large")
    assert str(LARGEST_BODY) in problem["detail"]
    assert LARGEST_BODY < endless.read <= LARGEST_BODY + 64 * 1024
    declared = Endless()
    status, problem = await sent(parts, declared, TOKEN | {"Content-Length": str(200 * 1024**2)})
    assert (status, declared.read) == (413, 0)


@pytest.mark.parametrize("length", ["-1", "x", "9" * 5000, "١٢"])
async def test_a_length_that_is_no_number_is_counted_as_it_comes(
    api: httpx2.AsyncClient, parts: Parts, length: str
) -> None:
    async def nothing() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    status, _ = await sent(parts, nothing, TOKEN | {"Content-Length": length})
    assert status == (413 if length.isascii() and length.isdigit() else 200)


async def test_a_body_that_comes_too_slowly_is_given_up(api: httpx2.AsyncClient, parts: Parts) -> None:
    status, problem = await sent(parts, Endless(pause=3600), TOKEN, seconds=0.05)
    assert (status, problem["code"]) == (408, "body_too_slow")
    assert problem["remedy"]


async def test_a_client_that_leaves_within_its_body_is_not_served(api: httpx2.AsyncClient, parts: Parts) -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    assert (await sent(parts, gone, TOKEN))[0] == 0


async def test_a_body_within_the_limit_arrives_whole(api: httpx2.AsyncClient) -> None:
    padding = " " * (LARGEST_BODY - 200)
    body = json.dumps({"name": "web1", "host": "192.0.2.1"}) + padding
    answer = await api.post("/api/servers", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("GET", "/nowhere", b"", 404, "not_found"),
        ("GET", "/api/nowhere", b"", 404, "not_found"),
        ("PATCH", "/api/servers", b"", 405, "method_not_allowed"),
        ("POST", "/api/servers", b"{", 422, "invalid"),
        ("POST", "/api/servers", b"", 422, "invalid"),
        ("POST", "/api/servers", b"\xff\xfe\xff", 400, "bad_body"),
        ("POST", "/api/servers", b"[" * 100_000, 400, "bad_body"),
        ("POST", "/api/servers", b'{"port": ' + b"9" * 5000 + b"}", 400, "bad_body"),
        ("POST", "/api/servers", b'{"\\ud800": 1}', 422, "invalid"),
        ("GET", "/api/servers/" + "x" * 5000, b"", 422, "invalid"),
        ("GET", "/api/jobs?after=%ff", b"", 422, "bad_cursor"),
    ],
)
async def test_every_refusal_is_a_problem_with_code_cause_and_remedy(
    api: httpx2.AsyncClient, method: str, path: str, content: bytes, status: int, code: str
) -> None:
    answer = await api.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert_problem(answer, status, code)


async def test_an_unexpected_error_says_nothing_of_itself(
    api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("secret canary")

    monkeypatch.setattr("services.api.features.servers.routes.shown", broken)
    answer = await api.post("/api/servers", json={"name": "web1", "host": "192.0.2.1"})
    assert_problem(answer, 500, "internal")
    assert "canary" not in answer.text


async def test_a_thousand_wrong_fields_make_a_short_answer(api: httpx2.AsyncClient) -> None:
    wrong = {"name": "w", "host": "h", **{f"x{number}" + "y" * 300: 1 for number in range(1000)}}
    answer = await api.post("/api/servers", json=wrong)
    assert_problem(answer, 422, "invalid")
    assert len(answer.json()["errors"]) == 50
    assert len(answer.content) < 50_000


@pytest.mark.parametrize(
    ("kind", "warning", "critical", "status"),
    [("memory", 90, 97, 200), ("memory", 97, 97, 200), ("memory", 99, 1, 422), ("disk_full_soon", 72, 24, 200),
     ("disk_full_soon", 24, 72, 422), ("memory", None, 1, 200), ("memory", 99, None, 200)],
)  # fmt: skip
async def test_a_critical_level_that_comes_before_the_warning_is_refused(
    api: httpx2.AsyncClient, kind: str, warning: float | None, critical: float | None, status: int
) -> None:
    answer = await api.put(f"/api/thresholds/{kind}", json={"warning": warning, "critical": critical})
    assert answer.status_code == status, answer.text
    if status == 422:
        assert_problem(answer, 422, "thresholds_contradict")
