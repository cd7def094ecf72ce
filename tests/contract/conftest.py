"""Each contract runs on the fake and on the real thing."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.bus import jetstream, servers
from shared.bus.jetstream import connect
from shared.bus.memory import MemoryBus
from shared.config.settings import NatsSettings
from shared.db.migrations import migrate
from shared.db.session import Database
from shared.events.streams import STREAMS
from shared.secrets.envelope import KeyRing
from tests.harness.databases import PatientDatabase
from tests.harness.mariadb import MariaServer
from tests.harness.nats_server import NatsServer
from tests.harness.patience import WAIT

_counter = itertools.count(1)


@pytest.fixture(scope="session")
def contract_nats(scratch: Path) -> Iterator[NatsServer]:
    server = NatsServer(scratch / "contract-nats").start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def patient_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no question to nats-server fail because this machine stood still for a few seconds."""
    for name in ("_PUBLISH_SECONDS", "_CONNECT_SECONDS", "_HEALTHY_SECONDS"):
        monkeypatch.setattr(jetstream, name, WAIT)
    monkeypatch.setattr(servers, "_ASK_SECONDS", WAIT)


@pytest.fixture(params=["memory", "jetstream"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param == "memory":
        made: Any = MemoryBus()
    else:
        server: NatsServer = request.getfixturevalue("contract_nats")
        made = await connect(NatsSettings(url=server.url, monitor_url=server.monitor_url), name="contract")
    await made.ensure_streams(STREAMS)
    yield made
    await made.close()


@pytest.fixture(scope="session")
def migrated_sqlite(scratch: Path) -> Path:
    migrate(f"sqlite+aiosqlite:///{scratch / 'migrated.db'}")
    return scratch / "migrated.db"


@pytest.fixture(params=["sqlite", "mariadb"])
async def db(request: pytest.FixtureRequest, tmp_path: Path, migrated_sqlite: Path) -> AsyncIterator[Database]:
    maria: MariaServer | None = None
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'test.db')}"
    else:
        maria = request.getfixturevalue("maria")
        url = await asyncio.to_thread(maria.migrated)
    made = PatientDatabase(url, key_ring=KeyRing([bytes(32)]))
    yield made
    await made.close()
    if maria is not None:
        await asyncio.to_thread(maria.give_back, url)


@pytest.fixture
def subject() -> str:
    """A subject of the JOBS stream that no other test uses."""
    return f"backup.requested.contract{next(_counter)}"
