"""`/api/tags`."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy import select

from services.api.features.tags.schemas import TagIn, TagOut, TagPatch
from services.api.kernel.dependencies import PageBounds, Parts
from services.api.kernel.etag import IfMatch, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.pages import by_text, require
from services.api.kernel.patches import MERGES, documented, merged
from services.api.kernel.schemas import Page
from services.api.kernel.versions import claimed
from shared.db.queries.tags import Uses, uses_of
from shared.db.stores.tags import delete_tag, rename_tag
from shared.db.tables.tag import Tag
from shared.domain.permissions import Permission

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["servers"], route_class=GuardedRoute)


@router.get("/api/tags", dependencies=[Allow(Permission.TAGS_READ)])
async def list_tags(parts: Parts, bounds: PageBounds) -> Page[TagOut]:
    """List the tags by name, and how many of each refer to them."""
    async with parts.db.read() as session:
        cut = await by_text(session, select(Tag), Tag.name, bounds)
        uses = await uses_of(session, [row[0].id for row in cut.rows])
    return cut.page([_shown(row[0], uses[row[0].id]) for row in cut.rows])


@router.post("/api/tags", dependencies=[Allow(Permission.TAGS_WRITE)], status_code=201)
async def add_tag(body: TagIn, parts: Parts, response: Response) -> TagOut:
    """Make a tag; one that a server, a channel, a threshold or a window names is made by itself."""

    async def add(tx: UnitOfWork) -> Tag:
        tag = Tag(**body.model_dump())
        tx.session.add(tag)
        await tx.session.flush()
        await tx.session.refresh(tag)
        return tag

    return tagged(response, _shown(await parts.db.run(add), Uses()))


@router.get("/api/tags/{tag_id}", dependencies=[Allow(Permission.TAGS_READ)])
async def get_tag(tag_id: uuid.UUID, parts: Parts, response: Response) -> TagOut:
    """Return one tag; its servers are at `/api/servers?tag=`."""
    async with parts.db.read() as session:
        return tagged(response, await _read(session, tag_id))


@router.patch(
    "/api/tags/{tag_id}", dependencies=[Allow(Permission.TAGS_WRITE), MERGES], openapi_extra=documented(TagPatch)
)
async def change_tag(tag_id: uuid.UUID, body: TagPatch, parts: Parts, if_match: IfMatch, response: Response) -> TagOut:
    """Change a tag; under another name it stays the same tag to all that refers to it."""

    async def change(tx: UnitOfWork) -> None:
        tag = await claimed(tx, Tag, tag_id, "tag", if_match)
        wanted = merged(TagIn, {"name": tag.name, "colour": tag.colour, "description": tag.description}, body)
        tag.colour, tag.description = wanted.colour, wanted.description
        if wanted.name != tag.name:
            await rename_tag(tx.session, tag, wanted.name)

    await parts.db.run(change)
    async with parts.db.read() as session:
        return tagged(response, await _read(session, tag_id))


@router.delete("/api/tags/{tag_id}", dependencies=[Allow(Permission.TAGS_WRITE)], status_code=204)
async def remove_tag(
    tag_id: uuid.UUID,
    parts: Parts,
    if_match: IfMatch,
    from_servers: Annotated[bool, Query(description="Take it from the servers that have it.")] = False,
) -> None:
    """Forget a tag. One in use is refused with `in_use`, which says by what; nothing is ever for more servers after."""

    async def forget(tx: UnitOfWork) -> None:
        tag = await claimed(tx, Tag, tag_id, "tag", if_match)
        await delete_tag(tx.session, tag, from_servers=from_servers)

    await parts.db.run(forget)


async def _read(session: AsyncSession, tag_id: uuid.UUID) -> TagOut:
    tag = require(await session.get(Tag, tag_id), "tag")
    return _shown(tag, (await uses_of(session, [tag_id]))[tag_id])


def _shown(tag: Tag, uses: Uses) -> TagOut:
    return TagOut.model_validate(tag).model_copy(update=asdict(uses))
