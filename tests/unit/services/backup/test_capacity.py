from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select

from services.backup.capacity import PoolCapacity, capacity
from shared.db.session import Database
from shared.db.tables import StoragePool


def test_a_directory_has_a_size_and_what_is_none_has_a_problem(tmp_path: Path) -> None:
    there = capacity(tmp_path)
    assert there.size is not None
    assert there.free is not None
    assert 0 <= there.free <= there.size
    assert "not a directory" in capacity(tmp_path / "gone").problem
    assert capacity(Path("x" * 300)).problem


async def test_a_node_measures_its_own_pools_and_a_lost_one_keeps_its_last_time(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "pool"
    path.mkdir()

    async def add(tx: Any) -> None:
        tx.session.add(StoragePool(name="ours", node="n1", path=str(path)))
        tx.session.add(StoragePool(name="theirs", node="n2", path=str(path)))

    await db.run(add)

    async def pools() -> dict[str, StoragePool]:
        async with db.read() as session:
            return {pool.name: pool for pool in await session.scalars(select(StoragePool))}

    node = PoolCapacity(db, "n1")
    await node.measure()
    first = await pools()
    assert first["ours"].size_bytes
    assert first["theirs"].measured_at is None
    path.rmdir()
    await node.measure()
    lost = (await pools())["ours"]
    assert (lost.size_bytes, lost.measured_at) == (None, first["ours"].measured_at)
    assert "not a directory" in lost.problem
