"""A lost COMMIT, or a lost answer to one, changes neither what a route does nor what it answers: every route that changes."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select

from services.api.app import build_app
from shared.bus.memory import MemoryBus
from shared.config.settings import Settings
from shared.db.session import Database
from shared.db.tables import Base
from shared.events.streams import STREAMS
from shared.runtime.service import Parts
from shared.secrets.envelope import KeyRing
from tests.contract.test_hostile_values import NoSender, World, furnish
from tests.harness.commits import lose_commits
from tests.harness.databases import PatientDatabase
from tests.harness.hostile import spelled

pytestmark = pytest.mark.unmeasured  # every route, several times through the same lines

OWN = {"commit_marks"}
"""Tables of the mechanism itself."""


class Loss:
    """Loses every other COMMIT of one database, or the answer to it: the next one is the second try's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, committed: bool) -> None:
        self.armed = False
        self.lost = 0
        self.due = False
        lose_commits(monkeypatch, self._next_is_lost, committed=committed)

    def _next_is_lost(self) -> bool:
        if not self.armed:
            return False
        lost, self.due = self.due, not self.due
        self.lost += lost
        return lost


@asynccontextmanager
async def gateway(db: Database, directory: Path) -> AsyncIterator[World]:
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    registry = CollectorRegistry()
    app = build_app(Parts(Settings(data_dir=directory), db, bus, registry))
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"Authorization": "Bearer bf_hostile"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as http:
        world = World(http, app.openapi(), bus, registry)
        await furnish(world, db)
        yield world
    await bus.close()


async def rows(db: Database) -> dict[str, int]:
    async with db.read() as session:
        return {
            name: await session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in Base.metadata.tables.items()
            if name not in OWN
        }


async def effects(world: World, db: Database, loss: Loss | None) -> dict[str, tuple[int, dict[str, int]]]:
    """Ask every route that changes something, those that delete last; return each answer's status and its new rows."""
    found: dict[str, tuple[int, dict[str, int]]] = {}
    changing = [one for one in world.operations() if one[0] != "get"]
    before = await rows(db)
    for method, path, operation in sorted(changing, key=lambda one: one[0] == "delete"):
        content = None
        if body := operation.get("requestBody"):
            content = spelled(world.example(body["content"]["application/json"]["schema"]))
        lost = 0
        if loss is not None:
            loss.armed, loss.due, lost = True, True, loss.lost
        answer = await world.http.request(
            method.upper(),
            world.whole(path, operation),
            content=content,
            headers={} if content is None else {"content-type": "application/json"},
        )
        after = await rows(db)
        more = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        if loss is not None:
            assert loss.lost > lost or not more, "nothing was lost of it: this proves nothing"
            loss.armed = False
        found[f"{method} {path}"] = answer.status_code, more
        before = after
    return found


@pytest.mark.parametrize("committed", [True, False], ids=["its answer is lost", "it is lost"])
async def test_every_route_has_one_effect_and_one_answer(
    db: Database, tmp_path: Path, migrated_sqlite: Path, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    monkeypatch.setattr("services.api.app.ChildSender", lambda _networks: NoSender())
    url = f"sqlite+aiosqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'undisturbed.db')}"
    undisturbed = PatientDatabase(url, key_ring=KeyRing([bytes(32)]))
    try:
        async with gateway(undisturbed, tmp_path) as world:
            expected = await effects(world, undisturbed, None)
    finally:
        await undisturbed.close()
    async with gateway(db, tmp_path) as world:
        found = await effects(world, db, Loss(monkeypatch, committed=committed))
    assert {route: of for route, of in found.items() if of != expected[route]} == {}, expected
    done = [route for route, (status, _) in found.items() if status < 300]
    assert len(done) > 30, "what is refused proves nothing"
