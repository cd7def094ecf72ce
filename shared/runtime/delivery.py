"""From bytes to an event, or to a dead letter that says why; and from the outbox to one, where nothing else helps."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError
from sqlalchemy import insert

from shared.bus.port import EVENT_TYPE, MESSAGE_ID
from shared.db.stores.job_messages import asks_for
from shared.db.tables.base import or_ignore
from shared.db.tables.kernel import DeadLetter
from shared.domain.messages import stored
from shared.domain.messages.jobs import UNDECODABLE, UNPUBLISHABLE
from shared.domain.text import clean
from shared.errors import AppError, Permanent
from shared.runtime.outcome import outcome
from shared.runtime.piecemeal import is_nobodys_fault
from shared.runtime.storable import cleaned

if TYPE_CHECKING:
    from shared.bus.port import Bus, Delivery
    from shared.db.session import Database
    from shared.db.tables.kernel import OutboxRow
    from shared.db.unit_of_work import UnitOfWork
    from shared.events.base import Command

_log = structlog.get_logger()
_SHOWN = 64 * 1024
_HEADERS = 50
"""How many are shown: a publisher may send a million, and a letter too large is refused and tried for ever."""
_REASON = 10_000


def decode(event: type[Command], delivery: Delivery) -> Command:
    """Read the payload; Permanent, with what is wrong and where, if it is not this event."""
    try:
        return event.model_validate_json(delivery.data)
    except ValidationError as error:
        found = (f"{'.'.join(map(str, e['loc'])) or 'payload'}: {e['msg']}" for e in error.errors())
        raise Permanent(UNDECODABLE(event=event.type_name(), wrong=clean("; ".join(found), 1000))) from error


async def record_dead_letter(tx: UnitOfWork, delivery: Delivery, error: AppError) -> None:
    """Note for people that a message was given up, and why; once per message."""
    await _record(tx, delivery.key, delivery.subject, error, delivery.deliveries)


async def send_dead_letter(db: Database, bus: Bus, delivery: Delivery, error: AppError) -> None:
    """Keep what arrived, why it was given up, and its history; once per message."""
    some = list(delivery.headers.items())[:_HEADERS]
    headers = {clean(name, 200): clean(value, 500) for name, value in some}
    letter = _Letter(delivery.key, delivery.subject, delivery.data, headers, error, delivery.deliveries)
    await _send(db, bus, letter)


@dataclass(frozen=True, slots=True)
class _Letter:
    """What arrived, why it was given up, and how often it was tried."""

    key: str
    subject: str
    data: bytes
    headers: dict[str, str]
    error: AppError
    deliveries: int

    def body(self) -> bytes:
        letter = {
            "subject": self.subject,
            "payload": self.data[:_SHOWN].decode(errors="replace"),
            "truncated": len(self.data) > _SHOWN,
            "headers": self.headers,
            "deliveries": self.deliveries,
            "key": self.key,
            "code": clean(self.error.code, 60),
            "reason": clean(self.error.message, _REASON),
            "remedy": clean(self.error.remedy, _REASON),
            "at": datetime.now(UTC).isoformat(),
        }
        return json.dumps(letter).encode()


async def _send(db: Database, bus: Bus, letter: _Letter) -> None:
    """Send a dead letter; one that the bus refuses goes without what arrived, and then not at all.

    The record in the database says all the same that the message was given up: it must not come again for this.
    """
    # The bus drops a second message of one id. Who could tell this one could publish it first, and so hide the letter.
    own = {MESSAGE_ID: db.keyed_id("dead letter", letter.key), EVENT_TYPE: "dead.letter.v1"}
    for sent in (letter, replace(letter, data=b"", headers={})):
        refused = await outcome(bus.publish(f"dead.{letter.subject}", sent.body(), own))
        if refused is None:
            return
        if is_nobodys_fault(refused):
            raise refused
        reason = clean(str(refused), 500)
        _log.error("dead_letter_refused", key=letter.key, subject=letter.subject, whole=sent is letter, reason=reason)


async def set_aside(db: Database, bus: Bus, row: OutboxRow, error: Exception, tries: int) -> None:
    """Make a dead letter of an event that the bus, working, refuses to take: it must not be tried for ever."""
    refused = error if isinstance(error, AppError) else _unpublishable(error)
    key, data = f"outbox:{row.id}", row.payload.encode(errors="backslashreplace")
    _log.error("event_set_aside", row=str(row.id), subject=row.subject, code=refused.code, reason=refused.message)
    await _send(db, bus, _Letter(key, row.subject, data, {EVENT_TYPE: row.event_type}, refused, tries))

    async def record(tx: UnitOfWork) -> None:
        await _record(tx, key, row.subject, refused, tries)
        await tx.outbox.mark_sent([row.id])
        # A job whose command is not sent would be queued for ever.
        if job_id := asks_for(row.event_type, row.payload):
            await tx.jobs.fail_unclaimed(job_id, cleaned(refused))

    await db.run(record)


def _unpublishable(error: Exception) -> Permanent:
    return Permanent(UNPUBLISHABLE(kind=type(error).__name__, error=clean(str(error), 500)))


async def _record(tx: UnitOfWork, key: str, subject: str, error: AppError, deliveries: int) -> None:
    values = {
        "message_key": clean(key, 200),
        "subject": clean(subject, 200),
        "code": clean(error.code, 60),
        "reason": clean(error.message, _REASON),
        "remedy": clean(error.remedy, _REASON),
        "message": stored(error.said),
        "deliveries": deliveries,
    }
    await tx.session.execute(or_ignore(insert(DeadLetter)).values(values))
