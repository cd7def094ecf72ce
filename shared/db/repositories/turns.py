"""Turns: how many runs may be under way at once, and who of those that wait is next."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import Executable, and_, func, insert, null, or_, select, union_all

from shared.db.repositories.jobs import Addressed
from shared.db.tables.base import db_now, or_ignore
from shared.db.tables.job import Job
from shared.db.tables.kernel import RunLimits
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository, StoragePool
from shared.domain.job import JobState
from shared.domain.turns import TAKE_TURNS, Caps, Waiting, choose

if TYPE_CHECKING:
    import uuid

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.repositories.jobs import Jobs

Place: TypeAlias = "tuple[uuid.UUID, uuid.UUID]"
"""Server and pool of a run."""
_POOL = Repository.pool_id
_ADDRESS = (Job.id, Job.type, Job.node, Job.correlation_id, Job.attempt)
_LOOKED_AT = 500
_OF_EACH_SERVER = 20
_BEGUN = and_(Job.state.in_((JobState.QUEUED.value, JobState.RUNNING.value)), Job.sent_at.is_not(None))
_DUE = or_(Job.not_before.is_(None), Job.not_before <= db_now())
_OWN_AND_BEGUN: Executable = union_all(
    *(
        select(table.id.label("server"), null().label("pool"), table.max_runs.label("cap")).where(
            table.max_runs.is_not(None)
        )
        for table in (Server, StoragePool)
    ),
    select(Job.server_id, _POOL, null())
    .join(Repository, Repository.id == Job.repository_id)
    .where(_BEGUN, Job.type.in_(TAKE_TURNS)),
)
_WAITING = and_(Job.state == JobState.QUEUED.value, Job.sent_at.is_(None), _DUE)


class Turns:
    """The turns of one transaction. Who gives them locks the limits first: so no two give the same turn."""

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

    async def awaited(self) -> bool:
        """Tell whether any run waits for its turn."""
        return await self._session.scalar(select(Job.id).where(_WAITING).limit(1)) is not None

    async def give(self) -> int:
        """Send the runs whose turn it is; return how many. Jobs that are at hand are not refreshed."""
        limits, total = await self.limits(), 0
        while True:
            own, begun = await self._own_and_begun()
            caps = Caps(limits.fleet, limits.per_server, limits.per_pool, own)
            if caps.fleet is not None and len(begun) >= caps.fleet:
                return total
            waiting, addressed = await self._waiting(caps, begun)
            chosen = choose(waiting, begun, caps)
            await self._jobs.send([addressed[job_id] for job_id in chosen])
            total += len(chosen)
            if len(chosen) < _LOOKED_AT / 2:  # there was no room for more, or there are no more
                return total

    async def _own_and_begun(self) -> tuple[dict[uuid.UUID, int], list[Place]]:
        """Return the caps of single servers and pools, and what is under way; in one round trip, since each costs."""
        own: dict[uuid.UUID, int] = {}
        begun: list[Place] = []
        for server, pool, cap in await self._session.execute(_OWN_AND_BEGUN):
            if cap is not None:
                own[server] = cap
            elif server is not None:
                begun.append((server, pool))
        return own, begun

    async def _waiting(self, caps: Caps, begun: list[Place]) -> tuple[list[Waiting], dict[uuid.UUID, Addressed]]:
        """Return who is next: of each server a few, and none where a cap is reached already."""
        servers, pools = Counter(server for server, _ in begun), Counter(pool for _, pool in begun)
        full = {server for server, count in servers.items() if count >= (caps.of_server(server) or math.inf)}
        full |= {pool for pool, count in pools.items() if count >= (caps.of_pool(pool) or math.inf)}
        turn = func.row_number().over(partition_by=Job.server_id, order_by=(Job.priority.desc(), Job.created_at))
        ranked = (
            select(*_ADDRESS, Job.server_id, _POOL, Job.priority, Job.created_at, turn.label("turn"))
            .outerjoin(Repository, Repository.id == Job.repository_id)  # without it, a run begins and fails
            .where(_WAITING, *(or_(column.is_(None), column.not_in(full)) for column in (Job.server_id, _POOL)))
            .subquery()
        )
        few = select(ranked).where(ranked.c.turn <= _OF_EACH_SERVER)
        first = few.order_by(ranked.c.priority.desc(), ranked.c.turn, ranked.c.created_at).limit(_LOOKED_AT)
        waiting: list[Waiting] = []
        addressed: dict[uuid.UUID, Addressed] = {}
        for row in await self._session.execute(first):
            job = Addressed(*row[: len(_ADDRESS)])
            server, pool, priority, since, _turn = row[len(_ADDRESS) :]
            waiting.append(Waiting(job.id, server or job.id, pool or job.id, priority, since))
            addressed[job.id] = job
        return waiting, addressed
