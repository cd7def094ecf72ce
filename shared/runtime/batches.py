"""Work that is done a batch at a time, so that nothing waits long for its locks, and a shutdown not for its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.runtime.pause import pause

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable


async def in_batches(
    batch: Callable[[], Awaitable[int]], stopping: asyncio.Event, *, full: int = 1, rest: float = 0.0
) -> int:
    """Do one batch after the other; return how many things they were.

    A batch returns how many things it took; fewer than `full` of them say that no more are there. Between two batches
    others have the database for `rest` seconds.
    """
    total, count = 0, full
    while count >= full and not stopping.is_set():
        count = await batch()
        total += count
        if rest and count >= full:
            await pause(rest, stopping)
    return total
