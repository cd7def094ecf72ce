"""The gateway alone in a process of its own, over SQLite and the bus in memory: `python -m tests.harness.api_process DIR PORT`."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry

from services.api.app import build_app
from shared.bus.memory import MemoryBus
from shared.config.settings import HealthSettings, LogSettings, Settings
from shared.db.session import Database
from shared.db.tables import ApiToken, Base
from shared.runtime.health import serve
from shared.runtime.service import Parts
from shared.secrets.envelope import KeyRing
from shared.telemetry.logging import configure_logging

TOKEN = "bf_api-process"


async def main(directory: Path, port: int) -> None:
    configure_logging(LogSettings(json_lines=False))
    db = Database(f"sqlite+aiosqlite:///{directory / 'api.db'}", key_ring=KeyRing([bytes(32)]))
    async with db.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)

    async def add(tx: object) -> None:
        tx.session.add(ApiToken(name="admin", digest=hashlib.sha256(TOKEN.encode()).hexdigest()))  # pyright: ignore[reportAttributeAccessIssue] - a unit of work

    await db.run(add)
    app = build_app(Parts(Settings(data_dir=directory), db, MemoryBus(), CollectorRegistry()))
    await serve(app, HealthSettings(port=port), asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
