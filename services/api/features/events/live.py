"""The live events of one process: what is heard on the bus goes into the ring, which the streams read."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING

from services.api.features.events.ring import Ring
from services.api.features.events.schemas import LIVE
from services.api.kernel.errors import Refused
from shared.domain.messages.bus import BUS_UNREACHABLE
from shared.domain.messages.requests import TOO_MANY_STREAMS, TOO_MANY_STREAMS_OF_ONE
from shared.errors import Transient
from shared.events.alert import AlertFact
from shared.runtime.http import most_connections
from shared.runtime.pause import pause

if TYPE_CHECKING:
    from collections.abc import Generator

    from shared.bus.port import Bus

MOST_STREAMS, MOST_OF_ONE = 1500, 20
_LOOK_SECONDS = 2.0
_RETRY_AFTER = 30


class Live:
    """The ring, who fills it, and how many read it."""

    def __init__(self, bus: Bus) -> None:
        """Hear this bus; streams are ended at once while nothing runs that could tell them to end."""
        self.ring = Ring()
        self.running = False
        self._bus = bus
        self._streams: Counter[str] = Counter()

    async def run(self, stopping: asyncio.Event) -> None:
        """Let streams live until the process stops, and no longer."""
        self.running = True
        try:
            await stopping.wait()
        finally:
            self.running = False
            self.ring.wake()

    async def hear(self, stopping: asyncio.Event) -> None:
        """Put what the bus tells into the ring; begin with a `reset`, since what was said before was not heard."""
        await self._require_bus()
        async with AsyncExitStack() as stack:
            for subject in LIVE:
                listening = await self._bus.tail(subject, self._heard)
                stack.push_async_callback(listening.close)
            self.ring.put("reset", "{}")
            while not stopping.is_set():
                await pause(_LOOK_SECONDS, stopping)
                await self._require_bus()

    async def _require_bus(self) -> None:
        if not await self._bus.healthy():
            raise Transient(BUS_UNREACHABLE(error="it does not answer"))

    def _heard(self, subject: str, payload: bytes) -> None:
        kind = LIVE[subject]
        fact = kind.fact.model_validate_json(payload)
        server = fact.server if isinstance(fact, AlertFact) else getattr(fact, "server_id", None)
        # In ASCII: there are clients that break lines at more signs than the format knows.
        data = f'{{"fact":"{subject}","row":{fact.model_dump_json(ensure_ascii=True)}}}'
        self.ring.put(kind.event, data, topic=kind.topic, server=str(server) if server else None)

    @property
    def streams(self) -> int:
        """How many are open."""
        return self._streams.total()

    @contextmanager
    def one_of(self, user: str) -> Generator[None]:
        """Count a stream for as long as it is open; `Refused` with 503 where there are too many."""
        # The rest of the connections is for requests.
        if self.streams >= min(MOST_STREAMS, most_connections() * 3 // 4):
            raise Refused(TOO_MANY_STREAMS(), retry_after=_RETRY_AFTER)
        if self._streams[user] >= MOST_OF_ONE:
            raise Refused(TOO_MANY_STREAMS_OF_ONE(most=MOST_OF_ONE), retry_after=_RETRY_AFTER)
        self._streams[user] += 1
        try:
            yield
        finally:
            self._streams[user] -= 1
            if not self._streams[user]:
                del self._streams[user]
