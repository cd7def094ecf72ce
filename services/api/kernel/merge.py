"""The newest rows of some servers, each server's read down its own index.

An IN list of hundreds of servers beside an order by time makes the database read the whole time index where those
servers have few rows: seconds, at a million jobs. One part a server, merged, reads no more than a page of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Select, select, union_all

from shared.db.visible import seeing, seen_servers

if TYPE_CHECKING:
    import uuid
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import InstrumentedAttribute

_AT_ONCE = 300
"""Servers in one statement; SQLite allows 500 parts."""


async def only_newest(
    session: AsyncSession,
    query: Select[*tuple[Any, ...]],
    at: InstrumentedAttribute[datetime],
    identity: InstrumentedAttribute[uuid.UUID],
    count: int,
) -> Select[*tuple[Any, ...]]:
    """Narrow a query to so many of its newest rows, where the session sees some servers only."""
    servers = seen_servers(session)
    server_id = getattr(identity.class_, "server_id", None)
    if servers is None or server_id is None:
        return query
    newest: list[tuple[datetime, uuid.UUID]] = []
    each = sorted(servers)
    for start in range(0, len(each), _AT_ONCE):
        parts = [
            select(
                query.with_only_columns(at.label("at"), identity.label("id"), maintain_column_froms=True)
                .where(server_id == server)
                .order_by(at.desc(), identity.desc())
                .limit(count)
                .subquery()
            )
            for server in each[start : start + _AT_ONCE]
        ]
        with seeing(session, None):  # each part is of one of those servers
            rows = await session.execute(union_all(*parts))
        newest = sorted([*newest, *(cast("tuple[Any, Any]", tuple(row)) for row in rows)], reverse=True)[:count]
    return query.where(identity.in_([row[1] for row in newest]))
