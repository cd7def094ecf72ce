"""A recovery kit over the API: only for who may see secrets, encrypted, audited once, kept nowhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyrage
import pytest
from sqlalchemy import select, text

from borgfleet import doctor
from services.stats.metrics.queries import load_figures
from shared.bus.memory import MemoryBus
from shared.config.settings import Settings
from shared.db.session import Database
from shared.db.stores.secrets import repository_passphrase
from shared.db.tables import AuditEntry, Job, Repository
from shared.events.streams import STREAMS
from shared.kit.packed import unpacked
from tests.harness.persons import switch_on
from tests.harness.world import World

IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENTS = {"recipients": [str(IDENTITY.to_public())]}
CANARY = "canary-passphrase-of-a-repository"
KIT = "/api/recovery-kit"


@pytest.fixture
async def world(db: Database, tmp_path: Path) -> World:
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    made = World(db, bus)
    await made.prepare()
    (tmp_path / "master.key").write_text("master canary\n")
    (tmp_path / "master.key").chmod(0o600)
    made.app.state.gateway = replace(made.app.state.gateway, settings=Settings(data_dir=tmp_path))
    await made.token("root", ("admin", None))
    await made.token("viewer", ("viewer", None))

    async def used(tx: Any) -> None:
        row = await tx.session.get_one(Repository, made.mine["repository_id"])
        row.borg_id = "a" * 64
        await tx.secrets.put(repository_passphrase(row.id), CANARY)

    await db.run(used)
    return made


async def test_it_is_encrypted_counted_and_written_into_the_audit_log_once(world: World) -> None:
    before = (await world.ask("viewer", "GET", KIT)).json()
    assert (before["repositories"], before["covered"], before["exported_at"]) == (1, 0, None)
    assert before["missing"] == [str(world.mine["repository_id"])]
    answer = await world.ask("root", "POST", KIT, RECIPIENTS)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    assert CANARY.encode() not in answer.content
    kit = unpacked(answer.content, identities=str(IDENTITY))
    assert ([one.passphrase for one in kit.repositories], kit.master_key) == ([CANARY], "master canary\n")
    after = (await world.ask("viewer", "GET", KIT)).json()
    assert (after["covered"], after["missing"]) == (1, [])
    async with world.db.read() as session:
        deeds = list(await session.scalars(select(AuditEntry).where(AuditEntry.action == "export_recovery_kit")))
        assert [(one.outcome, one.actor_name) for one in deeds] == [("done", "t-root")]
        kept = list(await session.execute(text("SELECT * FROM idempotency_keys")))
        figures = {name: value for name, _, value in await load_figures(session)}
    assert CANARY not in str(kept)
    assert figures["borgfleet_repositories_without_kit"] == 0
    assert figures["borgfleet_recovery_kit_exported_timestamp_seconds"]
    assert figures["borgfleet_self_backup_timestamp_seconds"] is None


@pytest.mark.parametrize("who", ["viewer", "eu"])
async def test_nobody_else_gets_one(world: World, who: str) -> None:
    assert (await world.ask(who, "POST", KIT, RECIPIENTS)).status_code == 403
    assert (await world.ask(who, "POST", "/api/self-backups")).status_code == 403
    assert (await world.ask("viewer", "GET", KIT)).json()["covered"] == 0


async def test_one_person_alone_gets_none_where_four_eyes_are_on(world: World) -> None:
    await switch_on(world)
    answer = await world.ask("root", "POST", KIT, RECIPIENTS)
    assert (answer.status_code, answer.json()["code"]) == (409, "kit_needs_two")
    assert (await world.ask("viewer", "GET", KIT)).json()["covered"] == 0


WRONG: dict[str, Any] = {
    "nobody": {},
    "both": RECIPIENTS | {"passphrase": "correct horse battery"},
    "no key": {"recipients": ["age1nonsense"]},
    "a private key": {"recipients": [str(IDENTITY)]},
    "an empty key": {"recipients": [""]},
    "too many": {"recipients": RECIPIENTS["recipients"] * 21},
    "a short passphrase": {"passphrase": "short"},
    "unknown": RECIPIENTS | {"plain": True},
}


@pytest.mark.parametrize("which", WRONG)
async def test_what_cannot_be_encrypted_is_refused_and_told_without_secrets(world: World, which: str) -> None:
    answer = await world.ask("root", "POST", KIT, WRONG[which])
    assert answer.status_code == 422, answer.text
    assert CANARY not in answer.text
    assert str(IDENTITY)[20:60] not in answer.text
    assert (await world.ask("viewer", "GET", KIT)).json()["covered"] == 0


async def test_a_passphrase_will_do(world: World) -> None:
    answer = await world.ask("root", "POST", KIT, {"passphrase": "correct horse battery"})
    assert len(unpacked(answer.content, passphrase="correct horse battery").repositories) == 1


async def test_a_backup_of_itself_is_asked_for(world: World) -> None:
    answer = await world.ask("root", "POST", "/api/self-backups")
    assert (answer.status_code, answer.json()["type"]) == (202, "self_backup")
    async with world.db.read() as session:
        job = (await session.scalars(select(Job).where(Job.type == "self_backup"))).one()
    assert (job.node, job.repository_id) == ("node", None)
    world.app.state.gateway = replace(
        world.app.state.gateway, settings=Settings.model_validate({"self_backup": {"pool": "none"}})
    )
    answer = await world.ask("root", "POST", "/api/self-backups")
    assert (answer.status_code, answer.json()["code"]) == (409, "pool_unknown")


async def test_doctor_advises_to_make_one_and_finds_no_fault_in_a_fleet_without(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fleet ended `doctor` with an error after its first backup, and so everything that waits for it."""
    said: list[str] = []

    async def stays_open() -> None:
        pass

    with monkeypatch.context() as patched:
        patched.setattr(doctor, "open_database", lambda *_: world.db)
        patched.setattr(world.db, "close", stays_open)
        patched.setattr(doctor, "_CHECKS", {"recovery kit": doctor._kit})
        assert await doctor.examine(Settings(data_dir=tmp_path), said.append)
        assert said[-1].startswith("TO DO    recovery kit: ")
        assert (await world.ask("root", "POST", KIT, RECIPIENTS)).status_code == 200
        assert await doctor.examine(Settings(data_dir=tmp_path), said.append)
    assert said[-1].startswith("ok       recovery kit: covers 1 of 1 repositories")


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda file: file.unlink(), "master_key_missing"),
        (lambda file: file.chmod(0o644), "master_key_exposed"),
        (lambda file: (file.unlink(), file.mkdir(mode=0o700)), "master_key_unreadable"),
    ],
)
async def test_a_master_key_that_the_gateway_cannot_read_is_not_told_as_the_callers_fault(
    world: World, tmp_path: Path, harm: Any, code: str
) -> None:
    harm(tmp_path / "master.key")
    answer = await world.ask("root", "POST", KIT, RECIPIENTS)
    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (500, 500, code), answer.text
    assert CANARY not in answer.text
