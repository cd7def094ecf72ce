"""Work that has to come to its end whatever is asked of the run meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from shared.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T], *, give_up: Callable[[], bool] = lambda: False) -> tuple[T, bool]:
    """Await work; return its result, and whether somebody wanted to stop it meanwhile.

    A cancellation is put down to the caller, who says later what it meant; only where `give_up()` it goes on to the
    work, which may still come to its end in its own way.
    Work that was to be stopped and fails of itself with what passes (Transient) counts as stopped: nobody tries again.
    """
    task, asked = asyncio.create_task(work), False
    while not task.done():
        try:
            await asyncio.wait({task})  # unlike awaiting the task: a cancellation does not reach it
        except asyncio.CancelledError:
            asked = True
            if give_up():
                task.cancel()
    error = None if task.cancelled() else task.exception()
    if asked and isinstance(error, Transient):
        raise asyncio.CancelledError from error
    return task.result(), asked
