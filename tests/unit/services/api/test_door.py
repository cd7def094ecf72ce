"""What the API refuses before it reads, and in which form."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry

from services.api.app import build_app, include
from services.api.features import ROUTERS
from services.api.kernel import body as bodies
from services.api.kernel.body import DEEPEST, LARGEST_BODY
from services.api.kernel.guard import Allow, GuardedRoute, Open
from services.api.kernel.principal import Principal
from services.api.kernel.request import LARGEST_HEAD
from services.api.kernel.rights import rights_of
from shared.db.tables import ApiToken, Job
from shared.domain.permissions import Permission, Role
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


class Client:
    """Sends requests by hand, byte by byte where need be."""

    def __init__(self, parts: Parts, *routers: APIRouter) -> None:
        self.app = build_app(Parts(parts.settings, parts.db, parts.bus, CollectorRegistry()))
        for router in routers:
            include(self.app, router)

    async def send(
        self, receive: Any, headers: dict[str, str], path: str = "/api/servers", method: str = "POST"
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body; status 0 where nothing was answered."""
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": raw, "http_version": "1.1",
        }  # fmt: skip
        said: list[Any] = []

        async def send(message: Any) -> None:
            said.append(message)

        async with asyncio.timeout(WAIT):
            await self.app(scope, receive, send)
        if not said:
            return 0, {}, b""
        head = {name.decode(): value.decode() for name, value in said[0]["headers"]}
        return said[0]["status"], head, b"".join(message.get("body", b"") for message in said[1:])


CHUNKED = {"Transfer-Encoding": "chunked"}
KIND = {"Content-Type": "application/json"}


async def sent(parts: Parts, receive: Any, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Send a body by hand; return status and problem. Whoever is refused before his end is cut off."""
    length = {} if "Content-Length" in headers else CHUNKED
    status, head, body = await Client(parts).send(receive, KIND | length | headers)
    if status >= 400:
        assert head["connection"] == "close"
    return status, json.loads(body) if body else {}


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

    status, _, _ = await Client(parts).send(nothing, TOKEN | {"Content-Length": length})
    assert status == (413 if length.isascii() and length.isdigit() else 422)


async def test_a_body_that_comes_too_slowly_is_given_up(
    api: httpx2.AsyncClient, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies.read_body, "__defaults__", (LARGEST_BODY, 0.05))
    status, problem = await sent(parts, Endless(pause=3600), TOKEN)
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
        ("POST", "/nowhere", b"{", 404, "not_found"),
        ("OPTIONS", "/api/servers", b"", 405, "method_not_allowed"),
        ("GET", "/api/nowhere", b"", 404, "not_found"),
        ("PATCH", "/api/servers", b"", 405, "method_not_allowed"),
        ("POST", "/api/servers", b"{", 400, "malformed_json"),
        ("POST", "/api/servers", b"{} {}", 400, "malformed_json"),
        ("POST", "/api/servers", b'{"port": NaN}', 400, "malformed_json"),
        ("POST", "/api/servers", b'{"port": -Infinity}', 400, "malformed_json"),
        ("POST", "/api/servers", b'{"name": "a", "name": "b"}', 400, "malformed_json"),
        ("POST", "/api/servers", '{"name": "a"}'.encode("utf-16"), 400, "malformed_json"),
        ("POST", "/api/servers", b"[" * DEEPEST + b"]" * DEEPEST, 422, "invalid"),
        ("POST", "/api/servers", b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), 400, "body_too_deep"),
        ("POST", "/api/servers", b'{"a":' * 60 + b"1" + b"}" * 60, 400, "body_too_deep"),
        ("POST", "/api/servers", b"", 422, "invalid"),
        ("POST", "/api/servers", b"\xff\xfe\xff", 400, "malformed_json"),
        ("POST", "/api/servers", b"[" * 100_000, 400, "body_too_deep"),
        ("POST", "/api/servers", b'{"port": ' + b"9" * 5000 + b"}", 400, "malformed_json"),
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

    monkeypatch.setattr("services.api.features.servers.routes.to_schema", broken)
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


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
async def test_a_body_that_is_not_said_to_be_json_is_refused(api: httpx2.AsyncClient, kind: str) -> None:
    """A form of another site can send these without asking the browser's leave."""
    answer = await api.post("/api/servers", content=b'{"name": "web1", "host": "h"}', headers={"Content-Type": kind})
    assert_problem(answer, 415, "not_json")


@pytest.mark.parametrize("depth", [1, DEEPEST])
async def test_brackets_within_texts_are_no_nesting(api: httpx2.AsyncClient, depth: int) -> None:
    answer = await api.post("/api/tags", json={"name": f"t{depth}", "description": "[{" * 40})
    assert answer.status_code == 201, answer.text


def routes(*rules: Any) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute)

    @router.post("/api/guarded", dependencies=[Allow(rule) for rule in rules])
    async def guarded(request: Request) -> str:
        return "done"

    return router


def test_a_route_that_does_not_say_who_may_use_it_cannot_be_made(parts: Parts) -> None:
    with pytest.raises(TypeError, match="0 rules"):
        routes()
    with pytest.raises(TypeError, match="2 rules"):
        routes(Permission.JOBS_READ, Permission.JOBS_CONTROL)
    unguarded = APIRouter()
    unguarded.get("/api/open")(lambda: 1)
    with pytest.raises(TypeError, match="/api/open"):
        include(build_app(parts), unguarded)


def test_every_route_says_which_right_it_needs() -> None:
    found = [route for router in ROUTERS for route in router.routes]
    assert len(found) > 80
    assert all(isinstance(route, GuardedRoute) for route in found)
    rules = {(route.path, route.allow.rule) for route in found if isinstance(route, GuardedRoute)}
    assert {path for path, rule in rules if rule is Open.PUBLIC} == {
        "/api/auth/methods", "/api/auth/setup", "/api/auth/login", "/api/auth/second-factor", "/api/auth/accept",
        "/api/errors", "/api/errors/{code}", "/api/downloads/{ticket}",
    }  # fmt: skip
    # Of events, each topic asks for a permission of its own; of approvals, one sees those that one has asked for.
    own = ("/api/auth/", "/api/tokens", "/api/events", "/api/approvals")
    assert all(path.startswith(own) for path, rule in rules if rule is Open.ACCOUNT)


async def test_who_has_no_right_is_refused_before_his_body_is_read(api: httpx2.AsyncClient, parts: Parts) -> None:
    client = Client(parts, routes(Permission.SECRETS_SHOW))
    viewer = Principal("user", uuid.uuid4(), "vera", rights_of([(Role.VIEWER, None)]))

    async def authenticate(_connection: Any) -> Principal:
        return viewer

    client.app.state.authenticate = authenticate
    for path in ("/api/guarded", "/api/servers"):
        endless = Endless()
        status, head, body = await client.send(endless, CHUNKED | KIND, path)
        problem = json.loads(body)
        assert (status, problem["code"], endless.read) == (403, "forbidden", 0)
        assert head["connection"] == "close"
        assert "vera" in problem["detail"]
        assert problem["remedy"]


async def test_a_public_route_asks_nobody_and_a_route_for_any_account_asks_for_one(
    api: httpx2.AsyncClient, parts: Parts
) -> None:
    async def nothing() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    public = await Client(parts, routes(Open.PUBLIC)).send(nothing, {}, "/api/guarded")
    assert (public[0], public[2]) == (200, b'"done"')
    account = Client(parts, routes(Open.ACCOUNT))
    assert (await account.send(nothing, {}, "/api/guarded"))[0] == 401
    assert (await account.send(nothing, TOKEN, "/api/guarded"))[0] == 200


async def test_a_job_is_retried_only_by_who_may_ask_for_it(api: httpx2.AsyncClient, parts: Parts) -> None:
    """An operator cancels and retries; a failed deletion that he retries would delete what he may not."""
    job = Job(type="archive_delete", state="failed")

    async def add(tx: Any) -> None:
        tx.session.add(job)

    await parts.db.run(add)
    app = build_app(Parts(parts.settings, parts.db, parts.bus, CollectorRegistry()))

    async def operator(_connection: Any) -> Principal:
        return Principal("user", uuid.uuid4(), "olga", rights_of([(Role.OPERATOR, None)]))

    app.state.authenticate = operator
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client:
        answer = await client.post(f"/api/jobs/{job.id}/retry")
    assert_problem(answer, 403, "forbidden")
    assert "backups:delete" in answer.json()["detail"]


HEADERS = {
    "content-security-policy": "default-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/servers", 200), ("HEAD", "/api/servers", 200), ("GET", "/api/nowhere", 404),
     ("DELETE", "/api/servers", 405), ("GET", "/api/openapi.json", 200), ("POST", "/api/servers", 422)],
)  # fmt: skip
async def test_every_answer_has_its_id_and_the_headers_that_protect_a_browser(
    api: httpx2.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await api.request(method, path, headers={"X-Request-Id": "check-0042", "Origin": "https://evil.example"})
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert answer.headers["x-request-id"] == "check-0042"
    assert [name for name in answer.headers if name.startswith("access-control") or name == "server"] == []
    assert "strict-transport-security" not in answer.headers
    if status >= 400:
        assert answer.json()["request_id"] == "check-0042"


async def test_a_crash_is_answered_with_the_id_that_the_log_has(
    api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("services.api.features.servers.routes.to_schema", broken)
    answer = await api.post("/api/servers", json={"name": "web1", "host": "192.0.2.1"})
    assert_problem(answer, 500, "internal")
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "with space1", "semi;colon1", 'quote"12345', "zwölfzeichen"])
async def test_an_id_that_could_mislead_who_reads_the_log_is_replaced(api: httpx2.AsyncClient, given: str) -> None:
    headers = {"X-Request-Id": given.encode("latin-1")}
    answers = [await api.get("/api/servers", headers=headers) for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert all(uuid.UUID(one) for one in ids)


async def test_a_site_that_people_reach_over_https_is_never_asked_over_http_again(parts: Parts) -> None:
    api = parts.settings.api.model_copy(update={"public_url": "https://backup.example.org"})
    secure = Parts(parts.settings.model_copy(update={"api": api}), parts.db, parts.bus, CollectorRegistry())
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=build_app(secure)), base_url="http://test"
    ) as client:
        answer = await client.get("/api/openapi.json")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    "name", ["authorization", "content-type", "host", "idempotency-key", "last-event-id", "origin"]
)
@pytest.mark.parametrize("path", ["/api/tags", "/api/auth/methods", "/", "/api/nowhere"])
async def test_a_header_that_decides_stands_once(api: httpx2.AsyncClient, name: str, path: str) -> None:
    """A proxy that looked at the one would let pass what the gateway does for the other."""
    twice = [("authorization", TOKEN["Authorization"]), (name, "a"), (name.title(), "a")]
    assert_problem(await api.get(path, headers=twice), 400, "ambiguous_head")


@pytest.mark.parametrize("order", [1, -1])
async def test_the_length_of_a_body_is_told_in_one_way(api: httpx2.AsyncClient, order: int) -> None:
    both = [("content-length", "16"), ("transfer-encoding", "chunked")][::order]
    answer = await api.post("/api/tags", content=b'{"name": "twice"}', headers=both)
    assert_problem(answer, 400, "ambiguous_head")
    assert answer.headers["connection"] == "close", "what follows is whose?"
    assert (await api.get("/api/tags")).json()["items"] == []


async def test_a_large_head_is_refused(api: httpx2.AsyncClient) -> None:
    assert (await api.get("/api/servers", headers={"X-Padding": "x" * (LARGEST_HEAD - 2000)})).status_code == 200
    for answer in (
        await api.get("/api/servers", headers={"X-Padding": "x" * LARGEST_HEAD}),
        await api.get("/api/servers", params={"after": "x" * LARGEST_HEAD}),
    ):
        assert_problem(answer, 431, "head_too_large")
