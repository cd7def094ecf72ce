"""A cluster whose parts are restarted, killed and away while backups are queued: none fails, none is doubled or lost."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.harness.cluster import ClusterFleet
from tests.harness.fleet import until
from tests.harness.invariants import nothing_in_flight, records_match_repository, successes_extract
from tests.harness.patience import WAIT

pytestmark = [pytest.mark.slow, pytest.mark.unmeasured]


def queue(fleet: ClusterFleet, data: Path, count: int = 8) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Ask for many backups at once: return the backup jobs and their jobs."""
    definitions = [fleet.backup_job([data]) for _ in range(3)]
    return definitions, [fleet.run(definitions[number % 3]) for number in range(count)]


def all_held(fleet: ClusterFleet, definitions: list[dict[str, Any]], jobs: list[dict[str, Any]]) -> None:
    """Each job succeeded, and made one archive that extracts."""
    for job in jobs:
        fleet.finished(job, "succeeded")
    for definition in definitions:
        records_match_repository(fleet, definition)
        asked = {job["id"] for job in jobs if job["backup_job_id"] == definition["id"]}
        assert sorted(backup["job_id"] for backup in fleet.backups(definition)) == sorted(asked)
        successes_extract(fleet, definition)
    nothing_in_flight(fleet)


def test_every_process_is_restarted_in_turn_and_nobody_notices(fleet: ClusterFleet, data: Path) -> None:
    definitions, jobs = queue(fleet, data, 20)

    def restart(name: str) -> None:
        assert fleet.services[name].stop() == 0
        fleet.ensure_running(name)
        assert fleet.get("/api/jobs?limit=1")["items"]

    fleet.each(restart)
    all_held(fleet, definitions, jobs)


def test_the_leader_of_the_jobs_is_killed_three_times(fleet: ClusterFleet, data: Path) -> None:
    definitions, jobs = queue(fleet, data)
    for number in range(3):
        until(lambda least=number: done(fleet, jobs) > least, "some have ended")
        leader = fleet.leader("JOBS")
        leader.kill()
        if number == 1:
            leader.wipe()  # a new machine under its name: it copies all from the others
        jobs.append(fleet.run(definitions[number]))
        fleet.whole()
    all_held(fleet, definitions, jobs)


def test_a_server_of_the_bus_is_away_all_the_time(fleet: ClusterFleet, data: Path) -> None:
    fleet.rest()
    fleet.cluster.servers[0].kill()  # the first that each process asks
    for name in fleet.names:
        fleet.spawn(name)
    definitions, jobs = queue(fleet, data)
    all_held(fleet, definitions, jobs)


def test_without_a_majority_the_gateway_answers_and_what_it_took_runs_later(fleet: ClusterFleet, data: Path) -> None:
    definitions = [fleet.backup_job([data]) for _ in range(2)]
    away = fleet.cluster.servers[:2]
    for server in away:
        server.kill()
    jobs = [fleet.run(definition) for definition in definitions]
    assert {job["state"] for job in map(fleet.job, jobs)} == {"queued"}
    assert [readiness(fleet, name) for name in ("api", "api-2")] == [200, 200]
    fleet.cluster.start()
    all_held(fleet, definitions, jobs)


def test_a_process_that_is_killed_leaves_its_work_to_the_other_of_its_kind(fleet: ClusterFleet, data: Path) -> None:
    definitions, jobs = queue(fleet, data)
    for name in ("api", "scheduler", "setup", "stats"):
        fleet.services[name].signal(signal.SIGKILL)
        fleet.services[name].wait_dead()
    all_held(fleet, definitions, jobs)


def done(fleet: ClusterFleet, jobs: list[dict[str, Any]]) -> int:
    return sum(fleet.job(job)["state"] == "succeeded" for job in jobs)


def readiness(fleet: ClusterFleet, name: str) -> int:
    port = fleet.services[name].health_port
    return httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=WAIT).status_code


def test_a_backup_node_moves_to_another_place_with_its_state(fleet: ClusterFleet, data: Path, tmp_path: Path) -> None:
    """As from a machine to another: the pool at the same path, the data directory copied while the service is stopped."""
    definition = fleet.backup_job([data])
    jobs = [fleet.run(definition)]
    fleet.finished(jobs[0], "succeeded")
    fleet.at_rest(definition)
    assert fleet.services["backup"].stop() == 0
    shutil.copytree(fleet.data_dir, tmp_path / "moved", symlinks=True)
    fleet.spawn("backup", BORGFLEET_DATA_DIR=str(tmp_path / "moved"))
    try:
        jobs.append(fleet.run(definition))
        all_held(fleet, [definition], jobs)
        assert fleet.get(f"/api/repositories/{definition['repository_id']}")["frozen_for"] == []
    finally:
        # What it knows since, the others of this fleet must know too.
        fleet.services["backup"].stop()
        shutil.copytree(tmp_path / "moved" / "node", fleet.data_dir / "node", symlinks=True, dirs_exist_ok=True)
        fleet.spawn("backup")
