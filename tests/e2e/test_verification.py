"""Checks on the running fleet: bits that rot on the disk are found, told, and repaired by nobody."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.harness.fleet import Fleet, until
from tests.harness.invariants import assert_invariants
from tests.harness.patience import WAIT


def largest_segment(fleet: Fleet, definition: dict[str, Any]) -> Path:
    """The one that holds the files' contents."""
    data = fleet.at_rest(definition) / "data"
    return max((file for file in data.glob("*/*") if file.is_file()), key=lambda file: file.stat().st_size)


def flip(segment: Path) -> None:
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)


def check(fleet: Fleet, definition: dict[str, Any], *states: str, **options: Any) -> dict[str, Any]:
    path = f"/api/repositories/{definition['repository_id']}/check"
    return fleet.finished(fleet.post(path, options), *states)


def repository(fleet: Fleet, definition: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = fleet.get(f"/api/repositories/{definition['repository_id']}")
    return found


def damaged(fleet: Fleet, definition: dict[str, Any]) -> set[str]:
    return {backup["name"] for backup in fleet.backups(definition) if backup["damage"]}


def open_alerts(fleet: Fleet) -> set[tuple[str, str]]:
    return {(one["kind"], one["subject"]) for one in fleet.get("/api/alerts?state=open&limit=500")["items"]}


@pytest.fixture
def incompressible(tmp_path: Path) -> Path:
    made = tmp_path / "random"
    made.mkdir()
    (made / "first").write_bytes(os.urandom(2_000_000))
    return made


def test_a_flipped_byte_is_found_marked_and_told_and_nothing_is_repaired(fleet: Fleet, incompressible: Path) -> None:
    definition = fleet.backup_job([incompressible])
    fleet.finished(fleet.run(definition), "succeeded")
    hit = fleet.backups(definition)[0]["name"]
    segment = largest_segment(fleet, definition)
    (incompressible / "first").write_bytes(os.urandom(2_000_000))
    fleet.finished(fleet.run(definition), "succeeded")  # it does not need that segment
    sound = check(fleet, definition, "succeeded", depth="data")
    assert (sound["result"]["read"], sound["result"]["finished"]) == (2, True)
    assert all(backup["verified_at"] for backup in fleet.backups(definition))

    fleet.at_rest(definition)
    flip(segment)
    broken = segment.read_bytes()
    found = check(fleet, definition, "failed", depth="segments")
    assert (found["code"], found["result"]["damaged"]) == ("repository_damaged", 1)
    assert "checksum mismatch" in repository(fleet, definition)["damage"]
    assert damaged(fleet, definition) == {hit}
    shown = repository(fleet, definition)
    about = ("repository_damaged", f"repository:{shown['server']}/{shown['name']}")
    until(lambda: about in open_alerts(fleet), "an alert is raised")

    # It is neither pruned nor compacted, and not repaired either.
    path = f"/api/repositories/{definition['repository_id']}"
    fleet.call("PUT", path, {"retention": {"keep_last": 1}})
    for refused in (f"{path}/prune", f"{path}/compact"):
        assert fleet.finished(fleet.post(refused, {}), "failed")["code"] == "repository_damaged"
    assert segment.read_bytes() == broken

    flip(segment)  # what a person would do with borg's own means, or from a copy
    check(fleet, definition, "succeeded", depth="data")
    assert damaged(fleet, definition) == set()
    assert repository(fleet, definition)["damage"] == ""
    until(lambda: about not in open_alerts(fleet), "the alert is resolved")
    ended = fleet.finished(fleet.post(f"{path}/prune", {}), "succeeded")
    assert ended["result"]["kept"] == 1
    assert_invariants(fleet, definition)


@pytest.mark.parametrize("how", ["truncated", "missing"])
def test_a_truncated_or_missing_segment_is_damage_and_not_a_passing_trouble(
    fleet: Fleet, incompressible: Path, how: str
) -> None:
    definition = fleet.backup_job([incompressible])
    fleet.finished(fleet.run(definition), "succeeded")
    segment = largest_segment(fleet, definition)
    before = segment.read_bytes()
    if how == "missing":
        segment.unlink()
    else:
        segment.write_bytes(before[: len(before) // 2])
    found = check(fleet, definition, "failed", depth="archives")
    assert (found["code"], found["result"]["damaged"]) == ("repository_damaged", 1)
    segment.write_bytes(before)
    check(fleet, definition, "succeeded", depth="data")
    assert repository(fleet, definition)["damage"] == ""


def test_a_check_is_made_by_its_schedule_and_another_does_not_pile_up(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    path = f"/api/repositories/{definition['repository_id']}"
    every_minute = {"kind": "cron", "expression": "* * * * *"}
    wanted = {"task": "check", "when": every_minute, "check": {"depth": "data", "budget_seconds": 60}}
    shown = fleet.call("PUT", path, {"schedules": [wanted]})
    (schedule,) = shown["schedules"]
    assert (schedule["task"], schedule["check"]["depth"]) == ("check", "data")
    due = datetime.fromisoformat(schedule["next_run_at"])
    until(lambda: repository(fleet, definition)["checked_at"], "it is checked", 5 * WAIT)
    fleet.call("PUT", path, {"schedules": []})
    jobs = [
        job for job in fleet.get("/api/jobs?limit=100")["items"] if job["repository_id"] == definition["repository_id"]
    ]
    made = [job for job in jobs if job["type"] == "repository_check"]
    assert min(datetime.fromisoformat(job["created_at"]) for job in made) >= due
    for job in made:
        fleet.finished(job, "succeeded")
    (backup,) = fleet.backups(definition)
    assert backup["verified_at"]
    assert_invariants(fleet, definition)
