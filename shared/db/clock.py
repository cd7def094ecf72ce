"""The database's own clock, as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from shared.db.tables.base import db_now

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


async def read_now(session: AsyncSession) -> datetime:
    """Return the time that the rows of this database are stamped with; machines' clocks differ from it."""
    return (await session.execute(select(db_now()))).scalar_one()
