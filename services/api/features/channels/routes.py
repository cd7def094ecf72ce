"""`/api/notification-channels` and the delivery log, `/api/notifications`."""

from __future__ import annotations

import base64
import secrets
import uuid
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Query
from sqlalchemy import delete, select

from services.api.features.channels.schemas import (
    ChannelChange,
    ChannelIn,
    ChannelMade,
    ChannelOut,
    ChannelRules,
    NotificationOut,
)
from services.api.kernel.dependencies import PageBounds, Parts
from services.api.kernel.pages import by_text, found, newest_first
from services.api.kernel.schemas import Page
from shared.db.stores.secrets import channel_key, channel_url
from shared.db.tables.notify import Notification, NotificationChannel
from shared.domain.ids import new_id
from shared.errors import Conflict, Invalid
from shared.notify.port import Address

if TYPE_CHECKING:
    from typing import Any

    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["notifications"])
_KEY_BYTES = 32


@router.get("/api/notification-channels")
async def list_channels(parts: Parts, bounds: PageBounds) -> Page[ChannelOut]:
    """List the channels by name."""
    async with parts.db.read() as session:
        rows, following = await by_text(session, select(NotificationChannel), NotificationChannel.name, bounds)
    return Page(items=[ChannelOut.model_validate(row[0]) for row in rows], next=following)


@router.post("/api/notification-channels", status_code=201)
async def add_channel(body: ChannelIn, parts: Parts) -> ChannelMade:
    """Add a channel; its URL is checked, and nothing is sent: see the path `test`."""
    url = body.url.get_secret_value()
    await parts.sender.check(Address(body.kind, url))
    key = "whsec_" + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode() if body.kind == "webhook" else None

    async def add(tx: UnitOfWork) -> NotificationChannel:
        channel = NotificationChannel(
            id=new_id(), name=body.name, kind=body.kind, shown_as=_shown_as(body.kind, url), **_rules(body)
        )
        tx.session.add(channel)
        await tx.secrets.put(channel_url(channel.id), url)
        if key is not None:
            await tx.secrets.put(channel_key(channel.id), key)
        await tx.session.flush()
        await tx.session.refresh(channel)
        return channel

    made = ChannelOut.model_validate(await parts.db.run(add))
    return ChannelMade(**made.model_dump(), signing_key=key)


@router.get("/api/notification-channels/{channel_id}")
async def get_channel(channel_id: uuid.UUID, parts: Parts) -> ChannelOut:
    """Return one channel."""
    async with parts.db.read() as session:
        return ChannelOut.model_validate(found(await session.get(NotificationChannel, channel_id), "channel"))


@router.put("/api/notification-channels/{channel_id}")
async def change_channel(channel_id: uuid.UUID, body: ChannelChange, parts: Parts) -> ChannelOut:
    """Change what a channel hears of; a new URL is checked first."""
    url = body.url.get_secret_value() if body.url is not None else None
    async with parts.db.read() as session:
        kind = found(await session.get(NotificationChannel, channel_id), "channel").kind
    if url is not None:
        await parts.sender.check(Address(kind, url))

    async def change(tx: UnitOfWork) -> NotificationChannel:
        channel = found(await tx.session.get(NotificationChannel, channel_id), "channel")
        for name, value in _rules(body).items():
            setattr(channel, name, value)
        if url is not None:
            channel.shown_as = _shown_as(kind, url)
            await tx.secrets.put(channel_url(channel.id), url)
        return channel

    return ChannelOut.model_validate(await parts.db.run(change))


@router.delete("/api/notification-channels/{channel_id}", status_code=204)
async def delete_channel(channel_id: uuid.UUID, parts: Parts) -> None:
    """Forget a channel, with its delivery log."""

    async def forget(tx: UnitOfWork) -> None:
        channel = found(await tx.session.get(NotificationChannel, channel_id), "channel")
        await tx.session.execute(delete(Notification).where(Notification.channel_id == channel_id))
        for name in (channel_url(channel_id), channel_key(channel_id)):
            await tx.secrets.delete(name)
        await tx.session.delete(channel)

    await parts.db.run(forget)


@router.post("/api/notification-channels/{channel_id}/test", status_code=202)
async def test_channel(channel_id: uuid.UUID, parts: Parts) -> NotificationOut:
    """Send a test at once, whatever the channel's hours; follow it at `/api/notifications/{id}`."""

    async def queue(tx: UnitOfWork) -> Notification:
        found(await tx.session.get(NotificationChannel, channel_id), "channel")
        row = Notification(channel_id=channel_id, change_id=new_id(), what="test")
        tx.session.add(row)
        await tx.session.flush()
        await tx.session.refresh(row)
        return row

    return NotificationOut.model_validate(await parts.db.run(queue))


@router.get("/api/notifications")
async def list_notifications(
    parts: Parts, bounds: PageBounds, channel_id: Annotated[uuid.UUID | None, Query()] = None
) -> Page[NotificationOut]:
    """List what was told, and what was to be told, newest first."""
    query = select(Notification)
    if channel_id is not None:
        query = query.where(Notification.channel_id == channel_id)
    async with parts.db.read() as session:
        rows, following = await newest_first(session, query, (Notification.created_at, Notification.id), bounds)
    return Page(items=[NotificationOut.model_validate(row[0]) for row in rows], next=following)


@router.get("/api/notifications/{notification_id}")
async def get_notification(notification_id: uuid.UUID, parts: Parts) -> NotificationOut:
    """Return one line of the delivery log."""
    async with parts.db.read() as session:
        return NotificationOut.model_validate(found(await session.get(Notification, notification_id), "notification"))


@router.post("/api/notifications/{notification_id}/retry", status_code=202)
async def retry_notification(notification_id: uuid.UUID, parts: Parts) -> NotificationOut:
    """Try a failed delivery again, now."""

    async def again(tx: UnitOfWork) -> Notification:
        row = found(await tx.session.get(Notification, notification_id, with_for_update=True), "notification")
        if row.state not in ("failed", "waiting"):
            message = f"this notification is {row.state}"
            raise Conflict(message, code="notification_not_failed", remedy="only what failed can be tried again")
        row.state, row.due_at = "waiting", row.created_at
        return row

    return NotificationOut.model_validate(await parts.db.run(again))


def _rules(body: ChannelRules) -> dict[str, Any]:
    rules = body.model_dump(include=set(ChannelRules.model_fields))
    if body.hours is not None:
        rules["hours"] = body.hours.model_dump(mode="json")
    return rules | {"kinds": [kind.value for kind in body.kinds]}


def _shown_as(kind: str, url: str) -> str:
    """Return what of a URL is no secret: its scheme, and a webhook's host."""
    try:
        host = urlsplit(url).hostname if kind == "webhook" else ""
    except ValueError as error:
        message = "the channel's URL is none: its host cannot be read"
        raise Invalid(message, code="bad_url", remedy="write it as https://hooks.example.org/path") from error
    return f"{url.partition('://')[0][:30]}://{host}/..."[:300]
