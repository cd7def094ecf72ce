"""From settings to running services; and what has to exist before the first of them starts."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from sqlalchemy import func, select

from borgfleet.registry import SERVICES
from shared.bus.jetstream import JetStreamBus, connect
from shared.db.migrations import migrate
from shared.db.repositories.secrets import FLEET_KEY, FLEET_PUBLIC_KEY
from shared.db.session import Database
from shared.db.tables.kernel import ApiToken
from shared.errors import Conflict, Transient
from shared.events.streams import STREAMS
from shared.runtime.service import Parts
from shared.runtime.supervisor import run_services, stop_on_signals
from shared.secrets.envelope import load_key_ring
from shared.ssh.asyncssh import new_key_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.config.settings import Settings
    from shared.db.unit_of_work import UnitOfWork

_PATIENCE = 60.0
_PAUSE = 1.0


def open_database(settings: Settings) -> Database:
    """Return the database of these settings; makes the master key at first start."""
    return Database(
        settings.database_url(),
        key_ring=load_key_ring(settings.master_key_path),
        pool_size=settings.database.pool_size,
        seconds=settings.database.statement_seconds,
    )


async def prepare(settings: Settings) -> str | None:
    """Migrate, make the fleet's key, the streams and the first token; return that token if it was made now."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    await asyncio.to_thread(migrate, settings.database_url())
    db = open_database(settings)
    bus = await connect(settings.nats, name="borgfleet-migrate")
    try:
        await bus.ensure_streams(STREAMS)
        await db.run(_ensure_fleet_key)
        token = _first_token(settings)
        try:
            made = await db.run(lambda tx: _ensure_token(tx, token))
        except Conflict:
            return None  # another process was first
        return token if made and settings.api.admin_token_file is None else None
    finally:
        await bus.close()
        await db.close()


async def run(settings: Settings, names: Sequence[str], stopping: asyncio.Event | None = None) -> None:
    """Run services by name in this process until a signal comes."""
    stopping = stopping or asyncio.Event()
    stop_on_signals(stopping)
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    bus = await _patiently(settings, "+".join(names))
    parts = Parts(settings, open_database(settings), bus, registry)
    await run_services([SERVICES[name](parts) for name in names], parts, stopping)


async def _patiently(settings: Settings, name: str) -> JetStreamBus:
    """Wait a minute for a bus that is still starting."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        try:
            return await connect(settings.nats, name=f"borgfleet-{name}")
        except Transient:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(_PAUSE)


async def _ensure_fleet_key(tx: UnitOfWork) -> None:
    if await tx.secrets.find(FLEET_KEY) is None:
        private, public = new_key_pair("borgfleet")
        await tx.secrets.put(FLEET_KEY, private)
        await tx.secrets.put(FLEET_PUBLIC_KEY, public)


async def _ensure_token(tx: UnitOfWork, token: str) -> bool:
    if await tx.session.scalar(select(func.count()).select_from(ApiToken)):
        return False
    tx.session.add(ApiToken(name="admin", digest=hashlib.sha256(token.encode()).hexdigest()))
    return True


def _first_token(settings: Settings) -> str:
    file = settings.api.admin_token_file
    return file.read_text().strip() if file else f"bf_{secrets.token_urlsafe(32)}"
