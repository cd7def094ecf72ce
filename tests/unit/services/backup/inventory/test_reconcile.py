from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from services.backup.inventory.reconcile import Inventory, missing_archives
from services.backup.node.storage import NodeStorage
from services.backup.ports import RepositoryPlace
from shared.borg.node import BorgNode

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)


def test_a_loss_names_what_is_missing_and_not_thousands_of_names() -> None:
    few = missing_archives({"id1": "web1-b", "id2": "web1-a"}, Inventory(AT, 7))
    assert few.reason == (
        "2 recorded archives are missing without our doing: web1-a, web1-b; "
        "it was last seen whole at 2026-03-01 09:00:00 UTC, as of transaction 7"
    )
    many = missing_archives({f"id{n}": f"a{n:03}" for n in range(500)}, None)
    assert many.reason.startswith("500 recorded archives")
    assert many.reason.endswith("a009 and 490 more")  # never a transaction that nobody saw whole
    assert len(many.ids) == 500


@pytest.mark.parametrize(
    ("files", "highest"),
    [([], None), (["0/1", "0/17", "0/9"], 17), (["0/999", "1/1000", "2/"], 1000), (["0/3", "0/3.tmp", "x/9"], 3)],
)
async def test_the_highest_segment_is_the_last_thing_written(
    tmp_path: Path, files: list[str], highest: int | None
) -> None:
    for name in files:
        path = tmp_path / "repo" / "data" / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    place = RepositoryPlace(uuid4(), uuid4(), str(tmp_path / "repo"), "repokey", "canary", "web1/system")
    assert await NodeStorage(BorgNode("borg", tmp_path / "node"), 30).segment(place) == highest
