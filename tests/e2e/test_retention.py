"""Schedules and retention on the running fleet; and a server that turns against its own backups."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shared.testing.sshd import login_user
from tests.harness.fleet import BIN, Fleet, until
from tests.harness.invariants import assert_invariants
from tests.harness.patience import WAIT


def keep(fleet: Fleet, definition: dict[str, Any], **policy: int) -> str:
    path = f"/api/repositories/{definition['repository_id']}"
    fleet.call("PUT", path, {"retention": policy, "prune_after_backup": False})
    return path


def backed_up(fleet: Fleet, definition: dict[str, Any], count: int) -> list[dict[str, Any]]:
    for _ in range(count):
        fleet.finished(fleet.run(definition), "succeeded")
    return sorted(fleet.backups(definition), key=lambda backup: backup["created_at"])


def test_a_prune_deletes_what_its_preview_said_and_borg_agrees(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    made = backed_up(fleet, definition, 4)
    fleet.call("PUT", f"/api/backups/{made[0]['id']}/hold", {"reason": "audit"})
    path = keep(fleet, definition, keep_last=2)
    preview = fleet.post(f"{path}/retention/preview", {"keep_last": 2})
    assert {one["name"]: one["kept_by"] for one in preview["backups"]} == {
        made[3]["name"]: "last 1", made[2]["name"]: "last 2", made[1]["name"]: None, made[0]["name"]: "held",
    }  # fmt: skip
    ended = fleet.finished(fleet.post(f"{path}/prune", {}), "succeeded")
    assert ended["result"] == {"deleted": 1, "kept": 3}
    assert sorted(fleet.listed(definition).values()) == sorted(one["name"] for one in made if one is not made[1])
    assert_invariants(fleet, definition)


def test_a_scheduled_run_is_made_by_itself_and_pruned_after(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    fleet.call("PUT", f"/api/repositories/{definition['repository_id']}", {"retention": {"keep_last": 1}})
    backed_up(fleet, definition, 1)
    soon = (datetime.now(UTC) + timedelta(seconds=90)).replace(second=0)
    body = {key: definition[key] for key in ("name", "server_id", "repository_id", "sources")}
    when = {"kind": "cron", "expression": f"{soon.minute} {soon.hour} * * *"}
    changed = fleet.call("PUT", f"/api/backup-jobs/{definition['id']}", body | {"schedules": [{"when": when}]})
    assert changed["schedules"][0]["next_run_at"].startswith(f"{soon:%Y-%m-%dT%H:%M}:00")
    jobs = f"/api/jobs?backup_job_id={definition['id']}"
    run = until(lambda: found[0] if len(found := fleet.get(jobs)["items"]) == 2 else None, "it is made", 5 * WAIT)
    fleet.finished(run, "succeeded")
    begun = datetime.fromisoformat(run["created_at"])
    assert timedelta(0) <= begun - soon.replace(microsecond=0) < timedelta(seconds=WAIT)
    until(lambda: len(fleet.listed(definition)) == 1, "the older one is pruned")
    fleet.call("PUT", f"/api/backup-jobs/{definition['id']}", body | {"schedules": []})
    until(lambda: not _pruning(fleet, definition), "the prune has ended")
    assert_invariants(fleet, definition)


def _pruning(fleet: Fleet, definition: dict[str, Any]) -> bool:
    jobs = fleet.get("/api/jobs?limit=50")["items"]
    mine = [job for job in jobs if job["repository_id"] == definition["repository_id"]]
    return any(job["state"] in ("queued", "running") for job in mine)


def test_a_server_that_deletes_and_forges_with_its_own_key_destroys_nothing_and_is_noticed(
    fleet: Fleet, data: Path, tmp_path: Path
) -> None:
    """During a run the server's key opens its repository: the attacker sits in a hook, as root on the server would."""
    attack = tmp_path / "attack.sh"
    definition = fleet.backup_job([data], transport="direct", post_hook=f"sh {attack}")
    attack.write_text("exit 0\n")
    first, *genuine = backed_up(fleet, definition, 4)
    # A compaction after the last backup: what it wrote stands in no append-only log, and must not be taken back.
    fleet.finished(fleet.call("DELETE", f"/api/backups/{first['id']}"), "succeeded")
    path = keep(fleet, definition, keep_daily=3, keep_last=3)
    entry = fleet.kit_entry(definition["repository_id"])
    hex_id = definition["repository_id"].replace("-", "")
    url = f"ssh://{login_user()}@127.0.0.1:{fleet.endpoint_port}{entry['path']}"
    key = fleet.server.home / ".ssh" / "borgfleet_ed25519"
    attack.write_text(
        f"""
export BORG_PASSPHRASE='{entry["passphrase"]}' BORG_BASE_DIR={tmp_path}/attacker TZ=UTC
export BORG_RSH='ssh -F none -i {key} -oBatchMode=yes -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null'
for number in $(seq 1 60); do
  remote=borgfleet-{hex_id}-$number
  {BIN}/borg --remote-path $remote list '{url}' >>{tmp_path}/out 2>&1 && break
done
{BIN}/borg --remote-path $remote delete '{url}::{genuine[0]["name"]}' >>{tmp_path}/out 2>&1
{BIN}/borg --remote-path $remote delete '{url}::{genuine[1]["name"]}' >>{tmp_path}/out 2>&1
for year in 2097 2098 2099; do
  {BIN}/borg --remote-path $remote create --timestamp $year-01-01T00:00:00 '{url}::poison'$year {data} >>{tmp_path}/out 2>&1
done
{BIN}/borg --remote-path $remote compact '{url}' >>{tmp_path}/out 2>&1
exit 0
"""
    )
    ended = fleet.finished(fleet.run(definition), "failed")
    names = set(fleet.listed(definition).values())
    assert {"poison2097", "poison2098", "poison2099"} <= names, (tmp_path / "out").read_text()[-2000:]
    assert {one["name"] for one in genuine} <= names
    # Somebody is told, and nothing may be pruned or compacted any more.
    assert (ended["code"], "delete of an object from before" in ended["reason"]) == ("hostile_client", True)
    repository = next(one for one in fleet.get("/api/repositories?limit=500")["items"] if one["id"] == entry["id"])
    refused = fleet.finished(fleet.post(f"{path}/prune", {}), "failed")
    assert refused["code"] == "repository_frozen"
    about = f"repository:{fleet.host['name']}/{repository['name']}"
    until(
        lambda: about in {one["subject"] for one in fleet.get("/api/alerts?state=open&limit=500")["items"]},
        "an alert is raised",
    )  # fmt: skip
    fleet.borg(definition, "check", "--verify-data", "{repo}", base="fresh")
    fleet.post(f"{path}/unfreeze", {"reason": "the server was cleaned"})
    attack.write_text("exit 0\n")
    fleet.finished(fleet.run(definition), "succeeded", "warning")
    fleet.finished(fleet.post(f"{path}/prune", {}), "succeeded", "warning")
    # Forged years count for nothing: what we saw made stays, by when we saw it.
    assert {one["name"] for one in genuine[-2:]} <= set(fleet.listed(definition).values())


def test_a_repository_that_was_rolled_back_is_frozen_and_heard_of(fleet: Fleet, data: Path, tmp_path: Path) -> None:
    definition = fleet.backup_job([data])
    backed_up(fleet, definition, 1)
    path = keep(fleet, definition, keep_last=1)
    repository = fleet.at_rest(definition)
    shutil.copytree(repository, tmp_path / "older")
    backed_up(fleet, definition, 2)
    fleet.at_rest(definition)
    shutil.rmtree(repository)
    shutil.copytree(tmp_path / "older", repository)
    job = fleet.finished(fleet.run(definition), "failed")
    assert (job["code"], job["attempt"]) == ("repository_rolled_back", 1)
    shown = next(one for one in fleet.get("/api/repositories?limit=500")["items"] if one["path"] == str(repository))
    assert shown["frozen_reason"] == job["reason"]
    assert fleet.finished(fleet.post(f"{path}/prune", {}), "failed")["code"] == "repository_frozen"
    about = f"repository:{fleet.host['name']}/{shown['name']}"
    until(
        lambda: about in {one["subject"] for one in fleet.get("/api/alerts?state=open&limit=500")["items"]},
        "an alert is raised",
    )  # fmt: skip
