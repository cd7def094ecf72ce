"""The list of archives is emptied behind our back: it is noticed, told, and one command brings all of them back."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from shared.borg.segments import MANIFEST
from tests.harness.borg_client import write_behind
from tests.harness.fleet import BIN, Fleet, until
from tests.harness.forger import forged_manifest


def shown(fleet: Fleet, definition: dict[str, Any]) -> dict[str, Any]:
    return fleet.get(f"/api/repositories/{definition['repository_id']}")


def extracted(fleet: Fleet, definition: dict[str, Any], name: str, data: Path, target: Path) -> dict[str, bytes]:
    target.mkdir()
    fleet.borg(definition, "extract", f"{{repo}}::{name}", cwd=target, base=f"reader-{definition['name']}")
    root = target / str(data).lstrip("/")
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def commanded(fleet: Fleet, *arguments: str) -> str:
    where = {"BORGFLEET_URL": str(fleet.http.base_url), "BORGFLEET_TOKEN_FILE": str(fleet.token_file)}
    environment = os.environ | where
    done = subprocess.run(
        [str(BIN / "borgfleet"), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_emptied_manifest_is_noticed_and_one_command_brings_every_archive_back(
    fleet: Fleet, data: Path, tmp_path: Path
) -> None:
    definition = fleet.backup_job([data])
    contents: dict[str, dict[str, bytes]] = {}
    for number in range(3):
        (data / f"night{number}").write_bytes(os.urandom(3000))
        fleet.finished(fleet.run(definition), "succeeded")
        (name,) = {one["name"] for one in fleet.backups(definition)} - contents.keys()
        contents[name] = {str(f.relative_to(data)): f.read_bytes() for f in data.rglob("*") if f.is_file()}
    until(lambda: all(one["proven_at"] for one in fleet.backups(definition)), "all that they added is proven")
    fleet.at_rest(definition)  # or its lock is held yet

    entry = fleet.kit_entry(definition["repository_id"])
    assert entry["key"].startswith("BORG_KEY ")
    sealed = forged_manifest(entry["path"], entry["passphrase"], tmp_path / "intruder")
    write_behind(Path(entry["path"]), {MANIFEST: sealed})
    assert fleet.listed(definition) == {}

    ended = fleet.finished(fleet.run(definition), "warning", "failed")
    assert ended["state"] == "warning", ended
    frozen = shown(fleet, definition)
    assert {one["code"] for one in frozen["frozen_for"]} == {"written_outside", "archives_missing"}
    about = f"repository:{fleet.host['name']}/{frozen['name']}"
    until(
        lambda: about in {one["subject"] for one in fleet.get("/api/alerts?state=open&limit=500")["items"]},
        "an alert is raised",
    )
    fleet.call("PUT", f"/api/repositories/{frozen['id']}", {"retention": {"keep_last": 1}, "prune_after_backup": False})
    prune = fleet.finished(fleet.post(f"/api/repositories/{frozen['id']}/prune", {}), "failed")
    assert prune["code"] == "repository_frozen"

    preview = commanded(fleet, "repo", "recover", fleet.host["name"], frozen["name"], "--preview", "--json")
    assert {one["name"] for one in json.loads(preview)["comes_back"]} == contents.keys()
    commanded(fleet, "repo", "recover", fleet.host["name"], frozen["name"], "the intruder is out")
    freed = shown(fleet, definition)
    assert (freed["frozen_reason"], freed["unfrozen_reason"]) == ("", "recovered: the intruder is out")
    assert contents.keys() <= set(fleet.listed(definition).values())
    for number, (name, expected) in enumerate(contents.items()):
        assert extracted(fleet, definition, name, data, tmp_path / f"out{number}") == expected
    fleet.borg(definition, "check", "--verify-data", "{repo}")

    fleet.finished(fleet.run(definition), "succeeded")
    prune = fleet.finished(
        fleet.post(f"/api/repositories/{frozen['id']}/prune", {"override_deletion_limit": True}), "succeeded"
    )
    assert prune["result"]["kept"] >= 1
    assert shown(fleet, definition)["frozen_reason"] == ""
    until(
        lambda: about not in {one["subject"] for one in fleet.get("/api/alerts?state=open&limit=500")["items"]},
        "the alert is over",
    )
