"""The newest live events of a process, kept once for all who read them: each reader has a place in it, and no queue."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

MOST, MOST_BYTES = 4096, 8 * 1024 * 1024
_BATCH_BYTES = 64 * 1024
FOR_ALL = ""
"""The topic of what everybody is told."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it is sent."""

    seq: int
    topic: str
    server: str | None
    """What the readers' rights are compared with: an id or, of an alert, a name; None: it belongs to no one server."""
    data: bytes


class Ring:
    """Events by number; the oldest go when there are too many, or too much."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        """Begin empty, with numbers that no other ring has."""
        self.epoch = secrets.token_hex(6)
        self.head = 0
        self._most, self._most_bytes = most, most_bytes
        self._entries: dict[int, Entry] = {}
        self._oldest = 1
        self._bytes = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def put(self, name: str, data: str, *, topic: str = FOR_ALL, server: str | None = None) -> None:
        """Add an event, `data` being one line, and wake everybody who waits."""
        self.head += 1
        text = f"id: {self.epoch}-{self.head}\nevent: {name}\ndata: {data}\n\n".encode()
        self._entries[self.head] = Entry(self.head, topic, server, text)
        self._bytes += len(text)
        while len(self._entries) > self._most or self._bytes > self._most_bytes:
            self._bytes -= len(self._entries.pop(self._oldest).data)
            self._oldest += 1
        self.wake()

    def resumed(self, last_id: str) -> int | None:
        """Return the place after an event that somebody had; None where what came since is not known here."""
        epoch, _, number = last_id.partition("-")
        if epoch != self.epoch or not (number.isascii() and number.isdigit() and len(number) < 20):  # noqa: PLR2004 - 64 bits
            return None
        place = int(number)
        return place if self._oldest - 1 <= place <= self.head else None

    def after(self, place: int) -> list[Entry] | None:
        """Return what comes next, up to 64 KiB of it; None where the next one is gone."""
        if place < self._oldest - 1:
            return None
        found: list[Entry] = []
        size = 0
        while place < self.head and size < _BATCH_BYTES:
            place += 1
            found.append(self._entries[place])
            size += len(found[-1].data)
        return found

    def news(self) -> asyncio.Future[None]:
        """Return what is done at the next event."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    def wake(self) -> None:
        """Let everybody who waits look."""
        for future in tuple(self._waiting):
            if not future.done():
                future.set_result(None)
