"""The one reader of tags: whose they are, by name, in the order of their weight."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import func, select

from shared.db.tables.account import Grant
from shared.db.tables.alert import AlertRule, MaintenanceWindow
from shared.db.tables.server import Server
from shared.db.tables.tag import ChannelTag, GroupTag, ServerTag, Tag
from shared.domain.alerts import scope_of

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Iterable

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

R = TypeVar("R", AlertRule, MaintenanceWindow)
_USERS: dict[str, Any] = {
    "servers": ServerTag, "channels": ChannelTag, "thresholds": AlertRule, "windows": MaintenanceWindow,
    "groups": GroupTag, "grants": Grant,
}  # fmt: skip


async def tags_by_server_name(session: AsyncSession) -> dict[str, list[str]]:
    """Return the tags of the whole fleet by the servers' names; a server without any is left out."""
    query = (
        select(Server.name, Tag.name)
        .join(ServerTag, ServerTag.server_id == Server.id)
        .join(Tag, Tag.id == ServerTag.tag_id)
        .order_by(ServerTag.server_id, ServerTag.position)
    )
    return _gathered(await session.execute(query))


async def tags_of_servers(
    session: AsyncSession, ids: Collection[uuid.UUID] | None = None
) -> dict[uuid.UUID, list[str]]:
    """Return the tags of some servers, or of all; a server without any is left out."""
    query = select(ServerTag.server_id, Tag.name).join(Tag, Tag.id == ServerTag.tag_id)
    if ids is not None:
        query = query.where(ServerTag.server_id.in_(ids))
    return _gathered(await session.execute(query.order_by(ServerTag.server_id, ServerTag.position)))


async def tags_of_channels(
    session: AsyncSession, ids: Collection[uuid.UUID] | None = None
) -> dict[uuid.UUID, list[str]]:
    """Return of which tags some channels hear, or all channels; one that hears of all servers is left out."""
    query = select(ChannelTag.channel_id, Tag.name).join(Tag, Tag.id == ChannelTag.tag_id)
    if ids is not None:
        query = query.where(ChannelTag.channel_id.in_(ids))
    return _gathered(await session.execute(query.order_by(ChannelTag.channel_id, ChannelTag.position)))


@dataclass(slots=True)
class Uses:
    """How many of each refer to a tag."""

    servers: int = 0
    channels: int = 0
    thresholds: int = 0
    windows: int = 0
    groups: int = 0
    grants: int = 0

    def in_words(self) -> str:
        """Return what there is of it, as `2 servers, 1 channel`; empty without any."""
        counted = [(count, one) for one in fields(self) if (count := getattr(self, one.name))]
        return ", ".join(f"{count} {one.name[:-1] if count == 1 else one.name}" for count, one in counted)


async def uses_of(session: AsyncSession, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Uses]:
    """Return of each of these tags by how much it is used."""
    uses = {tag_id: Uses() for tag_id in ids}
    for name, table in _USERS.items():
        query = select(table.tag_id, func.count()).where(table.tag_id.in_(ids)).group_by(table.tag_id)
        for tag_id, count in await session.execute(query):
            setattr(uses[tag_id], name, count)
    return uses


async def with_scopes(session: AsyncSession, table: type[R], *where: ColumnElement[bool]) -> list[tuple[R, str]]:
    """Return rules or windows, and whom each is for, in the words of `shared.domain.alerts.scopes`.

    One whose server or tag is not there (any more) is for nobody, and is left out.
    """
    query = select(table, Server.name, Tag.name).outerjoin(Server, Server.id == table.server_id)
    rows = await session.execute(query.outerjoin(Tag, Tag.id == table.tag_id).where(*where))
    return [
        (row, scope_of(server or "", tag or ""))
        for row, server, tag in rows
        if bool(row.server) == bool(server) and bool(row.tag) == bool(tag)
    ]


def _gathered(pairs: Iterable[Any]) -> dict[Any, list[str]]:
    found: defaultdict[Any, list[str]] = defaultdict(list)
    for owner, tag in pairs:
        found[owner].append(tag)
    return dict(found)
