"""The web UI's files as the gateway serves them: cached rightly, packed, safe, and never in the place of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest
from starlette.responses import PlainTextResponse

from services.api.app import build_app
from services.api.kernel.request import Envelope
from services.api.kernel.web import WebFiles

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp

    from shared.runtime.service import Parts

PAGE = b"<!doctype html><title>Borgfleet</title>"
SCRIPT = b"export const a = 1"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_bytes(PAGE)
    (static / "theme.js").write_bytes(b"// theme")
    (static / "icon.svg").write_bytes(b"<svg/>")
    (static / "assets/main-1a2b.js").write_bytes(SCRIPT)
    (static / "assets/main-1a2b.js.br").write_bytes(b"packed by brotli")
    (static / "assets/main-1a2b.js.gz").write_bytes(b"packed by gzip")
    (tmp_path / "secret.txt").write_text("outside")
    return static


def client(directory: Path) -> httpx2.AsyncClient:
    behind: ASGIApp = PlainTextResponse("the application", status_code=418)
    transport = httpx2.ASGITransport(app=Envelope(WebFiles(behind, directory)))
    return httpx2.AsyncClient(transport=transport, base_url="http://test", headers={"Accept-Encoding": "identity"})


@pytest.mark.parametrize("path", ["/", "/servers", "/servers/1/history", "/apiary", "/index.html", "/login?next=%2F"])
async def test_every_page_is_the_application_so_that_a_link_can_be_opened(built: Path, path: str) -> None:
    async with client(built) as http:
        answer = await http.get(path)
    assert (answer.status_code, answer.content) == (200, PAGE)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/api", "/api/nothing", "/metrics", "/livez", "/readyz", "/api/openapi.json"])
async def test_the_page_never_stands_in_for_an_answer_of_the_api(built: Path, path: str) -> None:
    async with client(built) as http:
        assert (await http.get(path)).text == "the application"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_only_reading_is_answered_without_a_token(built: Path, method: str) -> None:
    async with client(built) as http:
        assert (await http.request(method, "/")).text == "the application"


@pytest.mark.parametrize(
    ("accepted", "coding", "body"),
    [
        ("gzip, br", "br", b"packed by brotli"),
        ("gzip", "gzip", b"packed by gzip"),
        ("br;q=0, gzip;q=0.5", "gzip", b"packed by gzip"),
        ("BR", "br", b"packed by brotli"),
        ("br;q=0.0", None, SCRIPT),
        ("zstd", None, SCRIPT),
        ("", None, SCRIPT),
    ],
)
async def test_an_asset_is_kept_for_ever_and_packed_as_the_browser_can_read(
    built: Path, accepted: str, coding: str | None, body: bytes
) -> None:
    async with client(built) as http:
        request = http.build_request("GET", "/assets/main-1a2b.js", headers={"Accept-Encoding": accepted})
        answer = await http.send(request, stream=True)
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert (answer.status_code, answer.headers.get("content-encoding"), raw) == (200, coding, body)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path", ["/assets/main-old.js", "/assets/", "/assets/../../secret.txt", "/assets/%2e%2e/%2e%2e/secret.txt"]
)
async def test_a_missing_asset_is_missing_and_not_the_page_taken_for_a_script(built: Path, path: str) -> None:
    async with client(built) as http:
        answer = await http.get(path)
    assert b"outside" not in answer.content
    assert answer.status_code == 404 or answer.content == PAGE  # the client itself may shorten the path
    assert answer.status_code == 404 or not str(answer.url.path).startswith("/assets/")


async def test_a_page_that_has_not_changed_is_not_sent_again(built: Path) -> None:
    async with client(built) as http:
        tag = (await http.get("/theme.js")).headers["etag"]
        again = await http.get("/theme.js", headers={"If-None-Match": f'"other", W/{tag}'})
        (built / "theme.js").write_bytes(b"// changed")
        async with client(built) as newer:
            changed = await newer.get("/theme.js", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert (changed.status_code, changed.content) == (200, b"// changed")


@pytest.mark.parametrize("path", ["/", "/assets/main-1a2b.js", "/assets/no.js", "/icon.svg"])
async def test_no_answer_lets_a_foreign_script_style_or_frame_in(built: Path, path: str) -> None:
    async with client(built) as http:
        headers = (await http.get(path)).headers
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy
    for rule in ("default-src 'self'", "object-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert rule in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"


async def test_without_a_build_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    async with client(tmp_path / "nothing") as http:
        answer = await http.get("/servers")
        asset = await http.get("/assets/main.js")
    assert answer.status_code == 200
    assert "scripts/build-web" in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert asset.status_code == 404


async def test_the_door_stays_shut_behind_the_files(parts: Parts) -> None:
    transport = httpx2.ASGITransport(app=build_app(parts))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:
        page, api, unknown = await http.get("/"), await http.get("/api/servers"), await http.get("/api/no-such")
        changed = await http.post("/")
    assert page.headers["content-type"].startswith("text/html")
    assert [one.status_code for one in (api, unknown, changed)] == [401, 404, 404]
    assert unknown.headers["content-type"] == "application/problem+json"
