"""What has to exist before the first service starts: schema, master key, streams, the fleet's key, the first token.

And the link with which the first administrator is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import func, select

from borgfleet.master_key import first_database, link_to
from borgfleet.people import first_link
from shared.bus.jetstream import connect
from shared.db.migrations import migrate
from shared.db.stores.secrets import FLEET_KEY, FLEET_PUBLIC_KEY
from shared.db.tables.account import ApiToken
from shared.errors import Conflict
from shared.events.streams import STREAMS
from shared.secret_files import read_secret_text
from shared.ssh.asyncssh import new_key_pair

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.db.unit_of_work import UnitOfWork

_log = structlog.get_logger()
_REPLICAS_SECONDS = 600.0
"""How long a new replica may copy one stream: gigabytes, over a busy network."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a first start tells, this once."""

    token: str | None = None
    """The first API token, unless it was given."""
    link: str | None = None
    """The secret of the link for the first administrator."""


async def prepare(settings: Settings) -> Prepared:
    """Migrate, make both keys, the streams, the first token and the first link; return what was made now."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    await asyncio.to_thread(migrate, settings.database_url(), link_to(settings.database))
    db = await first_database(settings)
    bus = await connect(settings.nats, name="borgfleet-migrate")
    try:
        await bus.ensure_streams(STREAMS)
        for change in await bus.shape_streams(STREAMS, within=_REPLICAS_SECONDS):
            _log.info("stream_changed", change=change)
        with contextlib.suppress(Conflict):  # another process was first
            await db.run(_ensure_fleet_key)
        token = _first_token(settings)
        try:
            link = await db.run(lambda tx: _ensure_token(tx, token))
        except Conflict:
            return Prepared()  # another process was first
        return Prepared(token if link and settings.api.admin_token_file is None else None, link)
    finally:
        await bus.close()
        await db.close()


async def _ensure_fleet_key(tx: UnitOfWork) -> None:
    if await tx.secrets.find(FLEET_KEY) is None:
        private, public = new_key_pair("borgfleet")
        await tx.secrets.put(FLEET_KEY, private)
        await tx.secrets.put(FLEET_PUBLIC_KEY, public)


async def _ensure_token(tx: UnitOfWork, token: str) -> str | None:
    """Keep the first token; return the first link with it. Of several installers one tells both."""
    if await tx.session.scalar(select(func.count()).select_from(ApiToken)):
        return None
    tx.session.add(ApiToken(name="admin", digest=hashlib.sha256(token.encode()).hexdigest()))
    return await first_link(tx)


def _first_token(settings: Settings) -> str:
    file = settings.api.admin_token_file
    return read_secret_text(file, "first token's file") if file else f"bf_{secrets.token_urlsafe(32)}"
