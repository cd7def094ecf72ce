"""A server's sshd that stands still, its sessions with it: the cause is told, others are served, and it goes on afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.testing.sshd import PrivateSshd, login_user
from tests.e2e.conftest import SLOWLY
from tests.harness.fleet import Fleet, until
from tests.harness.held import can_be_held, held
from tests.harness.invariants import assert_invariants
from tests.harness.still import standing_still


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[PrivateSshd]:
    made = PrivateSshd(tmp_path / "still", environment=can_be_held(tmp_path / "held"))
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("transport", ["tunnel", "direct"])
def test_a_backup_whose_sshd_stands_still_is_told_and_done_again(
    fleet: Fleet, sshd: PrivateSshd, data: Path, slow_data: Path, transport: str
) -> None:
    server = fleet.add_server(f"still{next(fleet.counter)}", sshd)
    definition = fleet.backup_job([slow_data], host=server, transport=transport, **SLOWLY)
    other = fleet.backup_job([data])
    with held(slow_data):
        job = fleet.run(definition)
        fleet.reading(job)
        with standing_still(sshd):
            until(lambda: fleet.job(job)["failures"], lambda: f"the silence is noticed: {fleet.told(job)}")
            assert fleet.finished(fleet.run(other), "succeeded")
            told = fleet.job(job)
            assert told["code"] in ("connection_lost", "server_unreachable"), fleet.told(job)
            assert told["remedy"], fleet.told(job)
    ended = fleet.finished(job, "succeeded")
    assert ended["attempt"] >= 2
    assert_invariants(fleet, definition)


def test_a_set_up_whose_sshd_stands_still_says_that_it_does_not_answer(
    fleet: Fleet, sshd: PrivateSshd, data: Path
) -> None:
    sshd.authorize(fleet.get("/api/fleet-key")["public_key"])
    body = {"name": f"still{next(fleet.counter)}", "host": sshd.address, "port": sshd.port, "username": login_user(),
            "approved_fingerprint": sshd.fingerprint()}  # fmt: skip
    server = fleet.post("/api/servers", body)
    with standing_still(sshd):
        job = fleet.post(f"/api/servers/{server['id']}/setup")
        told = until(lambda: (found := fleet.job(job))["reason"] and found, lambda: fleet.told(job))
        assert told["code"] == "server_unreachable", fleet.told(job)
        assert "does not answer in time" in told["reason"]
        assert "sshd" in told["remedy"]
        # The others are set up meanwhile: no worker waits for this one.
        assert fleet.finished(fleet.post(f"/api/servers/{fleet.host['id']}/setup"), "succeeded", "warning")
    ended = fleet.finished(job)
    if ended["state"] == "failed":
        assert ended["code"] == "server_unreachable"
        ended = fleet.finished(fleet.post(f"/api/servers/{server['id']}/setup"))
    assert ended["state"] in ("succeeded", "warning"), fleet.told(ended)
