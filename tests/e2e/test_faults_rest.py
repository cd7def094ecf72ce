"""The database, the network to the server, and everything at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql

from tests.e2e.conftest import SLOWLY
from tests.harness.fleet import Fleet, until
from tests.harness.held import held
from tests.harness.invariants import OneWriter, assert_invariants, extracted
from tests.harness.patience import WAIT


def test_mariadb_restarted_in_mid_backup_does_not_stop_borg(fleet: Fleet, slow_data: Path) -> None:
    definition = fleet.backup_job([slow_data], **SLOWLY)
    fleet.restart("backup", BORGFLEET_WORKER__ACK_WAIT=str(WAIT))  # no lease is to end before the database is back
    try:
        with held(slow_data):
            job = fleet.run(definition)
            fleet.reading(job)
            fleet.maria.kill()
            fleet.maria.start()
        ended = fleet.finished(job, "succeeded")
    finally:
        fleet.restart("backup")
    assert ended["attempt"] == 1
    assert_invariants(fleet, definition)


def test_mariadb_stopped_still_gives_an_honest_503_and_comes_back(fleet: Fleet) -> None:
    fleet.maria.process.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        answer = fleet.http.get("/api/servers", timeout=WAIT)
        waited = time.monotonic() - started
    finally:
        fleet.maria.process.send_signal(signal.SIGCONT)
    assert answer.status_code == 503
    assert answer.json()["code"].startswith("database_")
    assert "Retry-After" in answer.headers
    assert waited < WAIT
    until(lambda: fleet.request("GET", "/api/servers").status_code == 200, "the API answers again")


def test_mariadb_out_of_connections_is_told_in_time_and_makes_no_second_run(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    run = f"/api/backup-jobs/{definition['id']}/run"
    with all_connections_taken(fleet):
        for answer in (fleet.http.get("/api/servers"), fleet.http.post(run)):
            assert (answer.status_code, answer.json()["code"]) == (503, "database_busy")
            assert "Retry-After" in answer.headers
    job = fleet.run(definition)
    fleet.finished(job, "succeeded")
    runs = fleet.get(f"/api/jobs?backup_job_id={definition['id']}&type=backup_create")["items"]
    assert [one["id"] for one in runs] == [job["id"]]
    assert_invariants(fleet, definition)


@contextmanager
def all_connections_taken(fleet: Fleet) -> Iterator[None]:
    """Close the services' connections and take all there are, so that they get none again."""
    port = fleet.maria.port
    taken = [pymysql.connect(host="127.0.0.1", port=port, user="root") for _ in range(11)]  # one more is for root
    mine = {connection.thread_id() for connection in taken}
    fleet.maria.sql("SET GLOBAL max_connections = 10")
    try:
        until(lambda: not killed(taken[0], mine), "all others are gone")
        yield
    finally:
        # By a connection that is there: those that become free now, the services may take before us.
        with taken[0].cursor() as cursor:
            cursor.execute("SET GLOBAL max_connections = 200")
        for connection in taken:
            connection.close()


def killed(connection: pymysql.Connection, mine: set[int]) -> set[int]:
    """Kill all other connections and return them; one that was about to log in has its user's name later."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE user IN ('root', 'unauthenticated user')")
        others = {number for (number,) in cursor.fetchall()} - mine
        for number in others:
            with suppress(pymysql.err.OperationalError):  # it may have gone by itself
                cursor.execute(f"KILL {number}")
    return others


def test_ssh_cut_in_mid_backup_is_tried_again(fleet: Fleet, slow_data: Path) -> None:
    definition = fleet.backup_job([slow_data], **SLOWLY)
    with OneWriter(fleet):
        with held(slow_data):
            job = fleet.run(definition)
            fleet.reading(job)
            fleet.server.stop()
            fleet.server.start()
            until(lambda: fleet.job(job)["failures"], "the cut is noticed")
        ended = fleet.finished(job, "succeeded")
    assert ended["attempt"] >= 2
    assert_invariants(fleet, definition)


def test_everything_killed_at_once_ends_every_job_and_keeps_every_invariant(
    fleet: Fleet, data: Path, slow_data: Path
) -> None:
    slow = fleet.backup_job([slow_data], **SLOWLY)
    quick = fleet.backup_job([data])
    with held(slow_data):
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
    fleet.finished(jobs[0], "succeeded")  # its borg was still reading: another attempt makes the archive
    for job in jobs[1:]:
        if fleet.finished(job, "succeeded", "warning")["state"] == "warning":
            assert_only_the_report_is_lost(fleet, quick, job)
    assert_invariants(fleet, slow)
    assert_invariants(fleet, quick)


def assert_only_the_report_is_lost(fleet: Fleet, definition: dict[str, Any], job: dict[str, Any]) -> None:
    """Its borg was done when all was killed, and nobody heard what it said: that is told, and nothing else."""
    run = job["id"].replace("-", "")
    (backup,) = [one for one in fleet.backups(definition) if one["name"].endswith(run)]
    assert [reason["code"] for reason in backup["reasons"]] == ["report_lost"]
    assert extracted(fleet, definition, backup) > 0
