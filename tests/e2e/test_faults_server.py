"""Servers and links that misbehave: silence in the middle, a slow line, a clock that is wrong."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.testing.sshd import PrivateSshd, login_user
from tests.e2e.conftest import SLOWLY
from tests.harness.faketime import wrong_clock
from tests.harness.fleet import Fleet, until
from tests.harness.held import can_be_held, held
from tests.harness.invariants import assert_invariants
from tests.harness.network import Namespace, NamespacedSshd, available


def test_a_half_open_connection_is_noticed_and_the_backup_is_done_again(
    fleet: Fleet, slow_data: Path, tmp_path: Path
) -> None:
    if not available():
        pytest.skip("this machine does not let tests make network namespaces")
    with Namespace() as namespace:
        far = can_be_held(tmp_path / "held")
        sshd = NamespacedSshd(tmp_path / "far", address=namespace.inside, environment=far)
        sshd.namespace = namespace
        sshd.start()
        try:
            server = _tunnel_only(fleet, sshd)
            definition = fleet.backup_job([slow_data], host=server, **SLOWLY)
            with held(slow_data):
                job = fleet.run(definition)
                fleet.reading(job)
                namespace.cut()
                until(lambda: fleet.job(job)["failures"], "the cut is noticed")
                namespace.mend()
            ended = fleet.finished(job, "succeeded")
            assert ended["attempt"] >= 2
            assert_invariants(fleet, definition)
        finally:
            sshd.stop()


def test_a_link_of_one_megabit_is_slow_and_no_failure(fleet: Fleet, data: Path, tmp_path: Path) -> None:
    if not available():
        pytest.skip("this machine does not let tests make network namespaces")
    (data / "much").write_bytes(os.urandom(1_500_000))
    with Namespace() as namespace:
        sshd = NamespacedSshd(tmp_path / "slow", address=namespace.inside)
        sshd.namespace = namespace
        sshd.start()
        try:
            definition = fleet.backup_job([data], host=_tunnel_only(fleet, sshd), compression="none")
            namespace.slow("1mbit")
            started = time.monotonic()
            ended = fleet.finished(fleet.run(definition), "succeeded")
            assert time.monotonic() - started > 8, "the link was not slow"
            assert ended["attempt"] == 1
            assert_invariants(fleet, definition)
        finally:
            sshd.stop()


def test_a_server_whose_clock_is_two_hours_off_is_backed_up_and_the_times_are_ours(
    fleet: Fleet, data: Path, tmp_path: Path
) -> None:
    sshd = PrivateSshd(tmp_path / "late", environment=wrong_clock("-2h"))
    sshd.start()
    try:
        definition = fleet.backup_job([data], host=fleet.add_server("late", sshd))
        job = fleet.finished(fleet.run(definition), "succeeded")
        backup = fleet.backups(definition)[0]
        assert datetime.fromisoformat(job["started_at"]) <= datetime.fromisoformat(backup["created_at"])
        archive = json.loads(fleet.borg(definition, "list", "--json", "{repo}"))["archives"][0]
        theirs = datetime.fromisoformat(archive["time"]).replace(tzinfo=UTC)
        assert timedelta(hours=1.9) < datetime.now(UTC) - theirs < timedelta(hours=2.1), "the clock was not wrong"
        assert_invariants(fleet, definition)
    finally:
        sshd.stop()


def _tunnel_only(fleet: Fleet, sshd: PrivateSshd) -> dict:
    """Set up a server that cannot reach the storage endpoint: the last step fails, the tunnel still works."""
    sshd.authorize(fleet.get("/api/fleet-key")["public_key"])
    server = fleet.post(
        "/api/servers",
        {"name": f"far{next(fleet.counter)}", "host": sshd.address, "port": sshd.port, "username": login_user(),
         "approved_fingerprint": sshd.fingerprint()},
    )  # fmt: skip
    job = fleet.finished(fleet.post(f"/api/servers/{server['id']}/setup"))
    assert job["state"] == "warning", job
    assert any("tunnel" in warning for warning in job["warnings"])
    return server
