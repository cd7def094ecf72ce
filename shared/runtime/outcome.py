"""How a piece of work ended, as a value: for those who have to go on whatever it was."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


async def outcome(work: Coroutine[Any, Any, object]) -> BaseException | None:
    """Run some work to its end; return what ended it instead of raising, None if it went well."""
    task = asyncio.create_task(work)
    await ended(task)
    return result(task)


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Wait until tasks have ended. Who is cancelled meanwhile cancels them, and waits all the same.

    Nothing that was begun goes on with nobody there to hear of its end.
    """
    try:
        await asyncio.wait(tasks)
    finally:
        await cancelled(*tasks)


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel what still runs and wait for its end."""
    if left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left)


def result(task: asyncio.Task[Any]) -> BaseException | None:
    """Return how a task ended that has ended."""
    return asyncio.CancelledError() if task.cancelled() else task.exception()
