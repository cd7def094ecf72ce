"""HTTP/1.1 with limits that uvicorn lacks: on the head of a request, on an answer that nobody reads, on connections."""

from __future__ import annotations

import json
import resource
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11
import structlog
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

_log = structlog.get_logger()
HEAD_SECONDS = 30.0
"""From the beginning of a connection, or of a further request on it, to the end of the request's head."""
UNREAD_SECONDS = 60.0
"""How long an answer may wait for a client that reads nothing of it."""
MOST_CONNECTIONS = 2000
_SHARE = 2
"""Of the process's file descriptors connections may take one in so many: database, bus and files need the others."""


def most_connections() -> int:
    """Return how many connections this process may hold open at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, soft // _SHARE)


class BoundedHttp(H11Protocol):
    """One connection: closed when no request begins in time, and refused when there are too many."""

    head_seconds = HEAD_SECONDS
    unread_seconds = UNREAD_SECONDS
    most = 0
    """Connections at once; 0 takes a share of what the process may open."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Wait for a request."""
        super().__init__(*args, **options)
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn declares it
        """Take a connection, or say that there are too many."""
        super().connection_made(transport)
        most = self.most or most_connections()
        if len(self.connections) > most:
            _log.warning("http_too_many_connections", most=most)
            self._answer(503, "too_many_connections", f"more than {most} connections are open", "try again in a minute")
            return
        self._watch_head()

    @override
    def data_received(self, data: bytes) -> None:
        """Take what came; it does not prolong the time for a head."""
        if not self.transport.is_closing():
            super().data_received(data)
            self._watch_head()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._unwatch_head()
        self._unwatch_answer()
        super().connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        """Let the application wait for the client, though not for ever."""
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(self.unread_seconds, self.transport.abort)

    @override
    def resume_writing(self) -> None:
        """Go on: the client reads."""
        self._unwatch_answer()
        super().resume_writing()

    @override
    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; where an answer has begun, nothing more can be said."""
        if self.cycle and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()
            return
        self._answer(
            400, "not_http", "what was sent is no HTTP/1.1 request, or its head is too large", "send a valid request"
        )

    def _watch_head(self) -> None:
        """Run one timer while a request begins; between two requests uvicorn's own closes the connection."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._unwatch_head()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._head_too_slow)

    def _unwatch_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _unwatch_answer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _head_too_slow(self) -> None:
        said = f"the head of the request did not arrive within {self.head_seconds:.0f} seconds"
        self._answer(408, "head_too_slow", said, "check the network between, and send the request again")

    def _answer(self, status: int, code: str, detail: str, remedy: str) -> None:
        """Answer without the application, and close."""
        title = HTTPStatus(status).phrase
        problem = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail}
        body = json.dumps({**problem, "remedy": remedy, "errors": []}).encode()
        head = (
            f"HTTP/1.1 {status} {title}\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._unwatch_head()
        self.transport.write(head.encode() + body)
        self.transport.close()
