"""Set-up: host keys, privilege, a bare Debian, and what a server's own key can and cannot do."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.testing.sshd import PrivateSshd, login_user
from tests.harness.commands import said
from tests.harness.fleet import BIN, Fleet
from tests.harness.invariants import assert_invariants, secrets_are_nowhere


@pytest.fixture
def other_server(fleet: Fleet, tmp_path: Path) -> Iterator[PrivateSshd]:
    server = PrivateSshd(tmp_path / "other")
    server.start()
    server.authorize(fleet.get("/api/fleet-key")["public_key"])
    yield server
    server.stop()


def add(fleet: Fleet, sshd: PrivateSshd, **more: object) -> dict:
    body = {"name": f"server{next(fleet.counter)}", "host": sshd.address, "port": sshd.port, "username": login_user()}
    return fleet.post("/api/servers", body | more)


def set_up(fleet: Fleet, server: dict, *states: str) -> dict:
    return fleet.finished(fleet.post(f"/api/servers/{server['id']}/setup"), *states)


def test_an_unknown_host_key_is_shown_approved_and_pinned_and_a_second_setup_changes_nothing(
    fleet: Fleet, other_server: PrivateSshd
) -> None:
    server = add(fleet, other_server)
    refused = set_up(fleet, server, "failed")
    assert refused["code"] == "host_key_unknown"
    assert other_server.fingerprint() in refused["reason"]
    shown = fleet.get(f"/api/servers/{server['id']}")
    assert (shown["state"], shown["offered_fingerprint"]) == ("host_key", other_server.fingerprint())
    wrong = fleet.request("POST", f"/api/servers/{server['id']}/host-key", {"fingerprint": "SHA256:" + "A" * 43})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "fingerprint_not_offered")
    fleet.post(f"/api/servers/{server['id']}/host-key", {"fingerprint": shown["offered_fingerprint"]})
    first = set_up(fleet, server, "succeeded", "warning")
    assert "make key pair" in first["result"]["changed"]
    assert set_up(fleet, server, "succeeded", "warning")["result"]["changed"] == []
    ready = fleet.get(f"/api/servers/{server['id']}")
    assert (ready["state"], ready["host_key_fingerprint"]) == ("ready", other_server.fingerprint())
    assert ready["facts"]["package_manager"]
    private = (other_server.home / ".ssh" / "borgfleet_ed25519").read_text().splitlines()[2]
    secrets_are_nowhere(fleet, [private])  # it never left the server


def test_a_changed_host_key_is_refused_with_both_fingerprints(
    fleet: Fleet, other_server: PrivateSshd, data: Path
) -> None:
    old = other_server.fingerprint()
    server = add(fleet, other_server, approved_fingerprint=old)
    set_up(fleet, server, "succeeded", "warning")
    definition = fleet.backup_job([data], host=server)
    other_server.stop()
    other_server.new_host_key()
    other_server.start()
    new = other_server.fingerprint()
    for job in (set_up(fleet, server, "failed"), fleet.finished(fleet.run(definition), "failed")):
        assert job["code"] in ("host_key_changed", "server_not_ready")
    job = set_up(fleet, server, "failed")
    assert job["code"] == "host_key_changed"
    assert old in job["reason"]
    assert new in job["reason"]
    fleet.post(f"/api/servers/{server['id']}/host-key", {"fingerprint": new})
    set_up(fleet, server, "succeeded", "warning")
    fleet.finished(fleet.run(definition), "succeeded")


def test_a_wrong_approved_fingerprint_never_gets_a_password(fleet: Fleet, other_server: PrivateSshd) -> None:
    server = add(fleet, other_server, approved_fingerprint="SHA256:" + "B" * 43, password="canary-password-27182818")
    job = set_up(fleet, server, "failed")
    assert job["code"] == "host_key_unknown"
    secrets_are_nowhere(fleet, ["canary-password-27182818"])


def test_the_servers_own_key_runs_no_command_and_reaches_nothing_without_a_lease(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data], transport="direct")
    fleet.finished(fleet.run(definition), "succeeded")
    entry = fleet.kit_entry(definition["repository_id"])
    ssh = ["ssh", "-F", "none", "-i", str(fleet.server.home / ".ssh" / "borgfleet_ed25519"), "-oBatchMode=yes",
           "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR",
           f"-p{fleet.endpoint_port}", f"{login_user()}@127.0.0.1"]  # fmt: skip
    for command in ("id", "sh", f"cat {entry['path']}/config", "borg serve", "borgfleet-x;id serve"):
        done = subprocess.run([*ssh, command], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 77, done
        assert done.stdout == ""
    environment = os.environ | {"BORG_PASSPHRASE": entry["passphrase"], "BORG_BASE_DIR": str(fleet.directory / "attacker"),
                                "BORG_RSH": " ".join(ssh[:-1])}  # fmt: skip
    token = f"borgfleet-{definition['repository_id'].replace('-', '')}-1"
    for remote in (token, "borgfleet-probe"):
        done = subprocess.run(
            [str(BIN / "borg"), "--remote-path", remote, "delete",
             f"ssh://{login_user()}@127.0.0.1{entry['path']}::{fleet.backups(definition)[0]['name']}"],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode != 0
    assert_invariants(fleet, definition)


@pytest.mark.slow
def test_a_bare_debian_is_set_up_from_a_password_with_sudo_and_real_apt(fleet: Fleet, scratch: Path) -> None:
    root = _bare_debian(scratch / "debian")
    sshd = _ChrootSshd(root)
    sshd.start()
    password = "canary-bare-debian-1618033"  # its own: tests beside this one have another in their commands
    try:
        server = fleet.post(
            "/api/servers",
            {"name": "bare", "host": "127.0.0.1", "port": sshd.port, "username": "admin", "password": password,
             "approved_fingerprint": sshd.fingerprint()},
        )  # fmt: skip
        secrets_are_nowhere(fleet, [password])
        job = set_up(fleet, server, "succeeded", "warning")
        assert {"install fleet key", "install borg", "make key pair"} <= set(job["result"]["changed"])
        assert job["result"]["facts"]["privilege"] == "sudo"
        assert (root / "root/.ssh/borgfleet_ed25519").stat().st_mode & 0o077 == 0
        assert set_up(fleet, server, "succeeded", "warning")["result"]["changed"] == []
        for transport in ("direct", "tunnel"):
            definition = fleet.backup_job(["/etc"], host=server, transport=transport)
            done = fleet.finished(fleet.run(definition), "succeeded")
            assert done["result"]["files"] > 100
        secrets_are_nowhere(fleet, [password])
    finally:
        sshd.stop()
        subprocess.run(["umount", "-l", str(root / "proc")], check=False, capture_output=True)


class _ChrootSshd(PrivateSshd):
    """The sshd of a Debian in a directory, with passwords by PAM, as on a freshly rented server."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "etc/ssh")
        self.root = root

    @property
    def home(self) -> Path:
        return self.root / "home/admin"

    def command(self, argv: list[str]) -> list[str]:
        (self.root / "etc/ssh/own").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey /etc/ssh/host_key\nUsePAM yes\nPidFile none\n"
            "PasswordAuthentication yes\nPermitRootLogin no\nStrictModes no\n"
        )
        return ["chroot", str(self.root), "/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/own"]


def _bare_debian(root: Path) -> Path:
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("a bare Debian is made by debootstrap, which needs root")
    said(
        ["debootstrap", "--variant=minbase", "--include=openssh-server,sudo,ca-certificates", "bookworm", str(root)]
    )  # fmt: skip
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    for command in (
        ["useradd", "-m", "-s", "/bin/bash", "admin"],
        ["sh", "-c", "echo admin:canary-bare-debian-1618033 | chpasswd"],
        ["sh", "-c", "echo 'admin ALL=(root) NOPASSWD: ALL' >/etc/sudoers.d/admin"],
        ["sh", "-c", "echo 'echo noisy login; echo noisy >&2' >>/home/admin/.bashrc"],
        ["sh", "-c", "mkdir -p /run/sshd && rm -f /etc/apt/sources.list.d/*"],
    ):
        subprocess.run(["chroot", str(root), *command], check=True)
    return root
