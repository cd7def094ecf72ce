"""From bytes to an event, or to a dead letter that says why."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError
from sqlalchemy import insert

from shared.bus.port import EVENT_TYPE, MESSAGE_ID
from shared.db.tables.base import or_ignore
from shared.db.tables.kernel import DeadLetter
from shared.errors import Permanent

if TYPE_CHECKING:
    from shared.bus.port import Bus, Delivery
    from shared.db.unit_of_work import UnitOfWork
    from shared.errors import AppError
    from shared.events.base import Command

_SHOWN = 64 * 1024


def decode(event: type[Command], delivery: Delivery) -> Command:
    """Read the payload; Permanent, with what is wrong and where, if it is not this event."""
    try:
        return event.model_validate_json(delivery.data)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'payload'}: {e['msg']}" for e in error.errors())
        message = f"not a valid {event.type_name()}: {problems[:1000]}"
        raise Permanent(
            message, code="undecodable", remedy="see docs/events.md for the fields of this event"
        ) from error


async def record_dead_letter(tx: UnitOfWork, delivery: Delivery, error: AppError) -> None:
    """Note for people that a message was given up, and why; once per message."""
    values = {
        "message_key": delivery.key,
        "subject": delivery.subject,
        "code": error.code,
        "reason": error.message,
        "remedy": error.remedy,
        "deliveries": delivery.deliveries,
    }
    await tx.session.execute(or_ignore(insert(DeadLetter)).values(values))


async def send_dead_letter(bus: Bus, delivery: Delivery, error: AppError) -> None:
    """Keep what arrived, why it was given up, and its history; once per message."""
    letter = {
        "subject": delivery.subject,
        "payload": delivery.data[:_SHOWN].decode(errors="replace"),
        "truncated": len(delivery.data) > _SHOWN,
        "headers": dict(delivery.headers),
        "deliveries": delivery.deliveries,
        "key": delivery.key,
        "code": error.code,
        "reason": error.message,
        "remedy": error.remedy,
        "at": datetime.now(UTC).isoformat(),
    }
    headers = {MESSAGE_ID: f"dead:{delivery.key}", EVENT_TYPE: "dead.letter.v1"}
    await bus.publish(f"dead.{delivery.subject}", json.dumps(letter).encode(), headers)
