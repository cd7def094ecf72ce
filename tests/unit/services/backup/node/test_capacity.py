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
    node = PoolCapacity(db, "n1")
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
    node = PoolCapacity(db, "n1", seconds=0.2)
    found = await pools(db)
    async with asyncio.timeout(WAIT):
        while not (found["well"].size_bytes and found["hung"].problem_code):
            await node.measure()
            found = await pools(db)
    assert found["well"].size_bytes
    assert (found["hung"].size_bytes, found["hung"].problem_code) == (None, "pool_silent")
    assert begun == ["hung"]  # no second thread waits beside the first
    let_go.set()
    patient = PoolCapacity(db, "n1", seconds=WAIT)
    await patient.measure()
    assert (await pools(db))["hung"].problem == ""
