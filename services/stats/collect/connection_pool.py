"""Connections that outlive one probe: a steady sweep pays no handshake."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncGenerator

    from shared.ssh.port import Connection, Credentials, Ssh, Target

_TIDY_SECONDS = 30.0


@dataclass(slots=True)
class _PooledConnection:
    target: Target
    connection: Connection
    stack: contextlib.AsyncExitStack
    used_at: float


class ConnectionPool:
    """A bounded set of idle connections by server; a connection in use belongs to its user alone."""

    def __init__(self, ssh: Ssh, *, limit: int, idle_seconds: float) -> None:
        """Keep at most `limit`, the longest unused going first, and none unused for longer than `idle_seconds`."""
        self._ssh = ssh
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._idle: OrderedDict[uuid.UUID, _PooledConnection] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are idle."""
        return len(self._idle)

    @contextlib.asynccontextmanager
    async def connection(
        self, server_id: uuid.UUID, target: Target, credentials: Credentials
    ) -> AsyncGenerator[tuple[Connection, bool]]:
        """Give a connection and whether it was a kept one; it is kept again unless its use fails."""
        kept = self._idle.pop(server_id, None)
        if kept is not None and kept.target != target:  # a new address, user or host key: nothing old is trusted
            await kept.stack.aclose()
            kept = None
        was_kept = kept is not None
        kept = kept or await self._open(target, credentials)
        fit = False
        try:
            yield kept.connection, was_kept
            fit = True
        finally:
            await (self._keep(server_id, kept) if fit else kept.stack.aclose())

    def task(self) -> Periodic:
        """Close what nobody used for long; at the end, all."""
        return Periodic("kept-connections", lambda _stopping: self.tidy(), every=_TIDY_SECONDS, last_word=self.close)

    async def tidy(self) -> None:
        """Close what nobody used for long."""
        oldest = time.monotonic() - self._idle_seconds
        await self._close([key for key, kept in self._idle.items() if kept.used_at < oldest])

    async def close(self, _stopping: asyncio.Event | None = None) -> None:
        """Close all that are idle."""
        await self._close(list(self._idle))

    async def _open(self, target: Target, credentials: Credentials) -> _PooledConnection:
        async with contextlib.AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._ssh.connect(target, credentials))
            return _PooledConnection(target, connection, stack.pop_all(), time.monotonic())

    async def _keep(self, server_id: uuid.UUID, kept: _PooledConnection) -> None:
        kept.used_at = time.monotonic()
        other = self._idle.pop(server_id, None)
        self._idle[server_id] = kept
        if other is not None:
            await other.stack.aclose()
        if len(self._idle) > self._limit:
            await self._close([next(iter(self._idle))])

    async def _close(self, keys: list[uuid.UUID]) -> None:
        closing = [kept for key in keys if (kept := self._idle.pop(key, None)) is not None]
        await asyncio.gather(*(kept.stack.aclose() for kept in closing))
