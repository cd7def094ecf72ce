"""Unit tests touch no network: a test that tries fails. The database is SQLite, the bus is in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pytest_socket import disable_socket, enable_socket

from shared.bus.memory import MemoryBus
from shared.config.settings import Settings
from shared.db.session import Database
from shared.events.streams import STREAMS
from shared.runtime.service import Parts
from shared.secrets.envelope import KeyRing
from tests.harness.databases import PatientDatabase, with_tables


@pytest.fixture(autouse=True)
def no_sockets() -> Iterator[None]:
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    made = PatientDatabase(with_tables(tmp_path / "unit.db"), key_ring=KeyRing([bytes(32)]))
    yield made
    await made.close()


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    made = MemoryBus()
    await made.ensure_streams(STREAMS)
    yield made
    await made.close()


@pytest.fixture
def parts(db: Database, bus: MemoryBus, tmp_path: Path) -> Parts:
    # Leases as long as in production: a machine that stands still for seconds must not lose one in the middle of a test.
    worker = {"cancel_poll": 0.05, "reap_every": 0.05, "max_failures": 2}
    settings = Settings.model_validate({"data_dir": tmp_path, "worker": worker})
    return Parts(settings, db, bus, CollectorRegistry())


@pytest.fixture
def quick_parts(parts: Parts) -> Parts:
    """The same with a lease of a second and a quarter: a run may lose it at any time, and then begins anew."""
    worker = parts.settings.worker.model_copy(update={"ack_wait": 1.5, "max_failures": 50})
    return Parts(parts.settings.model_copy(update={"worker": worker}), parts.db, parts.bus, CollectorRegistry())
