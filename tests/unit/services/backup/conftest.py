from __future__ import annotations

import pytest

from shared.bus.memory import MemoryBus
from shared.db.session import Database
from tests.unit.services.backup.world import World


@pytest.fixture
async def world(db: Database, bus: MemoryBus) -> World:
    return await World(db, bus).build()
