"""The database, the network to the server, and everything at once."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.e2e.conftest import SLOWLY
from tests.harness.fleet import Fleet, until
from tests.harness.invariants import OneWriter, assert_invariants


def test_mariadb_restarted_in_mid_backup_does_not_stop_borg(fleet: Fleet, slow_data: Path) -> None:
    definition = fleet.backup_job([slow_data], **SLOWLY)
    job = fleet.run(definition)
    fleet.reading(job)
    fleet.maria.kill()
    fleet.maria.start()
    ended = fleet.finished(job, "succeeded")
    assert ended["attempt"] == 1
    assert_invariants(fleet, definition)


def test_mariadb_stopped_still_gives_an_honest_503_and_comes_back(fleet: Fleet) -> None:
    fleet.maria.process.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        answer = fleet.http.get("/api/servers", timeout=60)
        waited = time.monotonic() - started
    finally:
        fleet.maria.process.send_signal(signal.SIGCONT)
    assert answer.status_code == 503
    assert answer.json()["code"].startswith("database_")
    assert "Retry-After" in answer.headers
    assert waited < 30
    until(lambda: fleet.request("GET", "/api/servers").status_code == 200, "the API answers again", 30)


def test_ssh_cut_in_mid_backup_is_tried_again(fleet: Fleet, slow_data: Path) -> None:
    definition = fleet.backup_job([slow_data], **SLOWLY)
    with OneWriter(fleet):
        job = fleet.run(definition)
        fleet.reading(job)
        fleet.server.stop()
        fleet.server.start()
        ended = fleet.finished(job, "succeeded")
    assert ended["attempt"] == 2
    assert_invariants(fleet, definition)


def test_everything_killed_at_once_ends_every_job_and_keeps_every_invariant(
    fleet: Fleet, data: Path, slow_data: Path
) -> None:
    slow = fleet.backup_job([slow_data], **SLOWLY)
    quick = fleet.backup_job([data])
    jobs = [fleet.run(slow), *(fleet.run(quick) for _ in range(2))]
    fleet.reading(jobs[0])
    for service in fleet.services.values():
        service.kill()
    fleet.nats.kill()
    fleet.maria.kill()
    fleet.server.stop()
    fleet.server.start()
    fleet.maria.start()
    fleet.nats.start()
    fleet.ensure_running()
    for job in jobs:
        fleet.finished(job, "succeeded")
    assert_invariants(fleet, slow)
    assert_invariants(fleet, quick)
