"""The backup service is killed, stopped and woken at every moment that matters."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import SLOWLY
from tests.harness.fleet import Fleet, ServiceProcess, until
from tests.harness.held import held
from tests.harness.invariants import OneWriter, assert_invariants

STOPPED_SECONDS = 120


@pytest.mark.parametrize("transport", ["tunnel", "direct"])
def test_worker_killed_in_borg_create_leaves_no_borg_and_the_job_is_done_again(
    fleet: Fleet, slow_data: Path, transport: str
) -> None:
    definition = fleet.backup_job([slow_data], transport=transport, **SLOWLY)
    with OneWriter(fleet):
        with held(slow_data):
            job = fleet.run(definition)
            fleet.reading(job)
            fleet.services["backup"].kill()
            fleet.spawn("backup")
            until(lambda: fleet.job(job)["attempt"] >= 2, "attempt 2")
        ended = fleet.finished(job, "succeeded")
    assert ended["attempt"] >= 2
    assert len(fleet.backups(definition)) == 1
    assert_invariants(fleet, definition)


def test_worker_killed_after_borg_before_the_commit_records_that_archive_and_makes_no_second(
    fleet: Fleet, data: Path
) -> None:
    definition = fleet.backup_job([data])
    worker = fleet.doomed("backup", "after_borg_before_commit")
    job = fleet.run(definition)
    worker.wait_dead()
    assert fleet.backups(definition) == []
    fleet.spawn("backup")
    ended = fleet.finished(job, "succeeded")
    assert ended["attempt"] >= 2
    assert "an earlier attempt made" in fleet.log(job)
    assert len(fleet.backups(definition)) == len(fleet.listed(definition)) == 1
    assert_invariants(fleet, definition)


def test_worker_killed_after_the_commit_before_the_ack_does_nothing_twice(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    worker = fleet.doomed("backup", "after_commit_before_ack")
    job = fleet.run(definition)
    worker.wait_dead()
    assert fleet.finished(job, "succeeded")["attempt"] == 1
    fleet.spawn("backup")
    assert_invariants(fleet, definition)  # the redelivered message is taken off the queue
    assert fleet.job(job)["attempt"] == 1
    assert len(fleet.backups(definition)) == 1


def test_worker_killed_in_a_prune_finds_no_loss_in_its_own_deletions(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    for _ in range(3):
        fleet.finished(fleet.run(definition), "succeeded")
    path = f"/api/repositories/{definition['repository_id']}"
    fleet.call("PUT", path, {"retention": {"keep_last": 1}, "prune_after_backup": False})
    worker = fleet.doomed("backup", "after_delete_before_commit")
    job = fleet.post(f"{path}/prune", {})
    worker.wait_dead()
    assert (len(fleet.listed(definition)), len(fleet.backups(definition))) == (1, 3)
    fleet.spawn("backup")
    assert fleet.finished(job, "succeeded")["attempt"] >= 2
    assert len(fleet.backups(definition)) == 1
    assert not fleet.get(path)["frozen_reason"]
    assert_invariants(fleet, definition)


def test_worker_killed_in_a_check_keeps_what_it_had_read(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    for _ in range(3):
        fleet.finished(fleet.run(definition), "succeeded")
    worker = fleet.doomed("backup", "after_an_archive_was_read")
    job = fleet.post(f"/api/repositories/{definition['repository_id']}/check", {"depth": "data"})
    worker.wait_dead()
    assert [bool(backup["verified_at"]) for backup in fleet.backups(definition)].count(True) == 1
    fleet.spawn("backup")
    ended = fleet.finished(job, "succeeded")
    assert ended["attempt"] >= 2
    assert ended["result"]["finished"] is True
    assert all(backup["verified_at"] for backup in fleet.backups(definition))
    assert_invariants(fleet, definition)


def test_worker_killed_after_the_deletion_before_the_commit_finds_it_gone_and_is_content(
    fleet: Fleet, data: Path
) -> None:
    definition = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    fleet.finished(fleet.run(definition), "succeeded")
    worker = fleet.doomed("backup", "after_delete_before_commit")
    job = fleet.call("DELETE", f"/api/backups/{fleet.backups(definition)[1]['id']}")
    worker.wait_dead()
    fleet.spawn("backup")
    assert fleet.finished(job, "succeeded")["attempt"] >= 2
    assert len(fleet.backups(definition)) == 1
    assert_invariants(fleet, definition)


def test_sigterm_in_mid_backup_hands_the_job_over_and_the_next_run_goes_on_from_the_checkpoint(
    fleet: Fleet, slow_data: Path
) -> None:
    definition = fleet.backup_job([slow_data], **SLOWLY)
    with OneWriter(fleet):
        with held(slow_data):
            job = fleet.run(definition)
            fleet.reading(job, 2 * 1024 * 1024)
            assert fleet.services["backup"].stop() == 0
        handed_over = fleet.job(job)
        assert handed_over["state"] == "queued"
        assert handed_over["failures"] == 0
        fleet.spawn("backup")
        ended = fleet.finished(job, "succeeded")
    assert ended["attempt"] >= 2
    assert ended["result"]["deduplicated_size"] < 5 * 1024 * 1024  # part of it was in the checkpoint
    assert_invariants(fleet, definition)


def test_rolling_restart_during_twenty_runs_fails_none_of_them(fleet: Fleet, data: Path) -> None:
    definitions = [fleet.backup_job([data]) for _ in range(20)]
    jobs = [fleet.run(definition) for definition in definitions]
    until(lambda: any(fleet.job(job)["state"] == "running" for job in jobs), "one runs")
    for _ in range(2):
        fleet.restart("backup")
    for job in jobs:
        fleet.finished(job, "succeeded")
    for definition in definitions[::5]:  # each costs several runs of borg
        assert_invariants(fleet, definition, extract=False)


@pytest.mark.slow
def test_worker_stopped_for_two_minutes_and_woken_writes_nothing_more(fleet: Fleet, slow_data: Path) -> None:
    definition = fleet.backup_job([slow_data], **SLOWLY)
    sleeper = fleet.services["backup"]
    with OneWriter(fleet):
        with held(slow_data):
            job = fleet.run(definition)
            fleet.reading(job)
            sleeper.signal(signal.SIGSTOP)
        stopped_at = time.monotonic()
        try:
            second = ServiceProcess(fleet, "backup").wait_ready()
            ended = fleet.finished(job, "succeeded")
            assert ended["attempt"] >= 2
            time.sleep(max(0.0, STOPPED_SECONDS - (time.monotonic() - stopped_at)))  # the fault itself is two minutes
        finally:
            sleeper.signal(signal.SIGCONT)
        until(lambda: "LOST" in sleeper.log.read_text().upper(), "the woken worker notices that it lost its lease")
        after = fleet.job(job)
    assert (after["attempt"], after["finished_at"]) == (ended["attempt"], ended["finished_at"])
    second.stop()
    assert_invariants(fleet, definition)


def test_borg_on_the_server_killed_is_tried_again(fleet: Fleet, slow_data: Path) -> None:
    definition = fleet.backup_job([slow_data], **SLOWLY)
    with held(slow_data):
        job = fleet.run(definition)
        fleet.reading(job)
        for process in fleet.processes("borg create", str(slow_data)):
            line = process.info["cmdline"]
            if "setsid" not in line and "sh" not in line[0]:
                with contextlib.suppress(psutil.NoSuchProcess):  # a helper that has ended since it was listed
                    process.kill()
    ended = fleet.finished(job, "succeeded")
    assert ended["attempt"] >= 2
    assert ended["failures"] == 1
    assert_invariants(fleet, definition)


def test_borg_serve_killed_is_tried_again_and_the_lock_is_cleared(fleet: Fleet, slow_data: Path) -> None:
    definition = fleet.backup_job([slow_data], transport="direct", **SLOWLY)
    with held(slow_data):
        job = fleet.run(definition)
        fleet.reading(job)
        for process in fleet.processes("serve", "--append-only"):
            if "guard.sh" not in " ".join(process.info["cmdline"]):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
    ended = fleet.finished(job, "succeeded")
    assert ended["attempt"] >= 2
    assert_invariants(fleet, definition)
