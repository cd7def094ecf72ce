"""From bytes to an event, or to a dead letter that says why; and from the outbox to one, where nothing else helps."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError
from sqlalchemy import insert

from shared.bus.port import EVENT_TYPE, MESSAGE_ID
from shared.db.stores.job_messages import asks_for
from shared.db.tables.base import or_ignore
from shared.db.tables.kernel import DeadLetter
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
        message = f"not a valid {event.type_name()}: {clean('; '.join(found), 1000)}"
        raise Permanent(
            message, code="undecodable", remedy="see docs/events.md for the fields of this event"
        ) from error


async def record_dead_letter(tx: UnitOfWork, delivery: Delivery, error: AppError) -> None:
    """Note for people that a message was given up, and why; once per message."""
    await _record(tx, delivery.key, delivery.subject, error, delivery.deliveries)


async def send_dead_letter(bus: Bus, delivery: Delivery, error: AppError) -> None:
    """Keep what arrived, why it was given up, and its history; once per message."""
    some = list(delivery.headers.items())[:_HEADERS]
    headers = {clean(name, 200): clean(value, 500) for name, value in some}
    await _send(bus, delivery.key, delivery.subject, delivery.data, headers, error, delivery.deliveries)


async def _send(
    bus: Bus, key: str, subject: str, data: bytes, headers: dict[str, str], error: AppError, deliveries: int
) -> None:
    """Send a dead letter; one that the bus refuses goes without what arrived, and then not at all.

    The record in the database says all the same that the message was given up: it must not come again for this.
    """
    for whole in (True, False):
        letter = _letter(key, subject, data if whole else b"", headers if whole else {}, error, deliveries)
        refused = await outcome(_publish(bus, key, subject, letter))
        if refused is None:
            return
        if is_nobodys_fault(refused):
            raise refused
        _log.error("dead_letter_refused", key=key, subject=subject, whole=whole, reason=clean(str(refused), 500))


async def set_aside(db: Database, bus: Bus, row: OutboxRow, error: Exception, tries: int) -> None:
    """Make a dead letter of an event that the bus, working, refuses to take: it must not be tried for ever."""
    refused = error if isinstance(error, AppError) else _unpublishable(error)
    key, data = f"outbox:{row.id}", row.payload.encode(errors="backslashreplace")
    _log.error("event_set_aside", row=str(row.id), subject=row.subject, code=refused.code, reason=refused.message)
    await _send(bus, key, row.subject, data, {EVENT_TYPE: row.event_type}, refused, tries)

    async def record(tx: UnitOfWork) -> None:
        await _record(tx, key, row.subject, refused, tries)
        await tx.outbox.mark_sent([row.id])
        # A job whose command is not sent would be queued for ever.
        if job_id := asks_for(row.event_type, row.payload):
            await tx.jobs.fail_unclaimed(job_id, cleaned(refused))

    await db.run(record)


def _unpublishable(error: Exception) -> Permanent:
    message = f"the event cannot be published: {type(error).__name__}: {clean(str(error), 500)}"
    return Permanent(
        message, code="unpublishable", remedy="report it: an event that Borgfleet made itself is not valid"
    )


async def _record(tx: UnitOfWork, key: str, subject: str, error: AppError, deliveries: int) -> None:
    values = {
        "message_key": clean(key, 200),
        "subject": clean(subject, 200),
        "code": clean(error.code, 60),
        "reason": clean(error.message, _REASON),
        "remedy": clean(error.remedy, _REASON),
        "deliveries": deliveries,
    }
    await tx.session.execute(or_ignore(insert(DeadLetter)).values(values))


def _letter(
    key: str, subject: str, data: bytes, headers: dict[str, str], error: AppError, deliveries: int
) -> dict[str, Any]:
    return {
        "subject": subject,
        "payload": data[:_SHOWN].decode(errors="replace"),
        "truncated": len(data) > _SHOWN,
        "headers": headers,
        "deliveries": deliveries,
        "key": key,
        "code": clean(error.code, 60),
        "reason": clean(error.message, _REASON),
        "remedy": clean(error.remedy, _REASON),
        "at": datetime.now(UTC).isoformat(),
    }


async def _publish(bus: Bus, key: str, subject: str, letter: dict[str, Any]) -> None:
    own = {MESSAGE_ID: f"dead:{key}", EVENT_TYPE: "dead.letter.v1"}
    await bus.publish(f"dead.{subject}", json.dumps(letter).encode(), own)
