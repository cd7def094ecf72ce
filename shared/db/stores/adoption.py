"""Takes over what versions before the table of tags have written meanwhile: lists and names without ids.

Whoever knows the table writes both in one transaction. So where they differ, a version that does not know it was the
last to write, and its list is what a person wanted. A list that cannot be read says nothing, and is left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import structlog
from sqlalchemy import Text, and_, or_, select, type_coerce

from shared.db.queries.tags import tags_of_channels, tags_of_servers
from shared.db.stores.tags import set_channel_tags, set_server_tags, tag_ids
from shared.db.tables.alert import AlertRule, MaintenanceWindow
from shared.db.tables.notify import NotificationChannel
from shared.db.tables.schedule import Pause
from shared.db.tables.server import Server
from shared.domain.tags import names_in, names_of

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Mapping

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.unit_of_work import UnitOfWork

_log = structlog.get_logger()
_MOST = 50
"""Rows that one transaction takes over; the rest waits for the next one."""
Owner: TypeAlias = "type[Server | NotificationChannel]"


async def adopt(tx: UnitOfWork) -> None:
    """Bring the table of tags, and the ids of rules, windows and pauses, up to what older versions wrote."""
    for owner in (Server, NotificationChannel):
        for identity in await _differing(tx.session, owner):
            await _take_over(tx.session, owner, identity)
    for table in (AlertRule, MaintenanceWindow, Pause):
        await _find_ids(tx.session, table)


async def _differing(session: AsyncSession, owner: Owner) -> list[uuid.UUID]:
    stored = await session.execute(select(owner.id, type_coerce(owner.tags, Text)))
    listed = {key: names for key, text in stored if (names := names_in(text)) is not None}
    linked = await _linked(session, owner)
    return sorted(key for key, names in listed.items() if names != linked.get(key, []))[:_MOST]


async def _linked(
    session: AsyncSession, owner: Owner, ids: Collection[uuid.UUID] | None = None
) -> Mapping[uuid.UUID, list[str]]:
    return await (tags_of_servers if owner is Server else tags_of_channels)(session, ids)


async def _take_over(session: AsyncSession, owner: Owner, identity: uuid.UUID) -> None:
    """Look again with the row locked: it may have been read between the two halves of somebody's change."""
    query = select(owner).where(owner.id == identity).with_for_update()
    row = await session.scalar(query.execution_options(populate_existing=True))
    names = names_of(row.tags) if row is not None else None
    if row is None or names is None or names == (await _linked(session, owner, [identity])).get(identity, []):
        return
    _log.info("tags_taken_over", of=row.name, tags=names)
    if isinstance(row, Server):
        await set_server_tags(session, row, names)
    else:
        await set_channel_tags(session, row, names)


async def _find_ids(session: AsyncSession, table: Any) -> None:
    """Refer by id to what a row names; of a server that was deleted long since there is none: it is for nobody."""
    has_tag = table is not Pause
    unknown: list[ColumnElement[bool]] = [and_(table.server != "", table.server_id.is_(None))]
    if has_tag:
        unknown.append(and_(table.tag != "", table.tag_id.is_(None)))
    rows = (await session.scalars(select(table).where(or_(*unknown)).limit(_MOST))).all()
    servers = {row.server for row in rows if row.server}
    query = select(Server).where(Server.name.in_(servers))
    ids = {server.name: server.id for server in await session.scalars(query)} if servers else {}
    for row in rows:
        if row.server in ids:
            row.server_id = ids[row.server]
        if has_tag and row.tag and row.tag_id is None and names_of([row.tag]):
            row.tag_id = (await tag_ids(session, [row.tag]))[row.tag]
