"""Waiting that a shutdown, or news, cuts short."""

from __future__ import annotations

import asyncio


async def pause(seconds: float, *events: asyncio.Event) -> None:
    """Wait until any of the events is set, but no longer than so many seconds."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
