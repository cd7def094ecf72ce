from __future__ import annotations

import asyncio
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from services.backup.node import capacity as capacity_module
from services.backup.node.capacity import PoolCapacity, capacity
from services.backup.node.pools import MARK, PoolPlace
from shared.db.session import Database
from shared.db.tables import StoragePool
from tests.harness.patience import WAIT


def place(path: Path, *, marked: bool = False) -> PoolPlace:
    return PoolPlace(uuid.uuid4(), "main", str(path), marked)


def state(directory: Path) -> Path:
    (directory / "state" / "grants").mkdir(parents=True, exist_ok=True)
    return directory / "state"


def test_a_directory_has_a_size_and_what_is_none_has_a_problem(tmp_path: Path) -> None:
    there = capacity(place(tmp_path))
    assert there.size is not None
    assert there.free is not None
    assert 0 <= there.free <= there.size
    gone = capacity(place(tmp_path / "gone"))
    assert ("not a directory" in gone.problem, gone.code) == (True, "pool_missing")
    assert capacity(place(Path("x" * 300))).code in ("pool_unusable", "pool_missing")


async def pools(db: Database) -> dict[str, StoragePool]:
    async with db.read() as session:
        return {pool.name: pool for pool in await session.scalars(select(StoragePool))}


async def add(db: Database, **paths: tuple[str, Path]) -> None:
    async def work(tx: Any) -> None:
        for name, (node, path) in paths.items():
            tx.session.add(StoragePool(name=name, node=node, path=str(path)))

    await db.run(work)


async def test_a_node_measures_its_own_pools_and_a_lost_one_keeps_its_last_time(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "pool"
    path.mkdir()
    await add(db, ours=("n1", path), theirs=("n2", path))
    node = PoolCapacity(db, "n1", state(tmp_path))
    await node.measure()
    first = await pools(db)
    assert first["ours"].size_bytes
    assert first["ours"].marked_at
    assert (path / MARK).read_text().split()[0] == str(first["ours"].id)
    assert first["theirs"].measured_at is None
    (path / MARK).unlink()
    await node.measure()
    lost = (await pools(db))["ours"]
    assert (lost.size_bytes, lost.measured_at) == (None, first["ours"].measured_at)
    assert (lost.problem_code, "is not mounted" in lost.problem) == ("pool_not_mounted", True)
    path.rmdir()
    await node.measure()
    assert (await pools(db))["ours"].problem_code == "pool_missing"


async def test_a_pool_that_hangs_costs_only_its_own_figures(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hung mount stopped the figures of all pools of the node, for as long as it hung."""
    let_go, begun = threading.Event(), []
    genuine = capacity_module.capacity

    def hangs(pool: PoolPlace) -> capacity_module.Capacity:
        if pool.name == "hung":
            begun.append(pool.name)
            let_go.wait()
        return genuine(pool)

    monkeypatch.setattr(capacity_module, "capacity", hangs)
    for name in ("hung", "well"):
        (tmp_path / name).mkdir()
    await add(db, hung=("n1", tmp_path / "hung"), well=("n1", tmp_path / "well"))
    node = PoolCapacity(db, "n1", state(tmp_path), seconds=0.2)
    found = await pools(db)
    async with asyncio.timeout(WAIT):
        while not (found["well"].size_bytes and found["hung"].problem_code):
            await node.measure()
            found = await pools(db)
    assert found["well"].size_bytes
    assert (found["hung"].size_bytes, found["hung"].problem_code) == (None, "pool_silent")
    assert begun == ["hung"]  # no second thread waits beside the first
    let_go.set()
    patient = PoolCapacity(db, "n1", state(tmp_path), seconds=WAIT)
    await patient.measure()
    assert (await pools(db))["hung"].problem == ""


async def test_a_pool_whose_node_cannot_write_its_state_is_not_told_as_well(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No run can begin there, and what runs loses its leave: nobody heard of it but who read the service's log."""
    (tmp_path / "pool").mkdir()
    await add(db, ours=("n1", tmp_path / "pool"), bare=("n1", tmp_path / "none"))
    node = PoolCapacity(db, "n1", state(tmp_path), seconds=WAIT)
    await node.measure()
    seen = (await pools(db))["ours"].measured_at
    assert seen
    (tmp_path / "state" / "grants").rmdir()
    await node.measure()
    found = await pools(db)
    assert (found["ours"].problem_code, str(tmp_path / "state") in found["ours"].problem) == ("node_disk_error", True)
    assert (found["ours"].measured_at, found["bare"].problem_code) == (seen, "pool_missing")
    let_go = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(capacity_module, "written", lambda _state: let_go.wait() and capacity_module.Capacity())
        hung = PoolCapacity(db, "n1", state(tmp_path), seconds=0.2)
        await hung.measure()
        assert (await pools(db))["ours"].problem_code in ("state_silent", "pool_silent")
        let_go.set()
    await node.measure()
    well = (await pools(db))["ours"]
    assert (well.problem, well.measured_at is not None and well.measured_at > seen) == ("", True)


@pytest.mark.parametrize(("number", "code"), [
    (28, "node_disk_full"), (122, "node_disk_full"), (30, "node_read_only"), (13, "node_denied"), (5, "node_disk_error"),
])  # fmt: skip
def test_what_is_wrong_with_a_state_directory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, "no")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fails)
        assert capacity_module.written(state(tmp_path)).code == code
    assert capacity_module.written(state(tmp_path)) == capacity_module.Capacity()
    assert list((tmp_path / "state" / "grants").iterdir()) == []
