"""What stands before every route: nobody without a token is read from, and no body is larger or slower than allowed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from services.api.kernel.dependencies import Gateway, authenticate
from services.api.kernel.errors import answer_error, problem_answer
from services.api.kernel.schemas import Problem
from shared.errors import AppError

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 1024 * 1024
LONGEST_SECONDS = 30.0
OPEN_PATHS = frozenset({"/api/openapi.json"})


class Door:
    """ASGI middleware: first the token, then the body, within its limits; then the application."""

    def __init__(
        self, app: ASGIApp, parts: Gateway, *, largest: int = LARGEST_BODY, seconds: float = LONGEST_SECONDS
    ) -> None:
        """Wrap an application; `largest` in bytes, `seconds` for a whole body."""
        self._app = app
        self._parts = parts
        self._largest = largest
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer why not. Whoever is refused is cut off: nobody reads what he still sends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            if scope["path"] not in OPEN_PATHS:
                await authenticate(self._parts, headers.get("authorization"))
        except AppError as error:
            await _closing(answer_error(error))(scope, receive, send)
            return
        if _declared(headers) > self._largest:
            await _closing(self._too_large())(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(receive)
        except TimeoutError:
            await _closing(self._too_slow())(scope, receive, send)
            return
        except ClientDisconnect:
            return  # what he meant to send is not known: nothing is done, and nobody is there to be answered
        if body is None:
            await _closing(self._too_large())(scope, receive, send)
            return
        await self._app(scope, _once(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """Return the whole body, or None when it grew too large; ClientDisconnect when it ends before its end."""
        data = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientDisconnect
            data += message.get("body", b"")
            if len(data) > self._largest:
                return None
            if not message.get("more_body", False):
                return bytes(data)

    def _too_large(self) -> Response:
        problem = Problem(
            title="Body too large",
            status=413,
            code="body_too_large",
            detail=f"the body of a request may hold {self._largest} bytes at most",
            remedy="send less in one request",
        )
        return problem_answer(problem, {})

    def _too_slow(self) -> Response:
        problem = Problem(
            title="Body too slow",
            status=408,
            code="body_too_slow",
            detail=f"the body of the request did not arrive within {self._seconds:.0f} seconds",
            remedy="check the network between, and send the request again",
        )
        return problem_answer(problem, {})


def _declared(headers: Headers) -> int:
    """Return what the client says of the length; what it does not say is counted as it comes."""
    length = headers.get("content-length", "")
    return int(length[:20]) if length.isascii() and length.isdigit() else 0


def _closing(answer: Response) -> Response:
    answer.headers["Connection"] = "close"
    return answer


def _once(body: bytes, receive: Receive) -> Receive:
    """Give the application the body that was read; what comes after it, as the client's leaving, from the server."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
