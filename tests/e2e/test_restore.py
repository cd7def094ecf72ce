"""Restores through services of their own, onto a real sshd."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness.fleet import Fleet


def tree(root: Path) -> dict[str, tuple[Any, ...]]:
    """Return all that is to be the same of everything below a directory."""
    found: dict[str, tuple[Any, ...]] = {}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(directory) / name
            stat = path.lstat()
            content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            found[str(path.relative_to(root))] = (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime_ns, content)
    return found


def restored(fleet: Fleet, backup: dict[str, Any], *states: str, **body: Any) -> dict[str, Any]:
    """Restore, and wait for its end."""
    return fleet.finished(fleet.post(f"/api/backups/{backup['id']}/restores", body), *states)


@pytest.mark.parametrize("transport", ["tunnel", "direct"])
def test_a_directory_comes_back_to_another_place_with_every_byte_and_its_metadata(
    fleet: Fleet, data: Path, tmp_path: Path, transport: str
) -> None:
    definition = fleet.backup_job([data], transport=transport)
    fleet.finished(fleet.run(definition), "succeeded")
    target = tmp_path / "new" / "place"
    item = str(data / "deep").lstrip("/")
    job = restored(fleet, fleet.backups(definition)[0], "succeeded",
                   items=[{"path": item}], target_path=str(target), verify="all")  # fmt: skip
    assert tree(target) == tree(data), fleet.told(job)
    assert job["result"]["verified"]["hashed"] == 21
    assert list(target.parent.glob(".borgfleet-restore-*")) == [], "the staging directory stayed"
    assert not list(fleet.pool_path.glob(".borgfleet-views/*")), "the view stayed"


def by_the_command_line(fleet: Fleet, *arguments: str, verb: str = "restore") -> subprocess.CompletedProcess[str]:
    argv = [str(Path(sys.executable).parent / "borgfleet"), verb, *arguments]
    environment = fleet.environment | {"BORGFLEET_TOKEN": fleet.token_file.read_text(),
                                       "BORGFLEET_URL": str(fleet.http.base_url)}  # fmt: skip
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_swapped_by_the_command_line_only_after_a_yes(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    was = tree(data)
    (data / "deep" / "file3").write_text("mine")
    argv = [fleet.backups(definition)[0]["id"], str(data / "deep").lstrip("/"), "--mode", "swap"]
    unanswered = by_the_command_line(fleet, *argv)
    assert unanswered.returncode != 0
    assert "already there: 1\n  deep\n" in unanswered.stderr, unanswered.stderr
    assert (data / "deep" / "file3").read_text() == "mine"
    done = by_the_command_line(fleet, *argv, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: what for name, what in tree(data).items() if ".before-restore-" not in name} == was
    (aside,) = data.glob("deep.before-restore-*")
    assert (aside / "file3").read_text() == "mine"


@pytest.mark.parametrize("transport", ["tunnel", "direct"])
def test_a_swap_is_undone_by_the_command_line_only_after_a_yes(fleet: Fleet, data: Path, transport: str) -> None:
    definition = fleet.backup_job([data], transport=transport)
    fleet.finished(fleet.run(definition), "succeeded")
    (data / "deep" / "file3").write_text("mine")
    (data / "deep" / "file4").unlink()
    was = tree(data)
    argv = [fleet.backups(definition)[0]["id"], str(data / "deep").lstrip("/"), "--mode", "swap", "--yes"]
    swapped = by_the_command_line(fleet, *argv)
    assert swapped.returncode == 0, swapped.stdout + swapped.stderr
    (verb,) = [line.partition("borgfleet ")[2].split() for line in swapped.stdout.splitlines() if "to undo it" in line]
    assert by_the_command_line(fleet, *verb[1:], verb=verb[0]).returncode != 0
    assert len(list(data.glob("deep.before-restore-*"))) == 1
    undone = by_the_command_line(fleet, *verb[1:], "--yes", verb=verb[0])
    assert undone.returncode == 0, undone.stdout + undone.stderr
    assert "1 put back, 1 set aside" in undone.stdout
    assert {name: what for name, what in tree(data).items() if ".restored-" not in name} == was
    again = by_the_command_line(fleet, *verb[1:], "--yes", verb=verb[0])
    assert "undone already" in again.stdout + again.stderr
    assert again.returncode != 0


def test_by_the_command_line_and_what_is_there_is_not_touched(fleet: Fleet, data: Path, tmp_path: Path) -> None:
    definition = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    backup = fleet.backups(definition)[0]
    target = tmp_path / "place"
    done = by_the_command_line(fleet, backup["id"], "--to", str(target))
    assert done.returncode == 0, done.stdout + done.stderr
    assert tree(target / str(data).lstrip("/")) == tree(data)
    (target / "mine").write_text("kept")
    job = restored(fleet, backup, "failed", target_path=str(target))
    assert job["code"] == "target_exists", fleet.told(job)
    assert (target / "mine").read_text() == "kept"
