"""`/api/groups`."""

from __future__ import annotations

import uuid
from collections import defaultdict
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from sqlalchemy import false, select

from services.api.features.groups.schemas import GroupIn, GroupOut, GroupPatch, MemberOut
from services.api.kernel.dependencies import PageBounds, Parts
from services.api.kernel.etag import IfMatch, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.pages import by_text, require
from services.api.kernel.patches import MERGES, documented, merged
from services.api.kernel.schemas import Page
from services.api.kernel.tags import having
from services.api.kernel.versions import claimed
from shared.db.stores.tags import tag_ids
from shared.db.tables.server import Server
from shared.db.tables.tag import GroupTag, ServerGroup, ServerTag, Tag
from shared.domain.messages.servers import GROUP_CONTRADICTS, GROUP_EMPTY
from shared.domain.permissions import Permission
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["servers"], route_class=GuardedRoute)
_WAYS = ("all", "any", "none")


@router.get("/api/groups", dependencies=[Allow(Permission.GROUPS_READ)])
async def list_groups(parts: Parts, bounds: PageBounds) -> Page[GroupOut]:
    """List the groups by name."""
    async with parts.db.read() as session:
        cut = await by_text(session, select(ServerGroup), ServerGroup.name, bounds)
        tags = await _tags(session, [row[0].id for row in cut.rows])
    return cut.page([_shown(row[0], tags[row[0].id]) for row in cut.rows])


@router.post("/api/groups", dependencies=[Allow(Permission.GROUPS_WRITE)], status_code=201)
async def add_group(body: GroupIn, parts: Parts, response: Response) -> GroupOut:
    """Make a group of servers by their tags; a tag that is not there yet is made."""

    async def add(tx: UnitOfWork) -> uuid.UUID:
        group = ServerGroup(name=body.name, description=body.description)
        tx.session.add(group)
        await tx.session.flush()
        await _set_tags(tx.session, group, {way: getattr(body, way) for way in _WAYS})
        return group.id

    group_id = await parts.db.run(add)
    async with parts.db.read() as session:
        return tagged(response, await _read(session, group_id))


@router.get("/api/groups/{group_id}", dependencies=[Allow(Permission.GROUPS_READ)])
async def get_group(group_id: uuid.UUID, parts: Parts, response: Response) -> GroupOut:
    """Return one group."""
    async with parts.db.read() as session:
        return tagged(response, await _read(session, group_id))


@router.get("/api/groups/{group_id}/servers", dependencies=[Allow(Permission.GROUPS_READ)])
async def list_members(group_id: uuid.UUID, parts: Parts, bounds: PageBounds) -> Page[MemberOut]:
    """List a group's servers by name, as their tags are now."""
    async with parts.db.read() as session:
        require(await session.get(ServerGroup, group_id), "group")
        wanted = (await _tags(session, [group_id]))[group_id]
        query = having(select(Server), wanted["all"])
        for way, inside in (("any", True), ("none", False)):
            if wanted[way]:
                with_one = select(ServerTag.server_id).join(Tag, Tag.id == ServerTag.tag_id)
                members = with_one.where(Tag.name.in_(wanted[way]))
                query = query.where(Server.id.in_(members) if inside else Server.id.not_in(members))
        if not any(wanted.values()):  # never the whole fleet, whatever was done to the rows
            query = query.where(false())
        cut = await by_text(session, query, Server.name, bounds)
    return cut.page([MemberOut.model_validate(row[0]) for row in cut.rows])


@router.patch(
    "/api/groups/{group_id}",
    dependencies=[Allow(Permission.GROUPS_WRITE), MERGES],
    openapi_extra=documented(GroupPatch),
)
async def change_group(
    group_id: uuid.UUID, body: GroupPatch, parts: Parts, if_match: IfMatch, response: Response
) -> GroupOut:
    """Change a group."""

    async def change(tx: UnitOfWork) -> None:
        group = await claimed(tx, ServerGroup, group_id, "group", if_match)
        tags = (await _tags(tx.session, [group_id]))[group_id]
        present = {"name": group.name, "description": group.description, **{way: tags[way] for way in _WAYS}}
        wanted = merged(GroupIn, present, body)
        group.name, group.description = wanted.name, wanted.description
        await _set_tags(tx.session, group, {way: getattr(wanted, way) for way in _WAYS})

    await parts.db.run(change)
    async with parts.db.read() as session:
        return tagged(response, await _read(session, group_id))


@router.delete("/api/groups/{group_id}", dependencies=[Allow(Permission.GROUPS_WRITE)], status_code=204)
async def delete_group(group_id: uuid.UUID, parts: Parts, if_match: IfMatch) -> None:
    """Forget a group; its servers and their tags stay."""

    async def forget(tx: UnitOfWork) -> None:
        await tx.session.delete(await claimed(tx, ServerGroup, group_id, "group", if_match))

    await parts.db.run(forget)


async def _set_tags(session: AsyncSession, group: ServerGroup, wanted: Mapping[str, Sequence[str]]) -> None:
    names = [name for way in _WAYS for name in dict.fromkeys(wanted[way])]
    if not names:
        raise Invalid(GROUP_EMPTY())
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Invalid(GROUP_CONTRADICTS(tag=twice[0]))
    ids = await tag_ids(session, names)
    new = {ids[name]: way for way in _WAYS for name in wanted[way]}
    for row in await session.scalars(select(GroupTag).where(GroupTag.group_id == group.id)):
        if (way := new.pop(row.tag_id, None)) is None:
            await session.delete(row)  # row by row: they are a part of the group's version
        else:
            row.wanted = way
    session.add_all(GroupTag(group_id=group.id, tag_id=tag_id, wanted=way) for tag_id, way in new.items())
    await session.flush()


async def _tags(session: AsyncSession, ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, Mapping[str, list[str]]]:
    query = select(GroupTag.group_id, GroupTag.wanted, Tag.name).join(Tag, Tag.id == GroupTag.tag_id)
    named: defaultdict[uuid.UUID, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for group_id, way, name in await session.execute(query.where(GroupTag.group_id.in_(ids)).order_by(Tag.name)):
        named[group_id][way].append(name)
    return named


async def _read(session: AsyncSession, group_id: uuid.UUID) -> GroupOut:
    group = require(await session.get(ServerGroup, group_id), "group")
    return _shown(group, (await _tags(session, [group_id]))[group_id])


def _shown(group: ServerGroup, tags: Mapping[str, list[str]]) -> GroupOut:
    return GroupOut.model_validate(group).model_copy(update={way: tags[way] for way in _WAYS})
