"""Root on a server is the attacker: raw frames with its real key, through the endpoint, while a run holds the lease."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from shared.testing.sshd import login_user
from tests.e2e.conftest import SLOWLY
from tests.harness.attacks import ATTACKS
from tests.harness.fleet import Fleet, until
from tests.harness.forger import forged_manifest
from tests.harness.held import held
from tests.harness.patience import WAIT
from tests.harness.rpc import MANIFEST, Gone, RawClient, RemoteError


class Target:
    """A repository with one good archive, and a run that stands still in its post-hook: the attacker's chance."""

    def __init__(self, fleet: Fleet, data: Path, tmp_path: Path, **repository: Any) -> None:
        self.fleet, self.data, self.base = fleet, data, tmp_path
        self.reached, self.go = tmp_path / "reached", tmp_path / "go"
        hook = f"touch {self.reached}; while [ ! -e {self.go} ]; do sleep 0.1; done"
        if repository:
            made = fleet.repository(f"fence-{tmp_path.name[-20:].strip('-_').lower().replace('_', '-')}")
            fleet.call("PUT", f"/api/repositories/{made['id']}", repository)
            repository = {"repository_id": made["id"]}
        self.definition = fleet.backup_job([data], transport="direct", post_hook=hook, hook_seconds=600, **repository)
        self.go.touch()
        fleet.finished(fleet.run(self.definition), "succeeded")
        self.good = fleet.listed(self.definition)
        self.contents = self.extracted()
        entry = fleet.kit_entry(self.definition["repository_id"])
        self.path, self.passphrase = entry["path"], entry["passphrase"]
        self.go.unlink()
        self.reached.unlink()

    @contextlib.contextmanager
    def run(self) -> Iterator[dict[str, Any]]:
        """A run that waits while the attacker is at work, and ends after it."""
        job = self.fleet.run(self.definition)
        until(self.reached.exists, "the run has made its archive", WAIT)
        try:
            yield job
        finally:
            self.go.touch()

    def client(self) -> RawClient:
        """Log in to the storage endpoint with the server's own key and ask for a session."""
        key = self.fleet.server.home / ".ssh" / "borgfleet_ed25519"
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        argv = ["ssh", "-F", "none", "-i", str(key), *(f"-o{option}" for option in options)]
        command = f"borgfleet-{self.definition['repository_id'].replace('-', '')}-{self.epoch()} serve"
        return RawClient([*argv, "-p", str(self.fleet.endpoint_port), f"{login_user()}@127.0.0.1", command])

    def epoch(self) -> str:
        """What stands in the environment of the server's borg while it runs."""
        repository = self.definition["repository_id"].replace("-", "")
        (grant,) = (self.fleet.settings().state_dir / "grants").glob(f"*.{repository}")
        return grant.read_text().split()[0]

    def opened(self) -> RawClient:
        client = self.client()
        client.open(self.path)
        return client

    def attack(self, attack: Callable[[RawClient], None]) -> None:
        """Attack until it was seen: on a slow machine a lease may pass on in the middle, and the session with it."""
        reports = self.fleet.settings().state_dir / "sessions"
        repository = self.definition["repository_id"].replace("-", "")
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            with contextlib.suppress(Gone), self.opened() as client:
                attack(client)
            if list(reports.glob(f"{repository}.*")):
                return
        message = "no attack was seen"
        raise AssertionError(message)

    def extracted(self) -> dict[str, bytes]:
        """Return what the first archive holds."""
        target = self.base / f"extracted-{time.monotonic_ns()}"
        target.mkdir()
        name = next(iter(self.good.values()))
        self.fleet.borg(self.definition, "extract", f"{{repo}}::{name}", cwd=target, base="fresh")
        return {str(f.relative_to(target)): f.read_bytes() for f in target.rglob("*") if f.is_file()}

    def shown(self) -> dict[str, Any]:
        return self.fleet.get(f"/api/repositories/{self.definition['repository_id']}")

    def assert_nothing_is_lost(self) -> None:
        assert self.good.items() <= self.fleet.listed(self.definition).items()
        assert self.extracted() == self.contents != {}

    def assert_told(self, code: str = "hostile_client") -> None:
        """Maintenance is frozen, and an alert raised."""
        shown = self.shown()
        assert shown["frozen_reason"]
        compact = self.fleet.post(f"/api/repositories/{shown['id']}/compact", {})
        assert self.fleet.finished(compact, "failed")["code"] == "repository_frozen"
        about = f"repository:{self.fleet.host['name']}/{shown['name']}"
        until(
            lambda: about in {one["subject"] for one in self.fleet.get("/api/alerts?state=open&limit=500")["items"]},
            "an alert is raised", WAIT,
        )  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_with_the_servers_own_key_loses_nothing_and_is_told(
    fleet: Fleet, data: Path, tmp_path: Path, attack: str
) -> None:
    target = Target(fleet, data, tmp_path)
    with target.run() as job:
        target.attack(ATTACKS[attack])
    ended = fleet.finished(job, "failed")
    assert ended["code"] == "hostile_client", ended
    assert ended["reason"] in fleet.log(job)
    target.assert_nothing_is_lost()
    target.assert_told()


def test_two_sessions_at_once_and_one_held_past_its_lease(fleet: Fleet, data: Path, tmp_path: Path) -> None:
    target = Target(fleet, data, tmp_path)

    def another(_held: RawClient) -> None:
        with target.client() as second:
            second.open(target.path)

    with target.run() as job:
        target.attack(another)
        held = target.opened()
    assert fleet.finished(job, "failed")["code"] == "hostile_client"
    held.process.wait(WAIT)
    held.close()
    assert not fleet.processes("--restrict-to-repository", target.path)
    target.assert_nothing_is_lost()
    target.assert_told()
    fleet.post(f"/api/repositories/{target.definition['repository_id']}/unfreeze", {"reason": "the server is clean"})
    fleet.finished(fleet.run(target.definition), "succeeded", "warning")


def test_a_session_that_is_held_open_ends_with_its_run_and_nothing_waits_long(
    fleet: Fleet, data: Path, tmp_path: Path
) -> None:
    target = Target(fleet, data, tmp_path)
    with target.run() as job:
        held = target.opened()
    fleet.finished(job, "succeeded", "warning")
    with pytest.raises((Gone, RemoteError)):  # its last breath may still be an answer
        for _ in range(3):
            held.call("put", id=b"\1" * 32, data=b"late")
    held.close()
    target.assert_nothing_is_lost()
    assert not target.shown()["frozen_reason"]


def test_a_flood_ends_at_the_repositorys_quota(fleet: Fleet, data: Path, tmp_path: Path) -> None:
    quota = 3 << 20
    target = Target(fleet, data, tmp_path, quota_bytes=quota)
    with target.run() as job, target.opened() as client, pytest.raises(RemoteError, match="StorageQuotaExceeded"):
        for number in range(1, 100):
            client.call("put", id=number.to_bytes(32, "big")[::-1], data=os.urandom(1 << 18))
    fleet.finished(job)
    target.assert_nothing_is_lost()
    fleet.at_rest(target.definition)
    assert sum(f.stat().st_size for f in Path(target.path).rglob("*") if f.is_file()) < 2 * quota


def test_a_manifest_without_archives_is_a_loss_that_is_told_and_all_is_still_there(
    fleet: Fleet, data: Path, tmp_path: Path
) -> None:
    """The manifest alone may be replaced, since each run does; that is why a copy of it is kept outside the pool."""
    target = Target(fleet, data, tmp_path)
    with target.run() as job, target.opened() as client:
        client.call("put", id=MANIFEST, data=forged_manifest(target.path, target.passphrase, tmp_path / "forger"))
        client.call("commit", save_space=False)
    ended = fleet.finished(job, "failed", "warning")
    assert fleet.listed(target.definition) == {}
    assert target.shown()["frozen_reason"], ended
    target.assert_told()
    recovery = fleet.post(f"/api/repositories/{target.shown()['id']}/recover", {"reason": "the intruder is out"})
    fleet.finished(recovery, "succeeded")
    target.assert_nothing_is_lost()
    assert target.shown()["frozen_reason"] == ""
    fleet.finished(fleet.run(target.definition), "succeeded", "warning")


def test_by_the_tunnel_a_second_session_is_refused_and_told(fleet: Fleet, slow_data: Path, tmp_path: Path) -> None:
    definition = fleet.backup_job([slow_data], transport="tunnel", **SLOWLY)
    with held(slow_data):
        job = fleet.run(definition)
        fleet.reading(job)
        path = sockets(fleet, str(slow_data)).pop()
        with socket.socket(socket.AF_UNIX) as attacker:
            attacker.settimeout(WAIT)
            attacker.connect(str(path))
            # Where it is closed before all was sent or read there, that is told as an error.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                attacker.sendall(msgpack.packb({b"i": 1, b"m": b"destroy", b"a": {}}, use_bin_type=False))
                assert attacker.recv(1000) == b""
    ended = fleet.finished(job, "failed")
    assert (ended["code"], "second session" in ended["reason"]) == ("hostile_client", True)
    assert len(fleet.listed(definition)) == 1


def sockets(fleet: Fleet, source: str) -> set[str]:
    """Return the tunnel's sockets of the borgs that read a source, as root there finds them: in their command lines."""
    lines = [" ".join(process.info["cmdline"] or []) for process in fleet.processes("create", source)]
    return {found for line in lines for found in re.findall(r"/tmp/borgfleet-[0-9a-f]+\.sock", line)}
