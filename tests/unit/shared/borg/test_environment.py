from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from shared.borg.environment import Endpoint, as_argv, location, on_node, on_server, relay_command, ssh_command

ENDPOINT = Endpoint("node1", "192.0.2.1", 2222, "borg")


def test_the_url_is_the_same_by_every_route_so_that_borg_never_takes_it_for_moved() -> None:
    assert location(ENDPOINT.alias, "/opt/backups/a/b") == "ssh://node1/opt/backups/a/b"


def test_ssh_trusts_our_key_file_alone() -> None:
    words = shlex.split(ssh_command(ENDPOINT, "/root/.ssh/key", "/root/.ssh/known"))
    assert words[:2] == ["sh", "-c"]
    assert words[4:7] == ["ssh", "-F", "none"]
    for option in ("-oStrictHostKeyChecking=yes", "-oUserKnownHostsFile=/root/.ssh/known", "-oHostKeyAlias=node1",
                   "-oHostName=192.0.2.1", "-oPort=2222", "-oUser=borg", "-oBatchMode=yes"):  # fmt: skip
        assert option in words


def test_the_relay_survives_borgs_own_splitting() -> None:
    words = shlex.split(relay_command("/tmp/x.sock"))
    assert words[0] == "sh"
    assert words[-1] == "/tmp/x.sock"
    compile(words[-2], "relay", "exec")


@pytest.mark.parametrize("status", [0, 1, 255])
def test_a_peer_that_fails_keeps_borgs_ends_open_until_its_reason_was_read(tmp_path: Path, status: int) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$5"; echo why >&2; exit {status}\n')
    ssh.chmod(0o755)
    argv = shlex.split(ssh_command(ENDPOINT, "/a b/key", "/root/.ssh/known"))
    begun = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": f"{tmp_path}:{os.defpath}"})
    assert (done.returncode, done.stdout, done.stderr) == (status, "-oIdentityFile=/a b/key\n", "why\n")
    assert status == 0 or time.monotonic() - begun >= 1


def test_no_environment_holds_a_passphrase() -> None:
    for environment in (on_server("ssh", "grant"), on_node("/base", "host")):
        assert "BORG_PASSPHRASE" not in environment
        assert environment["TZ"] == "UTC"
    assert as_argv({"A": "b c"}) == ["env", "A=b c"]
    assert on_server("ssh", "g-1")["BORG_REMOTE_PATH"] == "borgfleet-g-1"


def test_the_nodes_borg_was_tried_at_the_start_and_a_servers_tries_itself() -> None:
    assert on_node("/base", "host")["BORG_SELFTEST"] == "disabled"
    assert "BORG_SELFTEST" not in on_server("ssh", "g")


def test_each_backup_job_has_a_files_cache_of_its_own() -> None:
    assert on_server("ssh", "g", files_cache="abc")["BORG_FILES_CACHE_SUFFIX"] == "abc"
    assert "BORG_FILES_CACHE_SUFFIX" not in on_server("ssh", "g")
