"""Reads what a program writes: whole or by lines, with bounds, and without holding the event loop for long."""

from __future__ import annotations

import asyncio
import codecs
import time
from typing import TYPE_CHECKING

from shared.domain.lines import LineCutter
from shared.domain.text import clean

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_BLOCK = 64 * 1024
_PIECE = 8 * 1024
_TURN_SECONDS = 0.01
_WIDEST = 8
"""Characters that one byte becomes, at most, where it is shown as an escape."""


class Turn:
    """Lets other tasks run now and then: a program's million lines must not delay a heartbeat."""

    def __init__(self) -> None:
        """Begin a turn."""
        self._began = time.monotonic()

    async def give(self) -> None:
        """Give the event loop away if this task has had it for some milliseconds."""
        if time.monotonic() - self._began > _TURN_SECONDS:
            await asyncio.sleep(0)
            self._began = time.monotonic()


async def each_line(read: Callable[[int], Awaitable[bytes]], on_line: Callable[[bytes], None]) -> int:
    """Read a stream to its end, line by line; return how many bytes of lines that were too long were dropped."""
    cutter, turn = LineCutter(), Turn()
    while block := await read(_BLOCK):
        for line in cutter.feed(block):
            on_line(line)
            await turn.give()
        await turn.give()
    for line in cutter.end():
        on_line(line)
    return cutter.dropped


async def whole(read: Callable[[int], Awaitable[bytes]], limit: int) -> tuple[bytes, int]:
    """Read a stream to its end; return its first `limit` bytes, and how many more there were."""
    data, total, turn = bytearray(), 0, Turn()
    while block := await read(_BLOCK):
        total += len(block)
        data += block[: limit - len(data)]
        await turn.give()
    return bytes(data), total - len(data)


async def clean_all(data: bytes) -> str:
    """Return many bytes as clean text, in pieces: megabytes of NULs in one go would hold the event loop for seconds."""
    decode, turn, pieces = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode, Turn(), list[str]()
    for begin in range(0, len(data) + 1, _PIECE):
        piece = decode(data[begin : begin + _PIECE], final=begin + _PIECE > len(data))
        pieces.append(clean(piece, _PIECE * _WIDEST))
        await turn.give()
    return "".join(pieces)
