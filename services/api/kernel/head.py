"""HEAD wherever there is GET: the same answer without its body."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


HEAD_ONLY = "borgfleet.head_only"
"""In the scope of a request whose body nobody is sent: an answer that would go on ends with its head."""


class HeadAsGet:
    """ASGI middleware: asks the application for GET, and leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass all but HEAD on as it is."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        asked = {**scope, "method": "GET", HEAD_ONLY: True}
        try:
            await self._app(asked, receive, without_body)
        finally:
            if "route" in asked:  # for the metrics, which count outside
                scope["route"] = asked["route"]
