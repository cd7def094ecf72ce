"""Restore tests on the running fleet: what is sound is proven with its age, and what is not is told at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.test_verification import damaged, flip, incompressible, largest_segment, open_alerts, repository
from tests.harness.fleet import Fleet, until
from tests.harness.invariants import no_orphans, nothing_in_flight

__all__ = ["incompressible"]


@pytest.mark.skipif(os.geteuid() != 0, reason="the server's files are root's")
def test_what_can_be_restored_is_proven_and_what_was_damaged_since_is_told(fleet: Fleet, incompressible: Path) -> None:
    definition = fleet.backup_job([incompressible])
    fleet.finished(fleet.run(definition), "succeeded")
    path = f"/api/repositories/{definition['repository_id']}/restore-tests"
    proven = fleet.finished(fleet.post(path, {}), "succeeded")["result"]
    assert (proven["proof"], proven["files"], proven["source"]["compared"]) == ("good", 1, 1)
    assert proven["full_restore_seconds"] is not None
    (proof,) = fleet.get(path)["items"]
    shown = repository(fleet, definition)
    assert (proof["state"], shown["restore_proven_at"]) == ("good", proof["ended_at"])

    flip(largest_segment(fleet, definition))
    found = fleet.finished(fleet.post(path, {"kind": "all"}), "failed")
    assert (found["code"], found["result"]["proof"]) == ("archive_damaged", "damaged")
    about = ("repository_damaged", f"repository:{shown['server']}/{shown['name']}")
    until(lambda: about in open_alerts(fleet), "the alert is raised")
    assert damaged(fleet, definition) == {fleet.backups(definition)[0]["name"]}
    assert (
        repository(fleet, definition)["restore_proven_at"] == proof["ended_at"]
    )  # of before; no damage makes it younger
    assert not list(Path(fleet.at_rest(definition)).parents[1].glob(".borgfleet-views/*"))
    no_orphans(fleet)
    nothing_in_flight(fleet)
