"""A machine with another master key on the same database works on nothing: what it sealed, no other could open."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update
from structlog.testing import capture_logs

from borgfleet import bootstrap, doctor
from borgfleet.doctor import examine
from borgfleet.master_key import first_database, open_database, proven_database
from borgfleet.recovery import kit, kit_as_text
from shared.config.settings import DatabaseSettings, NatsSettings, Settings
from shared.db.session import Database
from shared.db.stores.secrets import FLEET_KEY, MASTER_PROBE, repository_passphrase
from shared.db.tables import Repository, Secret, Server, StoragePool, db_now
from shared.domain.ids import new_id
from shared.errors import Permanent
from shared.secrets.envelope import make_key_file, read_key_ring
from tests.harness.nats_server import NatsServer


def machine(db: Database, directory: Path, **given: Any) -> Settings:
    """Settings of a machine with a data directory of its own on this database."""
    directory.mkdir(exist_ok=True)
    url = db.engine.url.render_as_string(hide_password=False)
    return Settings(data_dir=directory, database=DatabaseSettings(url=url), **given)  # pyright: ignore[reportArgumentType] - pydantic makes it a secret


async def seal(settings: Settings, name: str, value: str) -> None:
    db = await proven_database(settings)
    try:
        await db.run(lambda tx: tx.secrets.put(name, value))
    finally:
        await db.close()


async def begin(settings: Settings) -> str:
    """Do what `migrate` does about the key; return its id."""
    db = await first_database(settings)
    await db.close()
    return read_key_ring(settings.master_key_path).current


async def refusal(of: Any) -> Permanent:
    with pytest.raises(Permanent) as caught:
        await of
    return caught.value


async def test_an_empty_database_gets_one_key_and_the_probe_that_it_opens(db: Database, tmp_path: Path) -> None:
    one = machine(db, tmp_path / "one")
    key = await begin(one)
    assert one.master_key_path.stat().st_mode & 0o777 == 0o600
    assert await begin(one) == key
    async with db.read() as session:
        assert (await session.get_one(Secret, MASTER_PROBE)).key_id == key
    proven = await proven_database(one)
    assert await proven.run(lambda tx: tx.secrets.keys_at_hand()) == (key,)
    await proven.close()


async def test_a_second_machine_is_told_which_key_it_needs_and_makes_none(db: Database, tmp_path: Path) -> None:
    one, two = machine(db, tmp_path / "one"), machine(db, tmp_path / "two")
    key = await begin(one)
    for start in (first_database, proven_database, kit):
        error = await refusal(start(two))
        assert error.code == "master_key_missing"
        assert key in error.message
        assert str(two.master_key_path) in error.message + error.remedy
        assert not two.master_key_path.exists()
    two.master_key_path.write_bytes(one.master_key_path.read_bytes())
    two.master_key_path.chmod(0o600)
    assert await begin(two) == key


async def test_a_machine_with_a_key_of_its_own_does_not_work_with_it_and_keeps_its_file(
    db: Database, tmp_path: Path
) -> None:
    one, two = machine(db, tmp_path / "one"), machine(db, tmp_path / "two")
    key = await begin(one)
    assert make_key_file(two.master_key_path)
    before = two.master_key_path.read_bytes()
    for start in (first_database, proven_database, kit):
        error = await refusal(start(two))
        assert (error.code, key in error.message) == ("master_key_missing", True)
    assert two.master_key_path.read_bytes() == before, "it may open another database: only what we made now may go"


async def test_a_database_from_before_the_probe_gets_it_from_who_can_open_it_and_from_no_other(
    db: Database, tmp_path: Path
) -> None:
    one, two = machine(db, tmp_path / "one"), machine(db, tmp_path / "two")
    key = await begin(one)
    await seal(one, FLEET_KEY, "canary")
    await db.run(lambda tx: tx.session.execute(delete(Secret).where(Secret.name == MASTER_PROBE)))
    make_key_file(two.master_key_path)
    assert key in (await refusal(first_database(two))).message
    async with db.read() as session:
        assert await session.get(Secret, MASTER_PROBE) is None
    assert await begin(one) == key
    async with db.read() as session:
        assert await session.get(Secret, MASTER_PROBE) is not None


async def test_a_lost_key_is_never_replaced_by_a_new_one(db: Database, tmp_path: Path) -> None:
    one = machine(db, tmp_path / "one")
    key = await begin(one)
    one.master_key_path.unlink()
    assert key in (await refusal(first_database(one))).message
    assert not one.master_key_path.exists()


async def test_without_any_key_on_an_empty_database_only_migrate_makes_one(db: Database, tmp_path: Path) -> None:
    one = machine(db, tmp_path / "one")
    error = await refusal(proven_database(one))
    assert (error.code, "migrate" in error.remedy) == ("master_key_missing", True)
    assert not one.master_key_path.exists()
    error = await refusal(asyncio.to_thread(open_database, one))
    assert error.code == "master_key_missing"


async def test_rotated_keys_are_wanted_by_all_from_the_next_migrate_on(db: Database, tmp_path: Path) -> None:
    one, two = machine(db, tmp_path / "one"), machine(db, tmp_path / "two")
    old = await begin(one)
    two.master_key_path.write_bytes(one.master_key_path.read_bytes())
    two.master_key_path.chmod(0o600)
    fresh = tmp_path / "fresh"
    make_key_file(fresh)
    one.master_key_path.write_bytes(fresh.read_bytes() + one.master_key_path.read_bytes())
    new = await begin(one)
    assert new != old
    assert new in (await refusal(proven_database(two))).message


async def test_a_probe_that_was_altered_or_moved_stops_everything(db: Database, tmp_path: Path) -> None:
    one = machine(db, tmp_path / "one")
    await begin(one)
    await seal(one, "other", "value")

    async def swap(tx: Any) -> None:
        row = await tx.session.get_one(Secret, "other")
        moved = {"wrapped_key": row.wrapped_key, "sealed": row.sealed}
        await tx.session.execute(update(Secret).where(Secret.name == MASTER_PROBE).values(**moved))

    await db.run(swap)
    assert (await refusal(proven_database(one))).code == "secret_corrupt"


async def test_a_database_without_our_tables_says_that_migrate_is_to_be_run(db: Database, tmp_path: Path) -> None:
    one = Settings(data_dir=tmp_path)  # an SQLite file that is empty
    make_key_file(one.master_key_path)
    error = await refusal(proven_database(one))
    assert (error.code, "migrate" in error.remedy) == ("schema_missing", True)


@pytest.mark.parametrize(
    ("found", "code"), [("0001", "schema_older"), ("0013", "schema_older"), ("", "schema_missing")]
)
async def test_no_process_starts_on_a_schema_that_is_older_than_it_needs(
    db: Database, tmp_path: Path, found: str, code: str
) -> None:
    one = machine(db, tmp_path / "one")
    await begin(one)
    change = text("UPDATE alembic_version SET version_num = :found" if found else "DELETE FROM alembic_version")
    await db.run(lambda tx: tx.session.execute(change, {"found": found} if found else {}))
    for start in (proven_database, kit):
        error = await refusal(start(one))
        assert (error.code, "migrate" in error.remedy, found in error.message) == (code, True, True)


async def test_a_newer_schema_is_no_reason_not_to_start_since_images_go_back_and_it_stays(
    db: Database, tmp_path: Path
) -> None:
    one = machine(db, tmp_path / "one")
    await begin(one)
    await db.run(lambda tx: tx.session.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with capture_logs() as logs:
        proven = await proven_database(one)
    await proven.close()
    assert [line["event"] for line in logs] == ["schema_newer"]


async def test_one_damaged_passphrase_does_not_take_the_recovery_kit_of_all_others(
    db: Database, tmp_path: Path
) -> None:
    one = machine(db, tmp_path / "one")
    await begin(one)
    server, pool, repositories = new_id(), new_id(), {name: new_id() for name in ("bad", "good")}

    async def add(tx: Any) -> None:
        await tx.session.execute(insert(Server).values(id=server, name="web", host="h", facts={}))
        await tx.session.execute(insert(StoragePool).values(id=pool, name="p", node="n", path="/p"))
        for name, key in repositories.items():
            row = {"id": key, "name": name, "server_id": server, "pool_id": pool, "path": f"/{name}"}
            await tx.session.execute(insert(Repository).values(**row))

    await db.run(add)
    for name, key in repositories.items():
        await seal(one, repository_passphrase(key), f"passphrase of {name}")
    damaged = repository_passphrase(repositories["bad"])
    await db.run(lambda tx: tx.session.execute(update(Secret).where(Secret.name == damaged).values(sealed=b"x")))
    bad, good = await kit(one)
    assert (good["passphrase"], "problem" in good) == ("passphrase of good", False)
    assert (bad["path"], bad["passphrase"]) == ("/bad", "")
    assert damaged in bad["problem"]
    assert bad["problem"] in kit_as_text([bad, good])


async def test_no_service_starts_with_a_foreign_key(db: Database, tmp_path: Path, contract_nats: NatsServer) -> None:
    one = machine(db, tmp_path / "one")
    nats = NatsSettings(url=contract_nats.url, monitor_url=contract_nats.monitor_url)
    two = machine(db, tmp_path / "two", nats=nats)
    key = await begin(one)
    make_key_file(two.master_key_path)
    error = await refusal(bootstrap.run(two, ["setup"], asyncio.Event()))
    assert (error.code, key in error.message) == ("master_key_missing", True)


async def test_doctor_opens_the_probe_too(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "_CHECKS", {name: doctor._CHECKS[name] for name in ("master key", "database and clock")}
    )
    one, two = machine(db, tmp_path / "one"), machine(db, tmp_path / "two")
    key = await begin(one)
    make_key_file(two.master_key_path)
    said: list[str] = []
    await examine(one, said.append)
    assert any(line.startswith("ok       master key") and key in line for line in said)
    said.clear()
    assert not await examine(two, said.append)
    assert any(line.startswith("PROBLEM  master key") and key in line for line in said)
    assert any(line.startswith("ok       database and clock") for line in said), "it says what it can all the same"


async def test_doctor_takes_no_slow_machine_for_one_with_another_clock(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, close = machine(db, tmp_path / "one"), Database.close

    async def slowly(self: Database) -> None:
        await asyncio.sleep(0.3)
        await close(self)

    monkeypatch.setattr(Database, "close", slowly)
    monkeypatch.setattr(doctor, "_CLOCK_SECONDS", 0.1)
    assert "clocks differ by 0.0 s" in await doctor._database(one)
    for seconds in (-60.0, 60.0):
        monkeypatch.setattr(doctor, "db_now", lambda seconds=seconds: db_now(seconds))
        assert (await refusal(doctor._database(one))).code == "clocks_differ"


async def test_of_machines_that_begin_at_once_one_gives_its_key_and_the_others_are_told(
    db: Database, tmp_path: Path
) -> None:
    machines = [machine(db, tmp_path / name) for name in ("one", "two", "three")]
    # Two beginners on each machine: they share a file, and neither may take the other's away.
    gate = threading.Barrier(6)

    def begun(settings: Settings) -> str:
        gate.wait()
        try:
            return asyncio.run(begin(settings))
        except Permanent as error:
            return error.code

    with ThreadPoolExecutor(6) as threads:
        loop = asyncio.get_running_loop()
        said = await asyncio.gather(*(loop.run_in_executor(threads, begun, one) for one in machines * 2))
    async with db.read() as session:
        key = await session.scalar(select(Secret.key_id).where(Secret.name == MASTER_PROBE))
    assert set(said) <= {key, "master_key_missing"}
    assert said.count(key) >= 1
    holding = [one for one in machines if one.master_key_path.exists()]
    assert [read_key_ring(one.master_key_path).current for one in holding] == [key]
