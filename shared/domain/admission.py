"""Whose turn it is: which waiting runs may begin, so that every cap is kept. Pure."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Caps:
    """How many runs may be under way at once; None: as many as there are."""

    fleet: int | None = None
    server: int | None = None
    pool: int | None = None
    own: Mapping[uuid.UUID, int] = field(default_factory=lambda: MappingProxyType({}))
    """Of single servers and pools, instead of the common one."""

    def of_server(self, server: uuid.UUID) -> int | None:
        """Return what holds for a server."""
        return self.own.get(server, self.server)

    def of_pool(self, pool: uuid.UUID) -> int | None:
        """Return what holds for a pool."""
        return self.own.get(pool, self.pool)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits for a free slot."""

    id: uuid.UUID
    server: uuid.UUID
    pool: uuid.UUID
    priority: int
    since: datetime


def choose(
    waiting: Iterable[Waiting], under_way: Iterable[tuple[uuid.UUID, uuid.UUID]], caps: Caps
) -> Sequence[uuid.UUID]:
    """Return who may begin, in this order: higher priority, server with the fewest runs, longest wait.

    `under_way` names server and pool of each run that has begun.
    """
    places = list(under_way)
    servers, pools = Counter(server for server, _ in places), Counter(pool for _, pool in places)
    heap = [(-run.priority, servers[run.server], run.since, run.id.int, run) for run in waiting]
    heapq.heapify(heap)
    begun: list[uuid.UUID] = []
    while heap and _below(len(places) + len(begun), caps.fleet):
        rank, counted, since, number, run = heapq.heappop(heap)
        if counted != servers[run.server]:  # others of its server began meanwhile: it steps back behind other servers
            heapq.heappush(heap, (rank, servers[run.server], since, number, run))
        elif _below(counted, caps.of_server(run.server)) and _below(pools[run.pool], caps.of_pool(run.pool)):
            begun.append(run.id)
            servers[run.server] += 1
            pools[run.pool] += 1
    return begun


def _below(count: int, cap: int | None) -> bool:
    return cap is None or count < cap
