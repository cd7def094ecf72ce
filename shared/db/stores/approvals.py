"""Four eyes in the database: whether they are asked for, and what waits for a second person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from shared.db.tables.approval import Approval, FourEyes
from shared.db.tables.base import db_now, or_ignore
from shared.domain.four_eyes import OUTSIDE

if TYPE_CHECKING:
    import uuid

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.domain.four_eyes import About, Command

_DEFAULTS = {"id": 1, "enabled": False, "cooling_seconds": 3600, "expiry_seconds": 604_800, "version": 1}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for something guarded."""

    key: str = OUTSIDE
    """`user:<id>`, `token:<id>`, or `outside`."""
    name: str = OUTSIDE
    user_id: uuid.UUID | None = None


async def four_eyes(session: AsyncSession, *, locked: bool = False) -> FourEyes:
    """Return the settings; locked until the commit, so that of two who do this one waits for the other."""
    query = select(FourEyes).where(FourEyes.id == 1)
    found = await session.scalar(query.with_for_update() if locked else query)
    if found is None:
        await session.execute(or_ignore(insert(FourEyes)).values(**_DEFAULTS))
        found = (await session.scalars(query.with_for_update())).one()
    return found


async def ask(
    session: AsyncSession, command: Command, asker: Asker, about: About, request_key: str | None = None
) -> Approval:
    """Keep a command for a second person; who asks again for the same, as long as that is open, finds it.

    A message has a row of its own in any case, so that it is known when it comes again.
    """
    settings = await four_eyes(session, locked=True)
    open_one = await session.scalar(select(Approval).where(Approval.open_key == command.key))
    if open_one is not None and request_key is None:
        return open_one
    approval = Approval(
        kind=command.kind.value,
        fields=dict(command.fields),
        noun=about.noun,
        target_id=command.target,
        target_name=about.name,
        target_version=command.version,
        server_id=about.server_id,
        reason=about.reason,
        open_key=None if open_one is not None else command.key,
        request_key=request_key,
        asked_by=asker.key,
        requested_by=asker.name,
        requested_by_id=asker.user_id,
        run_at=db_now(settings.expiry_seconds),
    )
    session.add(approval)
    await session.flush()
    await session.refresh(approval)
    return approval


async def asked_before(session: AsyncSession, request_key: str) -> bool:
    """Tell whether this very message asked already, whatever has become of it."""
    return await session.scalar(select(Approval.id).where(Approval.request_key == request_key)) is not None
