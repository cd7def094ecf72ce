"""Lets an SSH connection read what was said before its end: a refusal and the end often arrive together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_TURNS = 64
"""Of the event loop: asyncssh handles each message in a task of its own, and at the end drops those that wait."""


class _LastWords(asyncio.Protocol):
    """Passes all on to asyncssh's protocol, and the end a little later."""

    def __init__(self, inner: asyncio.Protocol) -> None:
        self.inner = inner
        self._transport: asyncio.BaseTransport | None = None
        self._ends = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.inner.data_received(data)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def eof_received(self) -> bool:
        self._end(None)
        return True  # else the transport would end at once

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)

    def _end(self, error: Exception | None, turns: int = _TURNS) -> None:
        if turns == _TURNS and self._ends:
            return
        self._ends = True
        if turns:
            asyncio.get_running_loop().call_soon(self._end, error, turns - 1)
            return
        self.inner.connection_lost(error)
        if self._transport is not None:
            cast("asyncio.Transport", self._transport).abort()


class Connector:
    """Opens a TCP connection; asyncssh takes anything with this method as a tunnel."""

    connected = False
    """Somebody took the connection; whether he speaks is another question."""

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[asyncio.BaseTransport, asyncio.Protocol]:
        """Connect to a host; raises what the event loop's own method does."""
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(lambda: _LastWords(factory()), host, port)
        self.connected = True
        return transport, protocol.inner
