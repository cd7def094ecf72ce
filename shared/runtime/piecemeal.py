"""Many things written some at a time, of which one that cannot be written spoils no other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from shared.errors import LeaseLost, Transient
from shared.runtime.outcome import outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

T = TypeVar("T")
AT_ONCE = 50
"""What one transaction holds: small enough to end in time on a slow machine, large enough to cost little each."""


async def piecemeal(
    items: Sequence[T],
    write: Callable[[Sequence[T]], Coroutine[Any, Any, None]],
    spoilt: Callable[[T, BaseException], Coroutine[Any, Any, None]],
) -> None:
    """Write 50 at a time; of those that cannot be written together, the halves, down to the one at fault: `spoilt`.

    What is nobody's fault is raised: a database that is away, a lease that is lost, the end of the process.
    """
    parts = [items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE)]
    for part in parts:
        error = await outcome(write(part))
        if error is None:
            continue
        if is_nobodys_fault(error):
            raise error
        if len(part) == 1:
            await spoilt(part[0], error)
            continue
        middle = len(part) // 2
        for half in (part[:middle], part[middle:]):
            await piecemeal(half, write, spoilt)


def is_nobodys_fault(error: BaseException) -> bool:
    """Tell whether no single thing is to blame: trying them one by one would end the same way."""
    return isinstance(error, (Transient, LeaseLost, asyncio.CancelledError))
