"""The backup service is killed in each phase of a restore: what stands at the end is what an undisturbed one makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.test_restore import tree
from tests.harness.fleet import Fleet
from tests.harness.invariants import assert_invariants

PHASES = (
    "restore_staged", "restore_unpacked", "restore_before_place", "restore_placed", "restore_noted",
    "after_place_before_commit",
)  # fmt: skip


@pytest.mark.parametrize("phase", PHASES)
def test_killed_in_a_restore_to_a_new_directory(fleet: Fleet, data: Path, tmp_path: Path, phase: str) -> None:
    definition = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    backup, target = fleet.backups(definition)[0], tmp_path / "new" / "place"
    worker = fleet.doomed("backup", phase)
    job = fleet.post(f"/api/backups/{backup['id']}/restores", {"target_path": str(target), "verify": "all"})
    worker.wait_dead()
    late = phase in ("restore_placed", "restore_noted", "after_place_before_commit")
    assert target.exists() == late, "half of it stood at its place"
    fleet.spawn("backup")
    ended = fleet.finished(job, "succeeded")
    assert tree(target / str(data).lstrip("/")) == tree(data), fleet.told(ended)
    assert ended["result"]["verified"]["hashed"] == 21
    assert [path.name for path in target.parent.iterdir()] == ["place"]
    assert not list(fleet.pool_path.glob(".borgfleet-views/*")), "the view stayed"
    assert_invariants(fleet, definition)


@pytest.mark.parametrize("phase", ["restore_unpacked", "restore_before_place", "restore_placed", "restore_noted"])
def test_killed_in_a_merge_nothing_that_was_there_is_lost(fleet: Fleet, data: Path, tmp_path: Path, phase: str) -> None:
    definition = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    backup, was = fleet.backups(definition)[0], tree(data)
    (data / "deep" / "file3").write_text("mine")
    (data / "deep" / "file4").unlink()
    path, item = f"/api/backups/{backup['id']}/restores", str(data / "deep").lstrip("/")
    body = {"items": [{"path": item}], "mode": "merge", "existing": "replace"}
    preview = fleet.finished(fleet.post(f"{path}/preview", body), "succeeded")
    assert preview["result"]["existing"]["count"] == 20, fleet.told(preview)
    worker = fleet.doomed("backup", phase)
    job = fleet.post(path, body | {"confirm": preview["id"]})
    worker.wait_dead()
    fleet.spawn("backup")
    ended = fleet.finished(job, "succeeded")
    now = tree(data)
    files = {name: what for name, what in now.items() if name.startswith("deep/") and name != "deep/er"}
    assert files == {name: was[name] for name in files}, fleet.told(ended)
    assert len(files) == 21
    assert (Path(ended["result"]["previous_in"]) / "deep" / "file3").read_text() == "mine"
    assert (ended["result"]["placed"], len(ended["result"]["previous"])) == (21, 20)
    assert_invariants(fleet, definition)


@pytest.mark.parametrize("phase", ["undo_asked", "undo_renamed"])
def test_killed_in_an_undo_all_is_as_it_was_before_the_swap(fleet: Fleet, data: Path, phase: str) -> None:
    definition = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    backed_up = (data / "deep" / "file3").read_bytes()
    (data / "deep" / "file3").write_text("mine")
    was = tree(data)
    path = f"/api/backups/{fleet.backups(definition)[0]['id']}/restores"
    body = {"items": [{"path": str(data / "deep").lstrip("/")}], "mode": "swap"}
    preview = fleet.finished(fleet.post(f"{path}/preview", body), "succeeded")
    restore = fleet.finished(fleet.post(path, body | {"confirm": preview["id"]}), "succeeded")
    worker = fleet.doomed("backup", phase)
    job = fleet.post(f"/api/jobs/{restore['id']}/undo", {})
    worker.wait_dead()
    fleet.spawn("backup")
    ended = fleet.finished(job, "succeeded")
    assert (ended["result"]["put_back"], ended["result"]["set_aside"]) == (1, 1), fleet.told(ended)
    assert {name: what for name, what in tree(data).items() if ".restored-" not in name} == was
    (data / "deep" / "file3").write_bytes(backed_up)
    assert_invariants(fleet, definition)
