"""The database of a running fleet is put back to an older backup: people are told until they accept it, nothing is lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.test_recover import commanded, extracted
from tests.harness.fleet import BIN, Fleet, until
from tests.harness.stage import DatabaseCopy


def operated(fleet: Fleet, *arguments: str, said: str = "") -> str:
    """Run a verb that needs no gateway, as on the machine of the database."""
    done = subprocess.run(
        [str(BIN / "borgfleet"), *arguments],
        env=fleet.environment,
        input=said,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def open_alerts(fleet: Fleet, kind: str) -> set[str]:
    return {one["subject"] for one in fleet.get("/api/alerts?state=open&limit=500")["items"] if one["kind"] == kind}


def files(data: Path) -> dict[str, bytes]:
    return {str(file.relative_to(data)): file.read_bytes() for file in data.rglob("*") if file.is_file()}


def about(fleet: Fleet, definition: dict[str, Any]) -> str:
    name = fleet.get(f"/api/repositories/{definition['repository_id']}")["name"]
    return f"repository:{fleet.host['name']}/{name}"


def test_a_restored_database_raises_its_alert_until_it_is_accepted_and_the_kit_gives_passphrases_back(
    fleet: Fleet, data: Path, tmp_path: Path
) -> None:
    old, young = fleet.backup_job([data]), fleet.backup_job([data])
    fleet.finished(fleet.run(old), "succeeded")
    fleet.at_rest(old)
    rows = DatabaseCopy(fleet.database_url, tmp_path / "database.backup", fleet.maria)
    fleet.rest()
    rows.keep()  # before the first run of one of them: its passphrase, its key and its archive come later
    fleet.ensure_running()

    (data / "night").write_bytes(os.urandom(5000))
    fleet.finished(fleet.run(old), "succeeded")
    fleet.finished(fleet.run(young), "succeeded")
    for definition in (old, young):
        fleet.at_rest(definition)
    listed = {one["id"]: fleet.listed(one) for one in (old, young)}
    passphrase = fleet.kit_entry(young["repository_id"])["passphrase"]
    kit, contents = operated(fleet, "recovery-kit"), files(data)
    fleet.rest()
    rows.put_back()
    fleet.ensure_running()
    assert len(fleet.backups(old)) == 1, "the database is not the older one"
    assert open_alerts(fleet, "database_older") & {about(fleet, old), about(fleet, young)} == set()

    refused = fleet.finished(fleet.run(young), "failed")
    assert (refused["code"], "recovery-kit --import" in refused["remedy"]) == ("passphrase_wrong", True), refused
    ended = fleet.finished(fleet.run(old), "warning")
    assert any("older than the repository" in warning for warning in ended["warnings"]), ended
    assert listed[old["id"]].items() < fleet.listed(old).items()
    assert len(fleet.backups(old)) == 3, "what was made since the backup is on record again"
    until(lambda: about(fleet, old) in open_alerts(fleet, "database_older"), "the alert is raised")

    told = operated(fleet, "recovery-kit", "--import", "-", said=kit)
    assert passphrase in kit
    assert passphrase not in told
    fleet.finished(fleet.run(young), "succeeded", "warning")
    assert listed[young["id"]].items() < fleet.listed(young).items()
    (name,) = listed[young["id"]].values()
    assert extracted(fleet, young, name, data, tmp_path / "out") == contents
    assert fleet.get(f"/api/repositories/{young['repository_id']}")["frozen_reason"] == ""

    for definition in (old, young):
        shown = fleet.get(f"/api/repositories/{definition['repository_id']}")
        assert shown["frozen_reason"] == ""
        if shown["restored_at"]:
            assert about(fleet, definition) in open_alerts(fleet, "database_older")
            commanded(fleet, "repo", "accept-restored", "all is set again", fleet.host["name"], shown["name"])
    until(
        lambda: not open_alerts(fleet, "database_older") & {about(fleet, old), about(fleet, young)}, "the alert is over"
    )
    fleet.finished(fleet.run(old), "succeeded")
    assert about(fleet, old) not in open_alerts(fleet, "database_older")
