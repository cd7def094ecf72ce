"""What nobody reads any more goes, whatever one pool or one view does: a view that stays keeps a compaction from freeing."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from services.backup.node.pools import PoolPlace
from services.backup.node.view_keeper import ViewKeeper
from shared.db.tables import StoragePool
from shared.domain.ids import new_id
from shared.errors import Transient
from tests.unit.services.backup.world import World


class Disks:
    """Two views in each pool; the first call of one kind that is made fails."""

    def __init__(self, failing: str, error: Callable[[], Exception]) -> None:
        self.left: dict[str, set[uuid.UUID]] = {}
        self._failing, self._error = failing, error

    async def views_in(self, pool: PoolPlace) -> set[uuid.UUID]:
        self.left[pool.name] = {new_id(), new_id()}
        self._fail("views_in")
        return set(self.left[pool.name])

    async def remove_view_named(self, pool: PoolPlace, name: uuid.UUID) -> None:
        self._fail("remove_view_named")
        self.left[pool.name].remove(name)

    async def can_link(self, _pool: PoolPlace) -> bool:
        self._fail("can_link")
        return True

    def _fail(self, call: str) -> None:
        if call == self._failing:
            self._failing = ""
            raise self._error()


@pytest.mark.parametrize(("failing", "stay"), [("views_in", 2), ("remove_view_named", 1), ("can_link", 0)])
@pytest.mark.parametrize(
    "error",
    [lambda: PermissionError(13, "Permission denied"), lambda: OSError(5, "Input/output error"), lambda: KeyError("x"),
     lambda: Transient("the pool gives no answer", code="pool_silent")],
    ids=["denied", "disk", "unforeseen", "silent"],
)  # fmt: skip
async def test_what_fails_keeps_nothing_else_and_what_nobody_foresaw_is_told(
    world: World, failing: str, stay: int, error: Callable[[], Exception]
) -> None:
    async def add(tx: Any) -> None:
        tx.session.add_all(StoragePool(name=name, node="node1", path=f"/{name}") for name in ("other", "third"))

    await world.db.run(add)
    disks = Disks(failing, error)
    keeper = ViewKeeper(world.db, "node1", disks)  # as much of a NodeStorage as it needs
    if isinstance(error(), Transient):
        await keeper.tidy()
    else:
        with pytest.raises(type(error())):
            await keeper.tidy()
    assert len(disks.left) == 3
    assert sum(len(views) for views in disks.left.values()) == stay
    await keeper.tidy()  # the next time finds nothing in the way
    assert not any(disks.left.values())
