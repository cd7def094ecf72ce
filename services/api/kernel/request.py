"""What is around every request: its id, the limit of its head, the headers of its answer."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from typing_extensions import override

from services.api.kernel.errors import Refused, answer_error
from shared.domain.ids import new_id
from shared.domain.messages.requests import AMBIGUOUS_HEAD, AMBIGUOUS_LENGTH, HEAD_TOO_LARGE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from shared.domain.message import Said

LARGEST_HEAD = 16 * 1024
REQUEST_ID = "X-Request-Id"
_GOOD_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_GOOD_ZONE = re.compile(r"[A-Za-z0-9._-]{1,15}")
_ONCE = (
    "Authorization", "Content-Length", "Content-Type", "Host", "Idempotency-Key", "Last-Event-ID", "Origin",
    "Sec-Fetch-Site", "Transfer-Encoding",
)  # fmt: skip
"""What decides something, and is read once: a proxy before us may have looked at the other one."""
_ALWAYS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_HSTS = "max-age=31536000"


class Application(FastAPI):
    """FastAPI with the envelope around all of it, its answers to unexpected errors too."""

    public_url: str = ""

    @override
    def build_middleware_stack(self) -> ASGIApp:
        """Wrap the whole stack."""
        return Envelope(super().build_middleware_stack(), self.public_url)


class Envelope:
    """ASGI middleware around all others."""

    def __init__(self, app: ASGIApp, public_url: str = "") -> None:
        """Wrap an application; `public_url` is where people reach it."""
        self._app = app
        secure = urlsplit(public_url).scheme == "https"
        self._always = {**_ALWAYS, "Strict-Transport-Security": _HSTS} if secure else _ALWAYS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give the request an id, pass it on, and complete the head of its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "client": _client_of(scope)}
        request_id = _id_of(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        unread = has_body(scope)

        async def reading() -> Message:
            nonlocal unread
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                unread = False
            return message

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                self._complete(headers, scope["path"], request_id)
                if unread:  # whoever is refused is cut off: nobody reads what he still sends
                    headers["Connection"] = "close"
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            if (wrong := _wrong_head(scope)) is not None:
                await answer_error(Refused(wrong), request_id)(scope, reading, sending)
                return
            await self._app(scope, reading, sending)

    def _complete(self, headers: MutableHeaders, path: str, request_id: str) -> None:
        headers[REQUEST_ID] = request_id
        for name, value in self._always.items():
            headers.setdefault(name, value)
        if path == "/api" or path.startswith("/api/"):
            headers.setdefault("Cache-Control", "no-store")


def has_body(scope: Scope) -> bool:
    """Tell whether a request says that it has a body."""
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip("0 ") != ""


def _client_of(scope: Scope) -> tuple[str, int] | None:
    """Return from where a request comes; None where it is not known.

    A trusted proxy may pass on what it was given: a text that is no address is nobody's, and is recorded nowhere.
    """
    host, port = scope.get("client") or ("", 0)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    zone = getattr(address, "scope_id", None) or ""
    return None if zone and not _GOOD_ZONE.fullmatch(zone) else (str(address), port)


def _id_of(headers: Headers) -> str:
    given = headers.get(REQUEST_ID, "")
    return given if _GOOD_ID.fullmatch(given) else str(new_id())


def _wrong_head(scope: Scope) -> Said | None:
    """Return why a request is refused for its head alone: too large, or to be understood in two ways."""
    if _head_size(scope) > LARGEST_HEAD:
        return HEAD_TOO_LARGE(most=LARGEST_HEAD)
    names = Counter(name.lower() for name, _ in scope["headers"])
    if names[b"content-length"] and names[b"transfer-encoding"]:
        return AMBIGUOUS_LENGTH()
    twice = next((name for name in _ONCE if names[name.lower().encode()] > 1), None)
    return None if twice is None else AMBIGUOUS_HEAD(name=twice)


def _head_size(scope: Scope) -> int:
    head: list[tuple[bytes, bytes]] = scope["headers"]
    line = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    return line + sum(len(name) + len(value) + 4 for name, value in head)
