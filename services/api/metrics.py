"""What the gateway counts of its requests: by route template, never by path, so that no id becomes a label."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_UNKNOWN = "other"


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
        status = 500
        started = time.monotonic()

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            method, route = scope["method"], getattr(scope.get("route"), "path", _UNKNOWN)
            self._metrics.requests.labels(method, route, f"{status // 100}xx").inc()
            self._metrics.seconds.labels(method, route).observe(time.monotonic() - started)
