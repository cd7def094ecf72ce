"""The tasks of a process: work that is done beside the jobs, and how often.

`Periodic` is work that is done again and again, `Supervised` is work that runs until the process stops. Both are run by
`shared.runtime.supervisor.supervise`, which starts again what failed, and tells the `Board` how it went.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from shared.runtime.leadership import Leadership

SideTask: TypeAlias = "Callable[[asyncio.Event], Awaitable[object]]"


class Supervised(NamedTuple):
    """Work that runs until `stopping` is set; that it ends before is a failure, with or without an error."""

    name: str
    work: SideTask


@dataclass(frozen=True, slots=True)
class Periodic:
    """Work that is done each `every` seconds; `stopping` tells long work that it has to end."""

    name: str
    work: SideTask
    every: float
    jitter: float = 0.0
    """Up to so many seconds are added to each wait, and waited before the first round: replicas do not act in step."""
    lead: Leadership | None = None
    """Only the process that leads does the work; a round in which another one leads is a success."""
    wake: asyncio.Event | None = None
    """Set it to have the work done now."""
    least: float = 0.0
    """Seconds between two rounds, however often it is woken."""
    after_trouble: float = 0.0
    """Seconds to wait at least after a round that failed."""
    last_word: SideTask | None = None
    """Done once, after the last round."""


Task: TypeAlias = "Supervised | Periodic"


def named(task: Task, name: str) -> Task:
    """Return a task under another name, as that of its service before its own."""
    return replace(task, name=name) if isinstance(task, Periodic) else Supervised(name, task.work)
