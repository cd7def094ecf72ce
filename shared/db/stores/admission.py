"""Admission: how many runs may be under way at once, and who of those that wait is next."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Executable,
    Integer,
    String,
    Uuid,
    and_,
    func,
    insert,
    null,
    or_,
    select,
    type_coerce,
    union_all,
)

from shared.db.stores.job_messages import ADDRESS, KNOWN, Addressed
from shared.db.stores.job_rows import IS_DUE
from shared.db.tables.base import beyond, db_now, or_ignore
from shared.db.tables.job import Job
from shared.db.tables.kernel import RunLimits, ServiceInstance
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository, StoragePool
from shared.db.visible import seeing
from shared.domain.admission import Caps, Waiting, choose
from shared.domain.job import JobState
from shared.domain.job_kinds import TAKE_TURNS

if TYPE_CHECKING:
    import uuid

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.types import TypeEngine

    from shared.db.stores.jobs import Jobs

_POOL = Repository.pool_id
_LOOKED_AT = 500
_OF_EACH_SERVER = 20
_SEEN_SECONDS = 60.0
_BEGUN = or_(
    and_(Job.state == JobState.QUEUED.value, Job.sent_at.is_not(None)),
    Job.state == JobState.RUNNING.value,  # with a message or without: another delivery may have ended it
)


def _untold(of: type[TypeEngine[Any]]) -> ColumnElement[Any]:
    """Return a NULL of a type: a union takes the types of its columns from its first part."""
    return type_coerce(null(), of())


_OWN_AND_BEGUN: Executable = union_all(
    *(
        select(table.id, _untold(Uuid), table.max_runs, _untold(String), _untold(String)).where(
            table.max_runs.is_not(None)
        )
        for table in (Server, StoragePool)
    ),
    select(Job.server_id, _POOL, _untold(Integer), Job.node, Job.state)
    .join(Repository, Repository.id == Job.repository_id)
    .where(_BEGUN, Job.type.in_(TAKE_TURNS)),
)
_SEEN = select(ServiceInstance.node).where(
    ServiceInstance.node != "",
    ServiceInstance.seen_at > db_now(-_SEEN_SECONDS),
    ~beyond(ServiceInstance.seen_at, _SEEN_SECONDS),  # by a clock that was ahead: a living one says so again at once
)
_WAITING = and_(Job.state == JobState.QUEUED.value, Job.sent_at.is_(None), Job.type.in_(KNOWN), IS_DUE)
_NODES_AWAITED = select(Job.node).where(_WAITING, Job.node.is_not(None)).distinct()


@dataclass(frozen=True, slots=True)
class _Queue:
    """Whose runs are chosen from: one silent node's, or (None) those of all others."""

    node: str | None
    silent: frozenset[str]

    def counts(self, queued_for: str | None, seen: set[str]) -> bool:
        """Tell whether a run counts against the caps here: what runs always does."""
        return queued_for is None or queued_for in seen or queued_for == self.node

    def condition(self) -> ColumnElement[bool]:
        """Select the runs of this queue."""
        if self.node is not None:
            return Job.node == self.node
        return or_(Job.node.is_(None), Job.node.not_in(self.silent))


class Begun(NamedTuple):
    """A run that is under way: where it runs, and the node for whose slots its message waits, if it still does."""

    server: uuid.UUID
    pool: uuid.UUID
    queued_for: str | None


class Admission:
    """Admission within one transaction. Who admits locks the limits first: so no two give the same slot away."""

    def __init__(self, session: AsyncSession, jobs: Jobs) -> None:
        """Bind to a session."""
        self._session = session
        self._jobs = jobs

    async def limits(self) -> RunLimits:
        """Return the limits, locked until the commit."""
        query = select(RunLimits).where(RunLimits.id == 1).with_for_update()
        found = await self._session.scalar(query)
        if found is None:
            await self._session.execute(or_ignore(insert(RunLimits)).values(id=1))
            found = (await self._session.scalars(query)).one()
        return found

    async def is_awaited(self) -> bool:
        """Tell whether any run waits for a free slot."""
        return await self._session.scalar(select(Job.id).where(_WAITING).limit(1)) is not None

    async def admit(self) -> int:
        """Send the runs that have a free slot; return how many. Jobs that are at hand are not refreshed.

        A node that was not seen for a minute has its own queue: what waits there takes no slot of the others.
        Whoever asked for it: the limits count the runs of the whole fleet.
        """
        with seeing(self._session, None):
            return await self._admit()

    async def _admit(self) -> int:
        limits = await self.limits()
        seen = set(await self._session.scalars(_SEEN))
        own, begun = await self.own_and_begun()
        caps = Caps(limits.fleet, limits.per_server, limits.per_pool, own)
        awaited = set(await self._session.scalars(_NODES_AWAITED))
        silent = frozenset(node for node in awaited if node is not None and node not in seen)
        total = 0
        queues: list[str | None] = [None, *sorted(silent)]
        for node in queues:
            total += await self._give(caps, begun, _Queue(node, silent), seen)
        return total

    async def _give(self, caps: Caps, begun: list[Begun], queue: _Queue, seen: set[str]) -> int:
        """Let runs of one queue begin until there is no room, or there are no more."""
        total = 0
        places = [(run.server, run.pool) for run in begun if queue.counts(run.queued_for, seen)]
        while caps.fleet is None or len(places) < caps.fleet:
            waiting, addressed = await self._waiting(caps, places, queue)
            chosen = choose(waiting, places, caps)
            await self._jobs.send([addressed[job_id] for job_id in chosen])
            total += len(chosen)
            if len(chosen) < _LOOKED_AT / 2:
                break
            at = {run.id: (run.server, run.pool) for run in waiting}
            places += [at[job_id] for job_id in chosen]
        return total

    async def own_and_begun(self) -> tuple[dict[uuid.UUID, int], list[Begun]]:
        """Return the caps of single servers and pools, and what is under way; in one round trip, since each costs."""
        own: dict[uuid.UUID, int] = {}
        begun: list[Begun] = []
        for place, pool, cap, node, state in await self._session.execute(_OWN_AND_BEGUN):
            if cap is not None:
                own[place] = cap
            elif place is not None:
                begun.append(Begun(place, pool, node if state == JobState.QUEUED else None))
        return own, begun

    async def _waiting(
        self, caps: Caps, begun: list[tuple[uuid.UUID, uuid.UUID]], queue: _Queue
    ) -> tuple[list[Waiting], dict[uuid.UUID, Addressed]]:
        """Return who is next: of each server a few, and none where a cap is reached already."""
        servers, pools = Counter(server for server, _ in begun), Counter(pool for _, pool in begun)
        full = {server for server, count in servers.items() if count >= (caps.of_server(server) or math.inf)}
        full |= {pool for pool, count in pools.items() if count >= (caps.of_pool(pool) or math.inf)}
        turn = func.row_number().over(partition_by=Job.server_id, order_by=(Job.priority.desc(), Job.created_at))
        ranked = (
            select(*ADDRESS, Job.server_id, _POOL, Job.priority, Job.created_at, turn.label("turn"))
            .outerjoin(Repository, Repository.id == Job.repository_id)  # without it, a run begins and fails
            .where(
                _WAITING,
                queue.condition(),
                *(or_(column.is_(None), column.not_in(full)) for column in (Job.server_id, _POOL)),
            )
            .subquery()
        )
        few = select(ranked).where(ranked.c.turn <= _OF_EACH_SERVER)
        first = few.order_by(ranked.c.priority.desc(), ranked.c.turn, ranked.c.created_at).limit(_LOOKED_AT)
        waiting: list[Waiting] = []
        addressed: dict[uuid.UUID, Addressed] = {}
        for row in await self._session.execute(first):
            job = Addressed(*row[: len(ADDRESS)])
            server, pool, priority, since, _turn = row[len(ADDRESS) :]
            waiting.append(Waiting(job.id, server or job.id, pool or job.id, priority, since))
            addressed[job.id] = job
        return waiting, addressed
