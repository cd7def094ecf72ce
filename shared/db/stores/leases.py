"""Row leases with an epoch, by conditional UPDATE alone: Galera knows no GET_LOCK."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import CursorResult, insert, or_, select, update

from shared.db.tables.base import beyond, db_now, or_ignore
from shared.db.tables.job import Job
from shared.db.tables.kernel import Lease
from shared.domain.messages.jobs import LEASE_LOST
from shared.errors import LeaseLost

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.sql.dml import Update

_AT_WORK = ("running", "cancelling")


class Held(NamedTuple):
    """A lease that somebody holds."""

    epoch: int
    kind: str
    """The type of the job that holds it; empty where it is no job's."""


class Leases:
    """Exclusive use of named things."""

    def __init__(self, session: AsyncSession) -> None:
        """Bind to a session."""
        self._session = session

    async def acquire(self, name: str, holder: str, seconds: float, *, gently: bool = False) -> int | None:
        """Take a lease for so many seconds; return its new epoch, or None while another holds it.

        One that ends further ahead than any lease may last was written by a clock that was ahead: it counts as free.
        `gently`, where two may never be at work at once: whoever holds it still has so many seconds to renew it.
        """
        impossible = beyond(Lease.until)
        free = or_(Lease.until < db_now(), Lease.holder.in_(("", holder)))
        if gently:
            theirs = update(Lease).where(Lease.name == name, impossible, Lease.holder.not_in(("", holder)))
            await self._changed(theirs.values(until=db_now(seconds)))
        else:
            free = or_(free, impossible)
        take = (
            update(Lease)
            .where(Lease.name == name, free)
            .values(holder=holder, epoch=Lease.epoch + 1, until=db_now(seconds))
        )
        if not await self._changed(take):
            await self._session.execute(or_ignore(insert(Lease)).values(name=name, holder="", epoch=0, until=db_now()))
            if not await self._changed(take):
                return None
        return await self._session.scalar(select(Lease.epoch).where(Lease.name == name))

    async def renew(self, name: str, holder: str, seconds: float) -> None:
        """Extend a lease; LeaseLost if another holds it now."""
        mine = update(Lease).where(Lease.name == name, Lease.holder == holder).values(until=db_now(seconds))
        if not await self._changed(mine):
            raise LeaseLost(LEASE_LOST(lease=name))

    async def release(self, name: str, holder: str) -> None:
        """Give a lease back; nothing happens if it is no longer ours."""
        await self._session.execute(update(Lease).where(Lease.name == name, Lease.holder == holder).values(holder=""))

    async def holder(self, name: str) -> str:
        """Return who holds a lease, or an empty text."""
        query = select(Lease.holder).where(Lease.name == name, Lease.until > db_now(), ~beyond(Lease.until))
        return await self._session.scalar(query) or ""

    async def held_for(self, name: str) -> Held | None:
        """Return in which epoch a lease is held, and for what kind of job; None while nobody holds it."""
        query = (
            select(Lease.epoch, Job.type)
            .outerjoin(Job, (Job.lease == Lease.holder) & Job.state.in_(_AT_WORK))
            .where(Lease.name == name, Lease.holder != "", Lease.until > db_now(), ~beyond(Lease.until))
        )
        row = (await self._session.execute(query)).first()
        return None if row is None else Held(row[0], row[1] or "")

    async def epoch(self, name: str) -> int:
        """Return a lease's epoch: it is another one as soon as anybody else took it."""
        return await self._session.scalar(select(Lease.epoch).where(Lease.name == name)) or 0

    async def _changed(self, statement: Update) -> bool:
        result = await self._session.execute(statement)
        return isinstance(result, CursorResult) and result.rowcount > 0
