"""Downloads through services of their own and nats-server, to the command line: whole, or not there at all."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import httpx2
import pytest

from tests.harness.fleet import Fleet, until
from tests.harness.patience import WAIT

LARGE = 64 * 1024 * 1024


def by_the_command_line(fleet: Fleet, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [str(Path(sys.executable).parent / "borgfleet"), "backup", "download", *arguments]
    environment = fleet.environment | {"BORGFLEET_TOKEN": fleet.token_file.read_text(),
                                       "BORGFLEET_URL": str(fleet.http.base_url)}  # fmt: skip
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_files_come_whole_to_the_command_line(fleet: Fleet, data: Path, tmp_path: Path) -> None:
    definition = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    backup = fleet.backups(definition)[0]["id"]
    one = str(data / "deep" / "er" / "é ü.txt").lstrip("/")
    done = by_the_command_line(fleet, backup, one, "--format", "file", "-o", str(tmp_path / "one"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "one").read_text() == "ärger"
    done = by_the_command_line(fleet, backup, str(data).lstrip("/"), "--format", "tar", "-o", str(tmp_path / "a.tar"))
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "a.tar") as tar:
        for number in range(20):
            path = data / "deep" / f"file{number}"
            file = tar.extractfile(str(path).lstrip("/"))
            assert file is not None
            assert file.read() == path.read_bytes()
    missing = by_the_command_line(fleet, backup, "no/such/file", "--format", "file", "-o", str(tmp_path / "none"))
    assert missing.returncode == 1
    assert not (tmp_path / "none").exists()
    until(lambda: not list(fleet.pool_path.glob(".borgfleet-views/*")), "the view stayed")


def test_a_node_that_dies_amid_it_breaks_the_connection_and_borg_ends(fleet: Fleet, data: Path) -> None:
    (data / "large").write_bytes(os.urandom(LARGE))
    definition = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    backup = fleet.backups(definition)[0]["id"]
    body = {"items": [{"path": str(data / "large").lstrip("/")}], "format": "file"}
    url = fleet.post(f"/api/backups/{backup}/downloads", body)["url"]
    with httpx2.Client(base_url=fleet.http.base_url, timeout=2 * WAIT) as client:
        came = 0
        with pytest.raises(httpx2.HTTPError), client.stream("GET", url) as answer:
            assert answer.status_code == 200
            for block in answer.iter_raw():
                if not came:
                    fleet.services["backup"].kill()
                came += len(block)
    assert 0 < came < LARGE
    until(lambda: not fleet.processes("export_archive.py"), "borg went on", 3 * WAIT)
    assert "download_broken" in fleet.logs()
    fleet.ensure_running()
