"""`borgfleet approval`, what waits for a second person, and an export that has to be whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from borgfleet.cli.app import app
from borgfleet.cli.failing import EXIT_FAILED, EXIT_WAITS

WAITS: dict[str, Any] = {
    "id": "a1", "kind": "delete_backup", "noun": "backups", "target_name": "web1-1", "requested_by": "ada",
    "requested_at": "2026-11-27T12:00:00+00:00", "state": "asked", "decided_by": "", "secret": None,
}  # fmt: skip
END = '{"kind": "end", "seals": 1, "last_seal": 1, "rows": 1}\n'


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the API answers, by method and path, and what it was asked."""
    told: dict[str, Any] = {"asked": []}
    made = httpx2.Client

    def handle(request: httpx2.Request) -> httpx2.Response:
        told["asked"].append((request.method, request.url.path, request.content.decode()))
        answer = told[f"{request.method} {request.url.path}"]
        return httpx2.Response(200, content=iter([answer.encode()])) if isinstance(answer, str) else answer

    def client(**options: Any) -> httpx2.Client:
        return made(**options, transport=httpx2.MockTransport(handle))

    monkeypatch.setattr("borgfleet.cli.client.httpx2.Client", client)
    monkeypatch.setenv("BORGFLEET_TOKEN", "bf_test")
    return told


def waiting(**changed: Any) -> httpx2.Response:
    return httpx2.Response(202, json=WAITS | changed, headers={"Location": "/api/approvals/a1"})


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_what_waits_for_a_second_person_is_not_taken_for_done(api: dict[str, Any]) -> None:
    api["DELETE /api/backups/b1"] = waiting()
    backup = {"id": "b1", "name": "web1-1", "title": "web1 - system", "server": "web1", "repository": "system"}
    api["GET /api/backups"] = httpx2.Response(200, json={"items": [backup], "next": None})
    api["GET /api/backups/b1"] = httpx2.Response(200, json=backup)
    ended = run("backup", "delete", "b1", "--yes")
    assert ended.exit_code == EXIT_WAITS, ended.output
    assert "approval a1" in ended.output.replace("\n", " ")


def test_a_secret_that_works_once_it_was_agreed_to_is_shown(api: dict[str, Any]) -> None:
    api["POST /api/tokens"] = waiting(kind="make_token", secret="bf_shown_once")
    ended = run("token", "add", "monitor", "--user", "eve")
    assert ended.exit_code == EXIT_WAITS, ended.output
    assert "bf_shown_once" in ended.stdout


def test_an_ordinary_task_is_not_taken_for_an_approval(api: dict[str, Any]) -> None:
    job = {"id": "j1", "title": "t", "state": "queued", "type": "repository_prune"}
    api["GET /api/approvals"] = httpx2.Response(202, json={"items": [], "next": None} | job)
    assert run("approval", "list").exit_code == 0


def test_a_token_that_agrees_is_told_who_can(api: dict[str, Any]) -> None:
    problem = {"status": 403, "code": "approval_by_token", "detail": "an API token cannot agree", "remedy": "log in"}
    for verb in ("approve", "reject"):
        api[f"POST /api/approvals/a1/{verb}"] = httpx2.Response(403, json=problem)
        ended = run("approval", verb, "a1", "--note", "seen")
        assert ended.exit_code == EXIT_FAILED
        assert "an API token cannot agree" in ended.output
        assert json.loads(api["asked"][-1][2]) == {"note": "seen"}


def test_approvals_are_listed_shown_and_withdrawn(api: dict[str, Any]) -> None:
    api["GET /api/approvals"] = httpx2.Response(200, json={"items": [WAITS], "next": None})
    api["GET /api/approvals/a1"] = httpx2.Response(200, json=WAITS)
    api["POST /api/approvals/a1/withdraw"] = httpx2.Response(200, json=WAITS | {"state": "withdrawn"})
    assert json.loads(run("approval", "list", "--state", "asked", "--json").stdout)[0]["id"] == "a1"
    assert json.loads(run("approval", "show", "a1", "--json").stdout)["kind"] == "delete_backup"
    assert json.loads(run("approval", "withdraw", "a1", "--json").stdout)["state"] == "withdrawn"


def test_an_export_that_broke_off_leaves_no_file(api: dict[str, Any], tmp_path: Path) -> None:
    whole = '{"kind": "entry"}\n{"kind": "seal"}\n' + END
    file = tmp_path / "audit.ndjson"
    for text in ("", "{}", whole[: -len(END)], whole[:-20], END + "{}\n"):
        api["GET /api/audit/export"] = text
        ended = run("audit", "export", "--output", str(file))
        assert ended.exit_code == EXIT_FAILED, text
        assert list(tmp_path.iterdir()) == []
    api["GET /api/audit/export"] = whole
    assert run("audit", "export", "--output", str(file)).exit_code == 0
    assert file.read_text() == whole
    assert run("audit", "export").stdout == whole
