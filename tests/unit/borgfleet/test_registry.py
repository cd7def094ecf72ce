"""The registry tells how much of each service works at once; as many connections to the database are kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from borgfleet.master_key import open_database
from borgfleet.registry import SERVICES, SLOTS
from shared.bus.memory import MemoryBus
from shared.config.settings import Settings
from shared.db.session import Database
from shared.runtime.service import Parts
from shared.secrets.envelope import KeyRing


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BORGFLEET_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("BORGFLEET_BACKUP__BORG", str(Path(sys.executable).with_name("borg")))
    monkeypatch.setenv("BORGFLEET_BACKUP__CONCURRENCY", "7")
    return Settings()


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "api"])
async def test_no_slot_waits_for_a_connection_that_another_slot_holds(
    name: str, settings: Settings, db: Database
) -> None:
    built = SERVICES[name](Parts(settings, db, MemoryBus(), CollectorRegistry()))
    assert sum(route.concurrency for route in built.routes) == SLOTS[name](settings)


@pytest.mark.parametrize(("given", "slots", "size"), [(None, 20, 24), (None, 0, 10), ("3", 20, 3)])
async def test_a_process_keeps_a_connection_for_each_slot_and_opens_no_other(
    given: str | None, slots: int, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BORGFLEET_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("BORGFLEET_DATABASE__URL", "mariadb+aiomysql://u@localhost/d")
    if given:
        monkeypatch.setenv("BORGFLEET_DATABASE__POOL_SIZE", given)
    db = open_database(Settings(), KeyRing([]), slots=slots)
    pool = db.engine.pool
    assert (pool.size(), pool._max_overflow) == (size, 0)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - SQLAlchemy has no public name for it
    await db.close()
