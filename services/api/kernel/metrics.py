"""What the gateway counts of its requests: by route template, never by path, so that no id becomes a label."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_UNKNOWN = "other"
_LEFT = "none"
"""The status of a request whose client left before it was whole: it got no answer."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""A client may invent others, without a token too: each would be a series that is never freed."""


class HttpMetrics:
    """The gateway's own metrics; one instance per process and registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them once."""
        self.requests = Counter(
            "borgfleet_http_requests_total", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "borgfleet_http_request_seconds",
            "Time to answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=registry,
        )


class CountRequests:
    """ASGI middleware that counts and times every request."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        """Wrap an application."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status: int | None = None
        ended = False
        started = time.monotonic()

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
            ended = True
        finally:
            if not ended and status is None:
                status = 500
            method = scope["method"] if scope["method"] in _METHODS else _UNKNOWN
            route = getattr(scope.get("route"), "path", _UNKNOWN)
            self._metrics.requests.labels(method, route, f"{status // 100}xx" if status else _LEFT).inc()
            self._metrics.seconds.labels(method, route).observe(time.monotonic() - started)
