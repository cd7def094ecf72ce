"""The answer that is a download: what breaks off on the way breaks the connection, and never looks like the end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog
from fastapi import Response
from typing_extensions import override

from services.api.features.files.naming import disposition
from services.api.features.files.preview import LARGEST_IMAGE, TEXT, TEXT_BYTES, kind_of
from services.api.kernel.errors import Refused, answer_error
from services.api.kernel.head import HEAD_ONLY
from shared.domain.downloads import FILE, PREVIEW, TAR, TAR_ZST, ZIP
from shared.domain.messages.downloads import HTTP_TOO_OLD, PREVIEW_TOO_LARGE
from shared.errors import AppError
from shared.runtime.outcome import cancelled, result

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

    from services.api.features.files.incoming import Incoming
    from shared.domain.downloads import TransferAsked

_log = structlog.get_logger()
_TYPES = {
    FILE: "application/octet-stream", TAR: "application/x-tar", TAR_ZST: "application/zstd", ZIP: "application/zip",
}  # fmt: skip
_HEADERS = {
    "Cache-Control": "no-store, no-transform",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


class Download(Response):
    """Sends a transfer's chunks as they come, to a client that reads them."""

    def __init__(self, incoming: Incoming, asked: TransferAsked, name: str, size: int | None, request_id: str) -> None:
        """Prepare an answer; the node is asked when it is sent. `size` of what was chosen, where it is known."""
        super().__init__()
        self._incoming, self._asked, self._name, self._size = incoming, asked, name, size
        self._request_id = request_id

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all, or leave the connection without an end; who leaves ends borg on the node."""
        left, sending = asyncio.create_task(_left(receive)), asyncio.create_task(self._sent(scope, receive, send))
        try:
            await asyncio.wait({left, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancelled(left, sending)
            await self._incoming.close()
        error = result(sending)
        if error is not None and not isinstance(error, asyncio.CancelledError):
            raise error

    async def _sent(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        try:
            if scope.get("http_version") == "1.0":  # it has no end but that of the connection
                raise Refused(HTTP_TOO_OLD())
            if scope.get(HEAD_ONLY):
                await self._begin(send, _TYPES.get(self._asked.format, "application/octet-stream"))
                return
            await self._incoming.open(self._asked)
            async with contextlib.aclosing(self._incoming.chunks()) as chunks:
                first = await anext(chunks, b"")
                kind = self._kind(first)
                begun = True
                await self._begin(send, kind)
                await self._follow(send, first, chunks)
        except AppError as error:
            if not begun:
                await answer_error(error, self._request_id)(scope, receive, send)
                return
            # Without the last, empty piece of the body the server closes the connection, and the client knows.
            _log.warning("download_broken", name=self._name, archive=str(self._asked.archive_id), code=error.code,
                         reason=error.message)  # fmt: skip

    async def _follow(self, send: Send, first: bytes, chunks: AsyncGenerator[bytes]) -> None:
        """Send what is there; of a preview no more than is shown."""
        sent = 0
        for_show = self._asked.format == PREVIEW
        text = for_show and kind_of(first) == TEXT
        chunk = first[:TEXT_BYTES] if text else first
        while chunk:
            sent += len(chunk)
            if for_show and sent > LARGEST_IMAGE:
                raise _too_large()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = b"" if text else await anext(chunks, b"")
        await send({"type": "http.response.body", "body": b""})

    def _kind(self, first: bytes) -> str:
        if self._asked.format != PREVIEW:
            return _TYPES[self._asked.format]
        kind = kind_of(first)
        if kind != TEXT and (self._size or 0) > LARGEST_IMAGE:
            raise _too_large()
        return kind

    async def _begin(self, send: Send, kind: str) -> None:
        how = "inline" if self._asked.format == PREVIEW else "attachment"
        headers = _HEADERS | {"Content-Type": kind, "Content-Disposition": disposition(how, self._name)}
        encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": encoded})


def _too_large() -> Refused:
    return Refused(PREVIEW_TOO_LARGE(most=LARGEST_IMAGE // 2**20))


async def _left(receive: Receive) -> None:
    """Wait until the reader leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
