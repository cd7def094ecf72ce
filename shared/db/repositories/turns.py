"""Turns: how many runs may be under way at once, and who of those that wait is next."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import and_, func, insert, or_, select, union_all

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
_LOOKED_AT = 500
_OF_EACH_SERVER = 20
_BEGUN = and_(Job.state.in_((JobState.QUEUED.value, JobState.RUNNING.value)), Job.sent_at.is_not(None))
_DUE = or_(Job.not_before.is_(None), Job.not_before <= db_now())
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
        """Send the runs whose turn it is; return how many."""
        await self._session.flush()
        if not await self.awaited():
            return 0
        limits, total = await self.limits(), 0
        caps = Caps(limits.fleet, limits.per_server, limits.per_pool, await self._own())
        while True:
            begun = await self._begun()
            if caps.fleet is not None and len(begun) >= caps.fleet:
                return total
            chosen = choose(await self._waiting(caps, begun), begun, caps)
            await self._jobs.send(chosen)
            total += len(chosen)
            if len(chosen) < _LOOKED_AT / 2:  # there was no room for more, or there are no more
                return total

    async def _begun(self) -> list[Place]:
        query = select(Job.server_id, _POOL).join(Repository, Repository.id == Job.repository_id)
        rows = await self._session.execute(query.where(_BEGUN, Job.type.in_(TAKE_TURNS)))
        return [(server, pool) for server, pool in rows if server is not None]

    async def _own(self) -> dict[uuid.UUID, int]:
        servers = select(Server.id, Server.max_runs).where(Server.max_runs.is_not(None))
        pools = select(StoragePool.id, StoragePool.max_runs).where(StoragePool.max_runs.is_not(None))
        return {key: cap for key, cap in await self._session.execute(union_all(servers, pools)) if cap is not None}

    async def _waiting(self, caps: Caps, begun: list[Place]) -> list[Waiting]:
        """Return who is next: of each server a few, and none where a cap is reached already."""
        servers, pools = Counter(server for server, _ in begun), Counter(pool for _, pool in begun)
        full = {server for server, count in servers.items() if count >= (caps.of_server(server) or math.inf)}
        full |= {pool for pool, count in pools.items() if count >= (caps.of_pool(pool) or math.inf)}
        turn = func.row_number().over(partition_by=Job.server_id, order_by=(Job.priority.desc(), Job.created_at))
        ranked = (
            select(Job.id, Job.server_id, _POOL, Job.priority, Job.created_at, turn.label("turn"))
            .outerjoin(Repository, Repository.id == Job.repository_id)  # without it, a run begins and fails
            .where(_WAITING, *(or_(column.is_(None), column.not_in(full)) for column in (Job.server_id, _POOL)))
            .subquery()
        )
        few = select(ranked).where(ranked.c.turn <= _OF_EACH_SERVER)
        first = few.order_by(ranked.c.priority.desc(), ranked.c.turn, ranked.c.created_at).limit(_LOOKED_AT)
        rows = await self._session.execute(first)
        return [Waiting(row[0], row[1] or row[0], row[2] or row[0], row[3], row[4]) for row in rows]
