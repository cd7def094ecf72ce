"""Sends a message over the bus each minute and reads it back: a bus that answers may have a disk that takes nothing."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from shared.domain.messages.bus import BUS_FORGETS
from shared.errors import Transient
from shared.events.streams import CANARY
from shared.runtime.pause import pause
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    import asyncio

    from shared.bus.port import Bus

_EVERY_SECONDS = 60.0
_TRIES = 10
_TRY_SECONDS = 0.5
"""In a cluster a replica answers, and may be a moment behind."""


class Canary:
    """Tries the bus; that it did not work is told as of any task: in `/readyz`, the metrics and the alert on tasks."""

    def __init__(self, bus: Bus) -> None:
        """Take a subject of its own: several schedulers try at the same time."""
        self._bus = bus
        self._subject = f"canary.{secrets.token_hex(8)}"

    def task(self) -> Periodic:
        """Try each minute."""
        return Periodic("canary", self.fly, every=_EVERY_SECONDS, jitter=_EVERY_SECONDS)

    async def fly(self, stopping: asyncio.Event) -> None:
        """Publish and read back; Transient if the bus does not take it, or does not have it afterwards."""
        sent = secrets.token_hex(16).encode()
        await self._bus.publish(self._subject, sent, {})
        for _ in range(_TRIES):
            if await self._bus.last(CANARY, self._subject) == sent or stopping.is_set():
                return
            await pause(_TRY_SECONDS, stopping)
        raise Transient(BUS_FORGETS(subject=self._subject))
