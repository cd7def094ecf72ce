"""What a machine with the database's settings does without a second person: said why, and kept; never by the way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from borgfleet import people, recovery
from shared.bus.memory import MemoryBus
from shared.config.settings import Settings
from shared.db.session import Database
from shared.db.stores.approvals import four_eyes
from shared.db.tables import AuditEntry
from shared.errors import Conflict
from shared.events.streams import STREAMS
from tests.harness.persons import person, switch_on
from tests.harness.world import World

DEEDS: dict[str, Callable[[Settings, str], Awaitable[Any]]] = {
    "a new password": lambda here, why: people.reset_password(here, "ada", "a fine day for sailing", why),
    "a link to choose one": lambda here, why: people.reset_password(here, "ada", None, why),
    "no second factor": lambda here, why: people.reset_second_factors(here, "ada", why),
    "the kit, printed": recovery.kit,
    "the kit, as a file": lambda here, why: recovery.export(here, lambda _kit: None, why),
    "switching off": people.switch_off_four_eyes,
}


@pytest.fixture
async def world(db: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async def here(_settings: Settings) -> Database:
        return db

    async def stays_open() -> None:
        pass

    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    made = World(db, bus)
    await made.prepare()
    await made.token("all", ("admin", None))
    await person(made, "ada")
    await person(made, "bob")
    with monkeypatch.context() as patched:
        patched.setattr(people, "proven_database", here)
        patched.setattr(recovery, "proven_database", here)
        patched.setattr(db, "close", stays_open)
        yield made


async def broken(db: Database) -> list[AuditEntry]:
    async with db.read() as session:
        return list(await session.scalars(select(AuditEntry).where(AuditEntry.action == "break_glass")))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data_dir=tmp_path)
    made.master_key_path.write_text("a key of a test\n")
    made.master_key_path.chmod(0o600)
    return made


@pytest.mark.parametrize("deed", DEEDS)
async def test_where_four_eyes_are_on_it_is_said_why_and_kept(world: World, settings: Settings, deed: str) -> None:
    await switch_on(world)
    for nothing in ("", "  "):
        with pytest.raises(Conflict) as refused:
            await DEEDS[deed](settings, nothing)
        assert refused.value.code == "four_eyes_passed_by"
    assert await broken(world.db) == []
    await DEEDS[deed](settings, " the other one left the firm ")
    (entry,) = await broken(world.db)
    assert (entry.actor_kind, entry.actor_name[:8], entry.outcome) == ("console", "console:", "done")
    assert json.loads(str(entry.after)) == {"reason": "the other one left the firm"}
    async with world.db.read() as session:
        assert (await four_eyes(session)).enabled is (deed != "switching off")


@pytest.mark.parametrize("deed", DEEDS)
async def test_without_them_nothing_has_to_be_said(world: World, settings: Settings, deed: str) -> None:
    await DEEDS[deed](settings, "")
    await DEEDS[deed](settings, "of no matter")
    assert await broken(world.db) == []
