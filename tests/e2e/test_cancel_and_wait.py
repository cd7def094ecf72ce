"""Cancelling at every stage, and two jobs on one repository."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import SLOWLY
from tests.harness.fleet import BIN, Fleet, until
from tests.harness.held import held
from tests.harness.invariants import OneWriter, assert_invariants, no_job_vanished, no_orphans, nothing_in_flight
from tests.harness.patience import WAIT


@pytest.mark.parametrize("transport", ["tunnel", "direct"])
def test_cancel_while_running_stops_borg_within_seconds_and_leaves_the_repository_unlocked(
    fleet: Fleet, slow_data: Path, transport: str
) -> None:
    definition = fleet.backup_job([slow_data], transport=transport, **SLOWLY)
    with held(slow_data):
        job = fleet.run(definition)
        fleet.reading(job)
        assert fleet.post(f"/api/jobs/{job['id']}/cancel")["cancel_requested"] is True
        ended = fleet.finished(job, "cancelled")
    assert ended["code"] == "cancelled"
    no_orphans(fleet)
    entry = fleet.kit_entry(definition["repository_id"])
    locks = [p.name for p in Path(entry["path"]).iterdir() if p.name.startswith("lock.exclusive")]
    assert locks == []
    assert fleet.listed(definition) == {}
    fleet.finished(fleet.post(f"/api/jobs/{job['id']}/retry"), "succeeded")
    assert_invariants(fleet, definition)


def test_cancel_while_queued_is_at_once(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    fleet.services["backup"].stop()
    job = fleet.run(definition)
    assert fleet.post(f"/api/jobs/{job['id']}/cancel")["state"] == "cancelled"
    fleet.spawn("backup")
    nothing_in_flight(fleet)
    no_job_vanished(fleet)
    assert fleet.job(job)["state"] == "cancelled"
    assert fleet.job(job)["attempt"] == 0
    refused = fleet.request("POST", f"/api/jobs/{job['id']}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "job_ended")


def test_two_jobs_on_one_repository_wait_visibly_and_a_waiting_one_can_be_cancelled(
    fleet: Fleet, data: Path, slow_data: Path
) -> None:
    first = fleet.backup_job([slow_data], **SLOWLY)
    second = fleet.backup_job([data], repository_id=first["repository_id"])
    with OneWriter(fleet):
        with held(slow_data):
            running = fleet.run(first)
            fleet.reading(running)
            waiting, cancelled = fleet.run(second), fleet.run(second)
            for job in (waiting, cancelled):
                shown = until(lambda job=job: found if (found := fleet.job(job))["waiting_for"] else None, "it waits")
                assert (shown["state"], shown["waiting_for"]) == ("queued", f"host1/{first['repository']}")
            assert fleet.post(f"/api/jobs/{cancelled['id']}/cancel")["state"] == "cancelled"
        assert fleet.finished(running, "succeeded")["attempt"] == 1
        ended = fleet.finished(waiting, "succeeded")
    assert (ended["attempt"], ended["failures"]) == (1, 0)
    assert fleet.job(cancelled)["state"] == "cancelled"
    recorded = {b["borg_id"] for d in (first, second) for b in fleet.backups(d)}
    assert recorded == set(fleet.listed(first))


def test_a_lock_of_a_live_foreign_writer_is_waited_for(fleet: Fleet, data: Path, tmp_path: Path) -> None:
    definition = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    repository, go = str(fleet.at_rest(definition)), tmp_path / "go"
    entry = fleet.kit_entry(definition["repository_id"])
    holder = subprocess.Popen(
        [str(BIN / "borg"), "with-lock", repository, "sh", "-c", f"while [ ! -e {go} ]; do sleep 0.1; done"],
        env={"BORG_PASSPHRASE": entry["passphrase"], "BORG_BASE_DIR": str(fleet.directory / "outside"),
             "PATH": "/usr/bin:/bin", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"},
    )  # fmt: skip
    until((Path(repository) / "lock.exclusive").exists, "the foreign writer holds the lock")
    job = fleet.run(definition)
    until(lambda: fleet.processes("borg create", str(data)), "ours would write, too")
    go.touch()
    fleet.finished(job, "succeeded")
    assert holder.wait(timeout=WAIT) == 0
    assert_invariants(fleet, definition)


def test_a_lock_of_a_dead_writer_of_this_node_is_cleared(fleet: Fleet, slow_data: Path) -> None:
    definition = fleet.backup_job([slow_data], **SLOWLY)
    with held(slow_data):
        job = fleet.run(definition)
        fleet.reading(job)
        fleet.services["backup"].signal(signal.SIGSTOP)
        for process in fleet.processes("--restrict-to-repository"):
            with contextlib.suppress(psutil.NoSuchProcess):  # the guard ends after the command that it guards
                process.kill()
        fleet.services["backup"].kill()
    entry = fleet.kit_entry(definition["repository_id"])
    assert (Path(entry["path"]) / "lock.exclusive").exists()
    fleet.spawn("backup")
    fleet.finished(job, "succeeded")
    assert json.loads(fleet.borg(definition, "info", "--json", "{repo}"))
    assert_invariants(fleet, definition)
