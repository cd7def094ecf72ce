"""A repository of plain borg, from the command line that imports it to the first backup that Borgfleet makes there."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.test_restore import by_the_command_line, restored, tree
from tests.harness.fleet import Fleet, until
from tests.harness.patience import WAIT


def plain(repository: Path, base: Path, *arguments: str, cwd: Path | None = None) -> str:
    environment = {
        "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "BORG_BASE_DIR": str(base), "BORG_PASSPHRASE": "correct horse",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }  # fmt: skip
    argv = ["/usr/bin/borg", f"--lock-wait={WAIT:.0f}", *(one.replace("{repo}", str(repository)) for one in arguments)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_taken_in_browsed_restored_taken_over_backed_up_and_never_pruned(
    fleet: Fleet, data: Path, tmp_path: Path
) -> None:
    repository, base = fleet.pool_path / "by-hand" / "old", tmp_path / "base"
    repository.parent.mkdir()
    plain(repository, base, "init", "--encryption=repokey", "{repo}")
    for day in ("monday", "tuesday", "wednesday"):
        plain(repository, base, "create", "{repo}::" + day, ".", cwd=data)
    word = tmp_path / "word"
    word.write_text("correct horse\n")
    argv = (
        "import",
        fleet.host["name"],
        fleet.pool["name"],
        str(repository),
        "--passphrase-file",
        str(word),
        "--name",
        "old",
    )
    done = by_the_command_line(fleet, *argv, verb="repository")
    assert done.returncode == 0, done.stdout + done.stderr
    (known,) = [one for one in fleet.get("/api/repositories?limit=500")["items"] if one["path"] == str(repository)]
    path = f"/api/repositories/{known['id']}"
    assert (known["mode"], known["archive_count"], known["encryption"]) == ("read_only", 3, "repokey")
    every = fleet.get(f"/api/backups?server_id={fleet.host['id']}&limit=500")["items"]
    backups = [one for one in every if one["repository_id"] == known["id"]]
    assert {one["name"] for one in backups} == {"monday", "tuesday", "wednesday"}
    backup = backups[0]

    def listed() -> Any:
        answer = fleet.request("GET", f"/api/backups/{backup['id']}/files?path=deep")
        return [one["name"] for one in answer.json()["items"]] if answer.status_code == 200 else None

    assert "file3" in until(listed, "its files are listed", 5 * WAIT)
    target = tmp_path / "back"
    job = restored(fleet, backup, "succeeded", items=[], target_path=str(target), verify="all")
    assert tree(target) == tree(data), fleet.told(job)
    definition = fleet.backup_job([data], repository_id=known["id"])
    refused = fleet.request("POST", f"/api/backup-jobs/{definition['id']}/run")
    assert (refused.status_code, refused.json()["code"]) == (409, "repository_read_only")
    done = by_the_command_line(fleet, "manage", fleet.host["name"], "old", "cron is off", "--yes", verb="repo")
    assert done.returncode == 0, done.stdout + done.stderr
    managed = fleet.get(path)
    assert (managed["mode"], managed["managed_reason"]) == ("managed", "cron is off")
    fleet.call("PUT", path, {"retention": {"keep_last": 1}})
    fleet.finished(fleet.run(definition), "succeeded")
    fleet.finished(fleet.post(f"{path}/prune", {}), "succeeded")
    fleet.at_rest(definition)
    names = plain(repository, base, "list", "--short", "{repo}").split()
    assert {"monday", "tuesday", "wednesday"} < set(names)
    assert len(names) == 4
    assert fleet.get(path)["frozen_reason"] == ""
