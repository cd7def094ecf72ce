"""Tells channels of incidents: noted with the incident's change in one transaction, delivered until it arrived."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import ColumnElement, select, update

from shared.db.stores.secrets import channel_key, channel_url
from shared.db.tables.base import db_now
from shared.db.tables.notify import Notification, NotificationChannel
from shared.domain.alerts import Change, Level
from shared.domain.hours import Hours
from shared.domain.notify import GIVEN_UP_AFTER, UNITS, Entry, Routing, group, render, retry_delay
from shared.domain.tags import names_of
from shared.domain.text import clean
from shared.errors import AppError, Invalid, NotFound, Permanent, Transient
from shared.notify.port import Address, Message
from shared.runtime.outcome import outcome
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from datetime import datetime

    from shared.db.session import Database
    from shared.db.tables.alert import Alert, AlertChange
    from shared.db.unit_of_work import UnitOfWork
    from shared.notify.port import Sender

_log = structlog.get_logger()
_SEE_LOG = "look into the log of the stats service; report it if it stays"
_EVERY = 2.0
_LEASE_SECONDS = 90.0
_AT_ONCE = 4
_MOST = 500
_TEST = "test"
HEARD = ("waiting", "sent")
"""The states of what a channel was told, or will be."""


def routing(channel: NotificationChannel, tags: Sequence[str] = ()) -> Routing:
    """Return what a channel wants to hear of, and when; `tags` are those that it refers to.

    It hears of all servers only if its own list says so too: one that cannot be read raises ValueError, and one that
    an older version wrote in this moment holds by its names.
    """
    wanted = tags or names_of(channel.tags)
    if wanted is None:
        message = "its tags cannot be read"
        raise ValueError(message)
    hours = Hours.of(channel.hours) if channel.hours else None
    kinds, about = frozenset(channel.kinds), frozenset(wanted)
    return Routing(Level(channel.least_level), kinds, about, channel.recovered, hours, channel.digest_seconds)


def notification(
    channel_id: uuid.UUID, alert: Alert, change: AlertChange, due_at: datetime, now: datetime
) -> Notification:
    """Return what is to be told to a channel of a change, and when."""
    return Notification(
        channel_id=channel_id,
        change_id=change.id,
        alert_id=alert.id,
        what=change.what,
        kind=alert.kind,
        about=alert.subject,
        server=alert.server,
        level=alert.level,
        value=alert.value,
        threshold=alert.threshold,
        due_at=due_at,
        happened_at=now,
    )


@dataclass(frozen=True, slots=True)
class Batch:
    """What one message to one channel is made of, or why none can be sent to that channel."""

    address: Address | None
    rows: Sequence[Notification]
    problem: AppError | None = None


class Notifier:
    """Delivers what is due; of all replicas one at a time for each channel."""

    def __init__(self, db: Database, sender: Sender) -> None:
        """Take the database and the way out."""
        self._db = db
        self._sender = sender
        self._holder = secrets.token_hex(8)
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def task(self) -> Periodic:
        """Look every two seconds; an undelivered message waits its time in the database."""
        return Periodic("notifier", lambda _stopping: self.deliver(), every=_EVERY)

    async def deliver(self) -> None:
        """Deliver everything that is due now."""
        due = select(Notification.channel_id).where(Notification.state == "waiting", Notification.due_at <= db_now())
        async with self._db.read() as session:
            channels = list(await session.scalars(due.distinct()))
        ends = await asyncio.gather(*(outcome(self._serve(channel_id)) for channel_id in channels))
        for error in ends:  # each channel was served, whatever became of another one
            if error is not None:
                raise error

    async def _serve(self, channel_id: uuid.UUID) -> None:
        async with self._slots:
            lease = f"notify:{channel_id.hex}"
            if await self._db.run(lambda tx: tx.leases.acquire(lease, self._holder, _LEASE_SECONDS)) is None:
                return
            try:
                batch = await self._db.run(lambda tx: gather(tx, channel_id))
                if batch is not None:
                    await self._tell(batch)
            finally:
                await self._db.run(lambda tx: tx.leases.release(lease, self._holder))

    async def _tell(self, batch: Batch) -> None:
        """Tell a channel; what goes wrong is written on the rows it is about, and on no other."""
        if batch.address is None:
            await self._settle(batch.rows, (), batch.problem)
            return
        ready = _Ready()
        if await outcome(ready.make(batch.rows)):
            ready = await self._without_the_broken(batch.rows)
        error: AppError | None = None
        if ready.message is not None:
            error = _failure(await outcome(self._sender.send(batch.address, ready.message)))
        await self._settle(ready.told, ready.needless, error)

    async def _without_the_broken(self, rows: Sequence[Notification]) -> _Ready:
        """Give up the rows of which no message can be made, each with its own cause; prepare the others."""
        sound: list[Notification] = []
        for row in rows:
            if error := await outcome(_Ready().make([row])):
                said = f"no message can be made of it: {type(error).__name__}: {error}"
                cause = Invalid(said, code="unexpected", remedy=_SEE_LOG)
                await self._settle([row], (), cause)
            else:
                sound.append(row)
        ready = _Ready()
        if sound:
            await ready.make(sound)
        return ready

    async def _settle(
        self, told: Sequence[Notification], needless: Sequence[Notification], error: AppError | None
    ) -> None:
        if error is not None and told:
            channel = str(told[0].channel_id)
            _log.warning("not_notified", channel=channel, code=error.code, reason=error.message)
        await self._db.run(lambda tx: record_outcomes(tx, told, needless, error))


@dataclass(slots=True)
class _Ready:
    """A message that is ready to be sent, and the rows it tells of."""

    message: Message | None = None
    told: Sequence[Notification] = ()
    needless: Sequence[Notification] = ()

    async def make(self, rows: Sequence[Notification]) -> None:
        self.told, self.needless = _settled(rows)
        self.message = compose(self.told) if self.told else None


def _failure(error: BaseException | None) -> AppError | None:
    """Return why a message was not delivered; what nobody foresaw may pass, and is tried again like the rest."""
    if error is None or isinstance(error, (Transient, Invalid)):
        return error
    _log.error("delivery_crashed", exc_info=error)
    return Transient(f"an unexpected {type(error).__name__}: {error}", code="unexpected", remedy=_SEE_LOG)


async def gather(tx: UnitOfWork, channel_id: uuid.UUID) -> Batch | None:
    """Return what is to be told to a channel together: all that waits, once anything is due; tests go alone."""
    now = await tx.session.scalar(select(db_now()))
    channel = await tx.session.get(NotificationChannel, channel_id)
    if now is None or channel is None:
        return None
    waiting = select(Notification).where(Notification.channel_id == channel_id, Notification.state == "waiting")
    query = waiting.order_by(Notification.due_at, Notification.id).limit(_MOST)
    rows = sorted(await tx.session.scalars(query), key=lambda row: (row.happened_at, row.id))
    due = [row for row in rows if row.due_at <= now]
    if not due:
        return None
    tests = [row for row in due if row.what == _TEST]
    for row in rows:
        tx.session.expunge(row)
    try:
        url, key = await tx.secrets.get(channel_url(channel_id)), await tx.secrets.find(channel_key(channel_id))
    except (NotFound, Permanent) as error:
        # Its address is gone, or sealed with a key that is not here: a person has to set it again.
        return Batch(None, tests or rows, Invalid(error.message, code=error.code, remedy=error.remedy))
    return Batch(Address(channel.kind, url, key or ""), tests or rows)


def _settled(rows: Sequence[Notification]) -> tuple[list[Notification], list[Notification]]:
    entries = [_entry(row) for row in rows]
    by_entry = {id(entry): row for entry, row in zip(entries, rows, strict=True)}
    told, needless = group(entries)
    return [by_entry[id(entry)] for entry in told], [by_entry[id(entry)] for entry in needless]


def _entry(row: Notification) -> Entry:
    return Entry(row.what, row.kind, row.about, row.level, row.value, row.threshold, row.happened_at, row.alert_id)


def compose(rows: Sequence[Notification]) -> Message:
    """Return one message about these things; its id stays the same for every try."""
    title, text = render([_entry(row) for row in rows])
    over = all(row.what == Change.RESOLVE.value for row in rows)
    worst = any(row.level == Level.CRITICAL.value and row.what != Change.RESOLVE.value for row in rows)
    test = rows[0].what == _TEST
    level = "info" if test else "success" if over else "failure" if worst else "warning"
    data: dict[str, Any] = {
        "type": "test" if test else "alerts",
        "alerts": [] if test else [_data(row) for row in rows],
    }
    return Message(str(rows[0].id), title, text, level, data)


def _data(row: Notification) -> dict[str, Any]:
    return {
        "alert_id": str(row.alert_id),
        "what": row.what,
        "kind": row.kind,
        "about": row.about,
        "server": row.server,
        "level": row.level,
        "value": row.value,
        "threshold": row.threshold,
        "unit": UNITS.get(row.kind, ""),
        "at": row.happened_at.isoformat(),
    }


async def record_outcomes(
    tx: UnitOfWork, told: Sequence[Notification], needless: Sequence[Notification], error: AppError | None
) -> None:
    """Write down what became of a message; one that failed is due again, until it is a day old."""
    await _set(tx, [row.id for row in needless], state="needless")
    ids = [row.id for row in told]
    if error is None:
        await _set(tx, ids, state="sent", sent_at=db_now(), error="", attempts=Notification.attempts + 1)
        return
    said = clean(f"{error.message}; {error.remedy}" if error.remedy else error.message)
    delay = retry_delay(min(row.attempts for row in told) + 1)
    await _set(tx, ids, attempts=Notification.attempts + 1, error=said, due_at=db_now(delay))
    old = Notification.created_at < db_now(-GIVEN_UP_AFTER)
    await _set(tx, ids, *(() if isinstance(error, Invalid) else (old,)), state="failed")


async def _set(tx: UnitOfWork, ids: Sequence[uuid.UUID], *conditions: ColumnElement[bool], **values: Any) -> None:
    if ids:
        rows = update(Notification).where(Notification.id.in_(ids), Notification.state == "waiting", *conditions)
        await tx.session.execute(rows.values(**values))
