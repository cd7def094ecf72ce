"""The web UI's files: built by `scripts/build-web`, public, and the same answer for every path that is a page."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

STATIC = Path(__file__).resolve().parent.parent / "static"
_NOT_PAGES = ("/api", "/metrics", "/livez", "/readyz")
_FOREVER = "public, max-age=31536000, immutable"
_PACKED = (("br", ".br"), ("gzip", ".gz"))
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_NOT_BUILT = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Borgfleet</title></head><body>
<h1>The web UI is not built</h1>
<p>Borgfleet runs, and its API answers under /api. To build its web UI, run this in a checkout, then load the page
again:</p>
<pre>scripts/build-web</pre>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class _File:
    """One file with its packed variants, by content coding."""

    data: bytes
    variants: dict[str, bytes]
    headers: dict[str, str]
    tag: str


class WebFiles:
    """ASGI middleware: answers GET and HEAD outside the API with the web UI; all else goes on to the application."""

    def __init__(self, app: ASGIApp, directory: Path = STATIC) -> None:
        """Wrap an application, and read the files that `directory` holds now."""
        self._app = app
        self._files = _read(directory)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a file, or the page."""
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"} or _is_not_page(scope["path"]):
            await self._app(scope, receive, send)
            return
        await self._answer(scope["path"], Headers(scope=scope))(scope, receive, send)

    def _answer(self, path: str, asked: Headers) -> Response:
        found = self._files.get(path)
        if found is None and path.startswith("/assets/"):
            # Never the page: a browser would take it for the script it asked for.
            return Response("not found\n", 404, {"Cache-Control": "no-store"}, "text/plain")
        found = found or self._files.get("/index.html")
        if found is None:
            return Response(_NOT_BUILT, headers={"Cache-Control": "no-store"}, media_type="text/html")
        return _file_answer(found, asked)


def _is_not_page(path: str) -> bool:
    return any(path == start or path.startswith(f"{start}/") for start in _NOT_PAGES)


def _file_answer(file: _File, asked: Headers) -> Response:
    accepted = _accepted(asked.get("accept-encoding", ""))
    coding = next((coding for coding, _ in _PACKED if coding in accepted and coding in file.variants), None)
    tag = f'"{file.tag}-{coding}"' if coding else f'"{file.tag}"'
    headers = {**file.headers, "ETag": tag}
    if coding:
        headers["Content-Encoding"] = coding
    known = {one.strip().removeprefix("W/") for one in asked.get("if-none-match", "").split(",")}
    if tag in known:
        return Response(status_code=304, headers={k: v for k, v in headers.items() if k != "Content-Encoding"})
    return Response(file.variants[coding] if coding else file.data, headers=headers)


def _accepted(header: str) -> set[str]:
    """Return the content codings a client takes; one of weight zero is one that it refuses."""
    accepted: set[str] = set()
    for part in header.lower().split(","):
        coding, _, weight = part.partition(";")
        if not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight):
            accepted.add(coding.strip())
    return accepted


def _read(directory: Path) -> dict[str, _File]:
    """Return the files by URL path; they fit in memory, and so no request can name a path outside them."""
    files: dict[str, _File] = {}
    packed = tuple(suffix for _, suffix in _PACKED)
    for path in sorted(directory.rglob("*")):
        if not path.is_file() or path.suffix in packed:
            continue
        url = f"/{path.relative_to(directory).as_posix()}"
        data = path.read_bytes()
        variants = {
            coding: beside.read_bytes()
            for coding, suffix in _PACKED
            if (beside := path.with_name(path.name + suffix)).is_file()
        }
        headers = {
            "Content-Type": _TYPES.get(path.suffix, "application/octet-stream"),
            "Cache-Control": _FOREVER if url.startswith("/assets/") else "no-cache",
            "Vary": "Accept-Encoding",
        }
        files[url] = _File(data, variants, headers, hashlib.sha256(data).hexdigest()[:32])
    return files
