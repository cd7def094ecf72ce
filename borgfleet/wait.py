"""`borgfleet wait`: holds a service back until `borgfleet migrate` has done its work, for init containers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from borgfleet.master_key import proven_database
from shared.bus.jetstream import connect
from shared.domain.messages.installation import NOT_PREPARED, STREAMS_MISSING
from shared.errors import AppError, Permanent, Transient
from shared.events.streams import STREAMS

if TYPE_CHECKING:
    from shared.config.settings import Settings

_log = structlog.get_logger()
_MIGRATES = frozenset({"schema_missing", "schema_older"})
"""What `borgfleet migrate` mends; whatever else is permanent no waiting mends."""
_EVERY = 2.0


async def wait_until_prepared(settings: Settings, seconds: float) -> None:
    """Return once this version's schema and the streams are there; Transient with the last reason after so long."""
    loop = asyncio.get_running_loop()
    deadline, told = loop.time() + seconds, ""
    while reason := await _missing(settings):
        if loop.time() >= deadline:
            raise Transient(NOT_PREPARED(seconds=seconds, reason=reason.said))
        if reason.code != told:
            _log.info("waiting", code=reason.code, reason=reason.message)
            told = reason.code
        await asyncio.sleep(min(_EVERY, max(0.0, deadline - loop.time())))


async def _missing(settings: Settings) -> AppError | None:
    try:
        await (await proven_database(settings)).close()
        await _require_streams(settings)
    except Transient as error:
        return error
    except Permanent as error:
        if error.code not in _MIGRATES:
            raise
        return error
    return None


async def _require_streams(settings: Settings) -> None:
    bus = await connect(settings.nats, name="borgfleet-doctor")  # whose answers every user may have
    try:
        found = await bus.count_streams()
    finally:
        await bus.close()
    if found < len(STREAMS):
        raise Transient(STREAMS_MISSING(found=found, wanted=len(STREAMS)))
