"""The machine is destroyed: of a kit and a repository Borgfleet comes back, knows its backups, restores, goes on green."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pyrage
import pytest

from shared.testing.sshd import PrivateSshd, login_user
from tests.e2e.test_standalone import Standalone, server
from tests.harness.fleet import until

__all__ = ["server"]
pytestmark = pytest.mark.measured


class Lost:
    """An installation that will be lost, and what a careful person has of it elsewhere."""

    def __init__(self, directory: Path, host: PrivateSshd) -> None:
        self.directory, self.host = directory, host
        (directory / "machine").mkdir()
        self.one = Standalone(directory / "machine")
        self.one.environment["BORGFLEET_SELF_BACKUP__EVERY_HOURS"] = "0"
        self.data = directory / "machine" / "data"
        self.pool, self.source = directory / "pool", directory / "source"
        self.pool.mkdir()
        self.source.mkdir()
        (self.source / "precious").write_bytes(os.urandom(50_000))
        key = pyrage.x25519.Identity.generate()
        self.identity, self.kit = directory / "identity.txt", directory / "kit.age"
        self.identity.write_text(f"{key}\n")
        self.identity.chmod(0o600)
        self.recipient = str(key.to_public())

    def build(self) -> dict[str, Any]:
        one = self.one
        one.start()
        self.host.authorize(one.call("GET", "/api/fleet-key")["public_key"])
        host = one.call("POST", "/api/servers", {
            "name": "host1", "host": self.host.address, "port": self.host.port, "username": login_user(),
            "approved_fingerprint": self.host.fingerprint(),
        })  # fmt: skip
        assert one.finished(one.call("POST", f"/api/servers/{host['id']}/setup"))["state"] in ("succeeded", "warning")
        pool = one.call("POST", "/api/storage-pools", {"name": "main", "path": str(self.pool)})
        body = {"name": "system", "server_id": host["id"], "pool_id": pool["id"]}
        repository = one.call("POST", "/api/repositories", body)
        made: dict[str, Any] = one.call("POST", "/api/backup-jobs", {
            "name": "job1", "server_id": host["id"], "repository_id": repository["id"], "sources": [str(self.source)],
        })  # fmt: skip
        return made

    def run(self, definition: dict[str, Any]) -> dict[str, Any]:
        return self.one.finished(self.one.call("POST", f"/api/backup-jobs/{definition['id']}/run"))

    def back_itself_up(self) -> dict[str, Any]:
        return self.one.finished(self.one.call("POST", "/api/self-backups"))

    def at_rest(self) -> None:
        until(
            lambda: (
                not [
                    one
                    for one in self.one.call("GET", "/api/jobs?limit=100")["items"]
                    if one["state"] in ("queued", "running")
                ]
            ),
            "all ends",
        )

    def recover(self, *arguments: str, status: int = 0) -> str:
        return self.one.cli(
            "recover", "--kit", str(self.kit), "--identity", str(self.identity), "--repository",
            str(self.pool / "borgfleet" / "self"), "--data-dir", str(self.data), *arguments, status=status,
        )  # fmt: skip


def test_a_destroyed_machine_comes_back_by_its_kit_and_its_own_backup(tmp_path: Path, server: PrivateSshd) -> None:
    lost = Lost(tmp_path, server)
    try:
        goes_and_comes(lost, tmp_path / "restored")
    finally:
        lost.one.http.close()
        lost.one.stop()


def goes_and_comes(lost: Lost, target: Path) -> None:
    one, definition = lost.one, lost.build()
    assert lost.run(definition)["state"] == "succeeded"
    lost.at_rest()
    ended = lost.back_itself_up()
    assert ended["state"] == "succeeded", ended
    one.cli("recovery-kit", "export", "-r", lost.recipient, "-o", str(lost.kit), "--data-dir", str(lost.data))
    state = one.call("GET", "/api/recovery-kit")
    assert (state["covered"], state["repositories"], state["missing"]) == (2, 2, [])
    assert state["self_backup_at"]
    assert "is there already" in lost.recover(status=1), "an installation that works is not touched"
    host_key = (lost.data / "sshd" / "ssh_host_ed25519_key").read_bytes()
    master_key = (lost.data / "master.key").read_text()
    one.stop()
    shutil.rmtree(lost.data)

    one.environment["BORGFLEET_CRASH_AT"] = "recover_loaded"
    lost.recover(status=-signal.SIGKILL)
    assert not (lost.data / "master.key").exists(), "nothing starts on what is half there"
    del one.environment["BORGFLEET_CRASH_AT"]
    told = lost.recover()
    assert "1 repositories are frozen" in told
    assert master_key.strip() not in told
    assert (lost.data / "sshd" / "ssh_host_ed25519_key").read_bytes() == host_key
    assert sorted(path.name for path in lost.data.iterdir() if path.name.startswith((".rec", "master"))) == [
        "master.key"
    ]
    assert "is there already" in lost.recover(status=1)

    one.start()
    (backup,) = one.call("GET", f"/api/backups?backup_job_id={definition['id']}")["items"]
    (repository,) = one.call("GET", "/api/repositories")["items"]
    assert [cause["code"] for cause in repository["frozen_for"]] == ["database_recovered"]
    assert one.call("GET", f"/api/jobs/{ended['id']}")["code"] == "lost_in_recovery"
    restored = one.finished(one.call("POST", f"/api/backups/{backup['id']}/restores", {"target_path": str(target)}))
    assert restored["state"] in ("succeeded", "warning"), restored
    assert [file.read_bytes() for file in target.rglob("precious")] == [(lost.source / "precious").read_bytes()]
    again = lost.run(definition)
    assert again["state"] == "succeeded", again
    (repository,) = one.call("GET", "/api/repositories")["items"]
    assert repository["frozen_reason"] == ""
    assert lost.back_itself_up()["state"] == "succeeded"
    assert "web" not in one.cli(
        "recovery-kit", "test", str(lost.kit), "-i", str(lost.identity), "--data-dir", str(lost.data)
    )
