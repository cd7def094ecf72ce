"""`/api/notification-channels` and the delivery log, `/api/notifications`."""

from __future__ import annotations

import base64
import secrets
import uuid
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Response
from sqlalchemy import delete, select

from services.api.features.channels.schemas import (
    ChannelChange,
    ChannelIn,
    ChannelMade,
    ChannelOut,
    ChannelPatch,
    ChannelRules,
    NotificationOut,
)
from services.api.kernel.dependencies import PageBounds, Parts
from services.api.kernel.etag import IfMatch, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.pages import by_text, newest_first, require
from services.api.kernel.patches import MERGES, documented, merged
from services.api.kernel.schemas import Page
from services.api.kernel.tags import with_tags
from services.api.kernel.versions import claimed, touch
from shared.db.queries.tags import tags_of_channels
from shared.db.stores.secrets import channel_key, channel_url
from shared.db.stores.tags import set_channel_tags
from shared.db.tables.notify import Notification, NotificationChannel
from shared.domain.ids import new_id
from shared.domain.messages.alerts import BAD_URL, NOTIFICATION_NOT_FAILED
from shared.domain.permissions import Permission
from shared.errors import Conflict, Invalid
from shared.notify.port import Address

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.gateway import Gateway
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["notifications"], route_class=GuardedRoute)
_KEY_BYTES = 32


@router.get("/api/notification-channels", dependencies=[Allow(Permission.CHANNELS_READ)])
async def list_channels(parts: Parts, bounds: PageBounds) -> Page[ChannelOut]:
    """List the channels by name."""
    async with parts.db.read() as session:
        cut = await by_text(session, select(NotificationChannel), NotificationChannel.name, bounds)
        tags = await tags_of_channels(session, [row[0].id for row in cut.rows])
    return cut.page([_shown(row[0], tags.get(row[0].id, ())) for row in cut.rows])


@router.post("/api/notification-channels", dependencies=[Allow(Permission.CHANNELS_WRITE)], status_code=201)
async def add_channel(body: ChannelIn, parts: Parts, response: Response) -> ChannelMade:
    """Add a channel; its URL is checked, and nothing is sent: see the path `test`."""
    url = body.url.get_secret_value()
    await parts.sender.check(Address(body.kind, url))
    key = "whsec_" + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode() if body.kind == "webhook" else None

    async def add(tx: UnitOfWork) -> NotificationChannel:
        channel = NotificationChannel(
            id=new_id(), name=body.name, kind=body.kind, label=_label(body.kind, url), **_rules(body)
        )
        tx.session.add(channel)
        await set_channel_tags(tx.session, channel, body.tags)
        await tx.secrets.put(channel_url(channel.id), url)
        if key is not None:
            await tx.secrets.put(channel_key(channel.id), key)
        await tx.session.flush()
        await tx.session.refresh(channel)
        return channel

    made = ChannelOut.model_validate(await parts.db.run(add))
    return tagged(response, ChannelMade(**made.model_dump(), signing_key=key))


@router.get("/api/notification-channels/{channel_id}", dependencies=[Allow(Permission.CHANNELS_READ)])
async def get_channel(channel_id: uuid.UUID, parts: Parts, response: Response) -> ChannelOut:
    """Return one channel."""
    async with parts.db.read() as session:
        channel = require(await session.get(NotificationChannel, channel_id), "channel")
        return tagged(response, await _read(session, channel))


@router.put("/api/notification-channels/{channel_id}", dependencies=[Allow(Permission.CHANNELS_WRITE)])
async def change_channel(
    channel_id: uuid.UUID, body: ChannelChange, parts: Parts, if_match: IfMatch, response: Response
) -> ChannelOut:
    """Change what a channel hears of; a new URL is checked first."""
    async with parts.db.read() as session:
        kind = require(await session.get(NotificationChannel, channel_id), "channel").kind
    await _check(parts, kind, body)

    async def change(tx: UnitOfWork) -> NotificationChannel:
        channel = await claimed(tx, NotificationChannel, channel_id, "channel", if_match)
        await _define(tx, channel, body)
        return channel

    channel = await parts.db.run(change)
    async with parts.db.read() as session:
        return tagged(response, await _read(session, channel))


@router.patch(
    "/api/notification-channels/{channel_id}",
    dependencies=[Allow(Permission.CHANNELS_WRITE), MERGES],
    openapi_extra=documented(ChannelPatch),
)
async def patch_channel(
    channel_id: uuid.UUID, body: ChannelPatch, parts: Parts, if_match: IfMatch, response: Response
) -> ChannelOut:
    """Change what is named of what a channel hears of; null takes the default again, a new URL is checked first."""
    async with parts.db.read() as session:
        there = require(await session.get(NotificationChannel, channel_id), "channel")
        await _check(parts, there.kind, await _merged(session, there, body))

    async def change(tx: UnitOfWork) -> NotificationChannel:
        channel = await claimed(tx, NotificationChannel, channel_id, "channel", if_match)
        await _define(tx, channel, await _merged(tx.session, channel, body))
        return channel

    channel = await parts.db.run(change)
    async with parts.db.read() as session:
        return tagged(response, await _read(session, channel))


async def _merged(session: AsyncSession, channel: NotificationChannel, patch: ChannelPatch) -> ChannelChange:
    present = {name: getattr(channel, name) for name in ChannelRules.model_fields}
    present["tags"] = list((await tags_of_channels(session, [channel.id])).get(channel.id, ()))
    return merged(ChannelChange, present, patch)


async def _check(parts: Gateway, kind: str, body: ChannelChange) -> None:
    if body.url is not None:
        await parts.sender.check(Address(kind, body.url.get_secret_value()))


async def _define(tx: UnitOfWork, channel: NotificationChannel, body: ChannelChange) -> None:
    for name, value in _rules(body).items():
        setattr(channel, name, value)
    await set_channel_tags(tx.session, channel, body.tags)
    if body.url is not None:
        url = body.url.get_secret_value()
        channel.label = _label(channel.kind, url)
        await tx.secrets.put(channel_url(channel.id), url)
        touch(channel)


@router.delete(
    "/api/notification-channels/{channel_id}", dependencies=[Allow(Permission.CHANNELS_WRITE)], status_code=204
)
async def delete_channel(channel_id: uuid.UUID, parts: Parts, if_match: IfMatch) -> None:
    """Forget a channel, with its delivery log."""

    async def forget(tx: UnitOfWork) -> None:
        channel = await claimed(tx, NotificationChannel, channel_id, "channel", if_match)
        await tx.session.execute(delete(Notification).where(Notification.channel_id == channel_id))
        for name in (channel_url(channel_id), channel_key(channel_id)):
            await tx.secrets.delete(name)
        await tx.session.delete(channel)

    await parts.db.run(forget)


@router.post(
    "/api/notification-channels/{channel_id}/test", dependencies=[Allow(Permission.CHANNELS_WRITE)], status_code=202
)
async def test_channel(channel_id: uuid.UUID, parts: Parts) -> NotificationOut:
    """Send a test at once, whatever the channel's hours; follow it at `/api/notifications/{id}`."""

    async def queue(tx: UnitOfWork) -> Notification:
        require(await tx.session.get(NotificationChannel, channel_id), "channel")
        row = Notification(channel_id=channel_id, change_id=new_id(), what="test")
        tx.session.add(row)
        await tx.session.flush()
        await tx.session.refresh(row)
        return row

    return NotificationOut.model_validate(await parts.db.run(queue))


@router.get("/api/notifications", dependencies=[Allow(Permission.CHANNELS_READ)])
async def list_notifications(
    parts: Parts, bounds: PageBounds, channel_id: Annotated[uuid.UUID | None, Query()] = None
) -> Page[NotificationOut]:
    """List what was told, and what was to be told, newest first."""
    query = select(Notification)
    if channel_id is not None:
        query = query.where(Notification.channel_id == channel_id)
    async with parts.db.read() as session:
        cut = await newest_first(session, query, (Notification.created_at, Notification.id), bounds)
    return cut.page([NotificationOut.model_validate(row[0]) for row in cut.rows])


@router.get("/api/notifications/{notification_id}", dependencies=[Allow(Permission.CHANNELS_READ)])
async def get_notification(notification_id: uuid.UUID, parts: Parts) -> NotificationOut:
    """Return one line of the delivery log."""
    async with parts.db.read() as session:
        return NotificationOut.model_validate(require(await session.get(Notification, notification_id), "notification"))


@router.post(
    "/api/notifications/{notification_id}/retry", dependencies=[Allow(Permission.CHANNELS_WRITE)], status_code=202
)
async def retry_notification(notification_id: uuid.UUID, parts: Parts) -> NotificationOut:
    """Try a failed delivery again, now."""

    async def again(tx: UnitOfWork) -> Notification:
        row = require(await tx.session.get(Notification, notification_id, with_for_update=True), "notification")
        if row.state not in ("failed", "waiting"):
            raise Conflict(NOTIFICATION_NOT_FAILED(state=row.state))
        row.state, row.due_at = "waiting", row.created_at
        return row

    return NotificationOut.model_validate(await parts.db.run(again))


async def _read(session: AsyncSession, channel: NotificationChannel) -> ChannelOut:
    return _shown(channel, (await tags_of_channels(session, [channel.id])).get(channel.id, ()))


def _shown(channel: NotificationChannel, tags: Sequence[str]) -> ChannelOut:
    out = ChannelOut.model_validate(channel)
    with_tags(out, channel.tags, tags)
    return out


def _rules(body: ChannelRules) -> dict[str, Any]:
    rules = body.model_dump(include=set(ChannelRules.model_fields) - {"tags"})
    if body.hours is not None:
        rules["hours"] = body.hours.model_dump(mode="json")
    return rules | {"kinds": [kind.value for kind in body.kinds]}


def _label(kind: str, url: str) -> str:
    """Return what of a URL is no secret: its scheme, and a webhook's host."""
    try:
        host = urlsplit(url).hostname if kind == "webhook" else ""
    except ValueError as error:
        raise Invalid(BAD_URL()) from error
    return f"{url.partition('://')[0][:30]}://{host}/..."[:300]
