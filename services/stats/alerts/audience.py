"""Who hears of incidents: the channels and what each wants, read once for many incidents."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select

from services.stats.alerts.notify import HEARD, notification, routing
from shared.db.queries.tags import tags_of_channels
from shared.db.tables.notify import Notification, NotificationChannel
from shared.domain.alerts import Change, Level

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    from shared.db.tables.alert import Alert, AlertChange
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.notify import Routing

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Audience:
    """The channels that are switched on with their wishes, and the tags of the servers."""

    wishes: Mapping[uuid.UUID, Routing] = field(default_factory=dict["uuid.UUID", "Routing"])
    tags: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])


async def load_audience(tx: UnitOfWork, tags: Mapping[str, list[str]], now: datetime | None = None) -> Audience:
    """Read the channels; one whose wishes make no sense hears nothing, and keeps no other from hearing."""
    wishes: dict[uuid.UUID, Routing] = {}
    of_channels = await tags_of_channels(tx.session)
    for channel in await tx.session.scalars(select(NotificationChannel).where(NotificationChannel.enabled.is_(True))):
        try:
            wish = routing(channel, of_channels.get(channel.id, ()))
            wish.due(
                now or datetime.now(UTC)
            )  # a zone or a pause that makes no sense shows here, and not in the midst of an incident
            wish.wants("", Level.WARNING, ())
            wishes[channel.id] = wish
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, OSError) as error:
            _log.error("channel_unreadable", channel=channel.name, reason=str(error)[:500])
    return Audience(wishes, tags)


async def note(tx: UnitOfWork, audience: Audience, changes: Sequence[tuple[Alert, AlertChange]], now: datetime) -> None:
    """Note for each channel concerned, in the transaction of the changes themselves, that it is to be told."""
    if not changes or not audience.wishes:
        return
    # One that was deleted since the audience was read would keep the changes from being written.
    there = select(NotificationChannel.id).where(NotificationChannel.id.in_(audience.wishes))
    wishes = {channel_id: audience.wishes[channel_id] for channel_id in await tx.session.scalars(there)}
    ids = [alert.id for alert, _ in changes]
    query = select(Notification.alert_id, Notification.channel_id)
    heard = await tx.session.execute(query.where(Notification.alert_id.in_(ids), Notification.state.in_(HEARD)))
    told = {(alert_id, channel_id) for alert_id, channel_id in heard}
    for alert, change in changes:
        over = change.what == Change.RESOLVE.value
        tags = audience.tags.get(alert.server or "", [])
        for channel_id, wish in wishes.items():
            if (alert.id, channel_id) in told:
                wanted = wish.recovered or not over
            else:  # nobody hears of the end of what they never heard of
                wanted = not over and wish.wants(alert.kind, Level(alert.level), tags)
            if wanted:
                tx.session.add(notification(channel_id, alert, change, wish.due(now), now))
