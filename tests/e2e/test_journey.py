"""The main journey, through services of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import SLOWLY
from tests.harness.fleet import Fleet
from tests.harness.held import held
from tests.harness.invariants import OneWriter, assert_invariants, secrets_are_nowhere


def assert_browsed(fleet: Fleet, backup: dict[str, Any], data: Path) -> None:
    """What the backup holds is listed as it lay on the server, from its root down; nothing stays in the pool."""
    first = fleet.get(f"/api/backups/{backup['id']}/files")["items"]
    assert [row["name"] for row in first] == [data.parts[1]]
    page = fleet.get(f"/api/backups/{backup['id']}/files?path={data}&limit=500")
    assert page["source"] == "archive"
    there = {path.name: "directory" if path.is_dir() else "file" for path in data.iterdir()}
    assert {row["name"]: row["type"] for row in page["items"]} == there
    assert all(row["size"] == (data / row["name"]).stat().st_size for row in page["items"] if row["type"] == "file")


@pytest.mark.parametrize("transport", ["tunnel", "direct"])
def test_a_server_is_backed_up_and_every_byte_comes_back(fleet: Fleet, data: Path, transport: str) -> None:
    definition = fleet.backup_job([data], transport=transport)
    with OneWriter(fleet):
        job = fleet.finished(fleet.run(definition), "succeeded")
    assert job["result"]["files"] == 21
    backup = fleet.backups(definition)[0]
    assert (backup["files"], backup["state"]) == (21, "succeeded")
    assert backup["title"] == f"host1 - repo-{definition['name']}"
    assert job["progress"]["done"] is False or job["progress"]["phase"] == "verifying"
    repository = next(
        r for r in fleet.get("/api/repositories?limit=500")["items"] if r["id"] == definition["repository_id"]
    )
    assert repository["archive_count"] == 1
    assert repository["original_size"] > 40_000
    assert_browsed(fleet, backup, data)
    assert_invariants(fleet, definition)


def test_a_second_run_is_deduplicated_and_a_deletion_frees_and_forgets(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    second = fleet.finished(fleet.run(definition), "succeeded")
    assert second["result"]["deduplicated_size"] < second["result"]["original_size"] / 10
    newest, oldest = fleet.backups(definition)
    deleted = fleet.finished(fleet.call("DELETE", f"/api/backups/{oldest['id']}"), "succeeded")
    assert deleted["result"]["archive"] == oldest["name"]
    assert [b["id"] for b in fleet.backups(definition)] == [newest["id"]]
    again = fleet.request("DELETE", f"/api/backups/{oldest['id']}")
    assert again.status_code == 404
    assert_invariants(fleet, definition)


@pytest.mark.parametrize("transport", ["tunnel", "direct"])
def test_no_secret_is_in_a_log_a_message_argv_or_the_database_while_borg_runs_and_after(
    fleet: Fleet, slow_data: Path, transport: str
) -> None:
    definition = fleet.backup_job([slow_data], transport=transport, **SLOWLY)
    with held(slow_data):
        job = fleet.run(definition)
        fleet.reading(job)
        secrets = [
            fleet.kit_entry(definition["repository_id"])["passphrase"], fleet.token_file.read_text(),
            "OPENSSH PRIVATE KEY",
        ]  # fmt: skip
        assert fleet.processes("borg create", str(slow_data))
        secrets_are_nowhere(fleet, secrets)
    fleet.finished(job, "succeeded")
    secrets_are_nowhere(fleet, secrets)
