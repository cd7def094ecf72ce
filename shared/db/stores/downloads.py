"""Links to downloads: made with a secret that is told once, and used once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from shared.db.tables.base import db_now
from shared.db.tables.download import DownloadTicket
from shared.domain.downloads import TICKET_SECONDS
from shared.domain.messages.downloads import DOWNLOAD_EXPIRED, DOWNLOAD_UNKNOWN, DOWNLOAD_USED
from shared.errors import Gone, NotFound
from shared.secrets.tokens import digest_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

PURPOSE = "download"


async def find_ticket(session: AsyncSession, secret: str) -> DownloadTicket:
    """Return a ticket that can be used; NotFound where there never was one, Gone where it was used or is over."""
    usable = DownloadTicket.expires_at > db_now()
    query = select(DownloadTicket, usable).where(DownloadTicket.digest == digest_of(PURPOSE, secret))
    row = (await session.execute(query.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise NotFound(DOWNLOAD_UNKNOWN())
    if row[0].used_at is not None:
        raise Gone(DOWNLOAD_USED())
    if not row[1]:
        raise Gone(DOWNLOAD_EXPIRED(seconds=TICKET_SECONDS))
    return row[0]


async def use_ticket(session: AsyncSession, secret: str, by: str) -> None:
    """Use a ticket up; of two that use it at once one is refused, and one that tries again under its name is not."""
    mine = DownloadTicket.digest == digest_of(PURPOSE, secret)
    free = update(DownloadTicket).where(mine, DownloadTicket.used_at.is_(None), DownloadTicket.expires_at > db_now())
    await session.execute(free.values(used_at=db_now(), used_by=by))
    if await session.scalar(select(DownloadTicket.used_by).where(mine)) != by:
        await find_ticket(session, secret)
        raise Gone(DOWNLOAD_USED())
