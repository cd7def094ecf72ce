"""Gives tags to servers and channels, and finds them for those that refer to them.

Beside the table, servers and channels still hold the names of their tags as a list, and rules, windows and pauses hold
names beside ids: versions before the table read those, and a cluster may go back to them at any time. Both are written
in one transaction, here alone. What such a version writes is taken over by `adoption`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from shared.db.queries.tags import uses_of
from shared.db.tables.alert import AlertRule, MaintenanceWindow
from shared.db.tables.base import or_ignore
from shared.db.tables.notify import NotificationChannel
from shared.db.tables.server import Server
from shared.db.tables.tag import ChannelTag, GroupTag, ServerGroup, ServerTag, Tag
from shared.domain.ids import new_id
from shared.domain.messages.servers import IN_USE, NOT_FOUND_SERVER
from shared.domain.tags import names_of
from shared.errors import Conflict, NotFound

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable

    from sqlalchemy.ext.asyncio import AsyncSession

_LISTS: tuple[tuple[Any, Any], ...] = ((Server, ServerTag), (NotificationChannel, ChannelTag))
_OWNER: dict[Any, str] = {Server: "server_id", NotificationChannel: "channel_id"}


async def tag_ids(session: AsyncSession, names: Iterable[str]) -> dict[str, uuid.UUID]:
    """Return the ids of tags by name, making those that are not there; until the commit none of them changes."""
    wanted = sorted(set(names))  # always in one order: two that make the same tags wait for one another
    if not wanted:
        return {}
    found = await _locked(session, wanted)
    if new := [name for name in wanted if name not in found]:
        rows = [{"id": new_id(), "name": name} for name in new]
        await session.execute(or_ignore(insert(Tag)), rows)
        found |= await _locked(session, new)  # the row of another who made it at the same time, perhaps
    return found


async def _locked(session: AsyncSession, names: list[str]) -> dict[str, uuid.UUID]:
    """Keep the tags from being renamed or deleted: their names are about to be written beside their ids."""
    query = select(Tag.name, Tag.id).where(Tag.name.in_(names)).with_for_update(read=True)
    return {row.name: row.id for row in await session.execute(query)}


async def set_server_tags(session: AsyncSession, server: Server, names: Iterable[str]) -> None:
    """Give a server these tags instead of the ones it has; the first weighs most."""
    wanted = list(dict.fromkeys(names))
    ids = await tag_ids(session, wanted)
    await session.flush()
    await session.execute(select(Server.id).where(Server.id == server.id).with_for_update())
    await session.execute(delete(ServerTag).where(ServerTag.server_id == server.id))
    if wanted:
        await session.execute(insert(ServerTag), _rows("server_id", server.id, [ids[name] for name in wanted]))
    server.tags = wanted


async def set_channel_tags(session: AsyncSession, channel: NotificationChannel, names: Iterable[str]) -> None:
    """Let a channel hear of servers with one of these tags alone; without any, of all."""
    wanted = list(dict.fromkeys(names))
    ids = await tag_ids(session, wanted)
    await session.flush()
    lock = select(NotificationChannel.id).where(NotificationChannel.id == channel.id).with_for_update()
    await session.execute(lock)
    await session.execute(delete(ChannelTag).where(ChannelTag.channel_id == channel.id))
    if wanted:
        await session.execute(insert(ChannelTag), _rows("channel_id", channel.id, [ids[name] for name in wanted]))
    channel.tags = wanted


async def referred(session: AsyncSession, server: str = "", tag: str = "") -> dict[str, Any]:
    """Return ids and names for a row that is for one server, for all with a tag, or, both empty, for all."""
    server_id = tag_id = None
    if server:
        server_id = await session.scalar(select(Server.id).where(Server.name == server))
        if server_id is None:
            raise NotFound(NOT_FOUND_SERVER(server=server))
    if tag:
        tag_id = (await tag_ids(session, [tag]))[tag]
    return {"server": server, "server_id": server_id, "tag": tag, "tag_id": tag_id}


async def rename_tag(session: AsyncSession, tag: Tag, name: str) -> None:
    """Give a tag another name, wherever it stands; all that refers to it goes on."""
    old, tag.name = tag.name, name
    await session.flush()  # before anything else: it waits for whoever is about to write the old name
    for owner, link in _LISTS:
        await _rewrite(session, owner, link, tag, lambda names: [name if one == old else one for one in names])
    # What shows the name has another version: else who began to change it before would write the old name, a tag anew.
    for table in (AlertRule, MaintenanceWindow):
        changed = update(table).where(table.tag_id == tag.id).values(tag=name, version=table.version + 1)
        await session.execute(changed, execution_options={"synchronize_session": False})
    mine = select(GroupTag.group_id).where(GroupTag.tag_id == tag.id)
    raised = update(ServerGroup).where(ServerGroup.id.in_(mine)).values(version=ServerGroup.version + 1)
    await session.execute(raised, execution_options={"synchronize_session": False})


async def delete_tag(session: AsyncSession, tag: Tag, *, from_servers: bool) -> None:
    """Forget a tag that nothing refers to; `from_servers`: take it from the servers that have it.

    From a channel, a threshold or a window it is never taken: without it they would be for all servers.
    """
    await session.execute(select(Tag.id).where(Tag.id == tag.id).with_for_update())  # nobody refers to it from here on
    uses = (await uses_of(session, [tag.id]))[tag.id]
    taken, uses.servers = uses.servers, 0 if from_servers else uses.servers
    if said := uses.in_words():
        raise Conflict(IN_USE(tag=tag.name, users=said))
    if taken:
        await _rewrite(session, Server, ServerTag, tag, lambda names: [one for one in names if one != tag.name])
        await session.execute(delete(ServerTag).where(ServerTag.tag_id == tag.id))
    await session.delete(tag)
    await session.flush()


async def _rewrite(
    session: AsyncSession, owner: Any, link: Any, tag: Tag, change: Callable[[list[str]], list[str]]
) -> None:
    """Change the lists that older versions read; one that cannot be read stays as it is."""
    mine = select(link.__table__.c[_OWNER[owner]]).where(link.tag_id == tag.id)
    rows = await session.execute(select(owner.id, owner.tags).where(owner.id.in_(mine)).with_for_update())
    changed = [
        {"id": identity, "tags": change(names)} for identity, stored in rows if (names := names_of(stored)) is not None
    ]
    if changed:
        await session.execute(update(owner), changed)
        raised = update(owner).where(owner.id.in_([one["id"] for one in changed]))
        await session.execute(
            raised.values(version=owner.version + 1), execution_options={"synchronize_session": False}
        )


def _rows(owner: str, identity: uuid.UUID, tags: list[uuid.UUID]) -> list[dict[str, Any]]:
    return [{owner: identity, "tag_id": tag, "position": position} for position, tag in enumerate(tags)]
