"""A storage pool whose disk is not mounted, on the running fleet."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.harness.fleet import Fleet, until
from tests.harness.invariants import assert_invariants


def pool_of(fleet: Fleet, pool: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in fleet.get("/api/storage-pools?limit=500")["items"] if one["id"] == pool["id"])


@pytest.fixture
def pool(fleet: Fleet, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "disk").mkdir()
    made: dict[str, Any] = fleet.post("/api/storage-pools", {"name": "removable", "path": str(tmp_path / "disk")})
    return made


def test_a_disk_that_is_not_mounted_makes_no_repository_and_freezes_none(
    fleet: Fleet, data: Path, pool: dict[str, Any]
) -> None:
    place = {"name": "removable", "server_id": fleet.host["id"], "pool_id": pool["id"]}
    definition = fleet.backup_job([data], repository_id=fleet.post("/api/repositories", place)["id"])
    fleet.finished(fleet.run(definition), "succeeded")
    path = Path(pool["path"])
    assert (path / ".borgfleet-pool").read_text().split()[0] == pool["id"]

    fleet.at_rest(definition)
    path.rename(path.with_name("elsewhere"))  # as umount: the mount point is left, and is empty
    path.mkdir()
    failed = fleet.finished(fleet.run(definition), "failed")
    assert (failed["code"], bool(failed["remedy"])) == ("pool_not_mounted", True)
    prune = f"/api/repositories/{definition['repository_id']}/compact"
    assert fleet.finished(fleet.post(prune, {}), "failed")["code"] == "pool_not_mounted"
    until(lambda: pool_of(fleet, pool)["problem_code"] == "pool_not_mounted", "its row says so")
    assert list(path.iterdir()) == []

    path.rmdir()
    path.with_name("elsewhere").rename(path)
    fleet.finished(fleet.run(definition), "succeeded")
    until(lambda: not pool_of(fleet, pool)["problem"], "it is well again")
    shown = fleet.get(f"/api/repositories/{definition['repository_id']}")
    assert (shown["frozen_reason"], len(fleet.backups(definition))) == ("", 2)
    assert_invariants(fleet, definition)

    shutil.rmtree(fleet.at_rest(definition))  # the disk is there, and the repository is not
    assert fleet.finished(fleet.run(definition), "failed")["code"] == "repository_missing"
    assert not Path(shown["path"]).exists()
