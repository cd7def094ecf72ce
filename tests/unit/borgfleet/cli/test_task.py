"""`borgfleet task`: the kinds are those that the server names, and a list can be narrowed to one of them."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from borgfleet.cli import task as command

NEW = {"type": "from_a_newer_server", "label": "Something new", "phases": [{"name": "one", "unit": ""}, {"name": "two", "unit": "bytes"}]}  # fmt: skip


class FakeClient:
    """An API of a newer version."""

    asked: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def get(self, path: str, **query: Any) -> Any:
        self.asked.append((path, query))
        return [NEW] if path == "/api/job-kinds" else {"items": []}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr(command, "Client", FakeClient)
    monkeypatch.setattr(FakeClient, "asked", [])
    done = CliRunner().invoke(command.app, [*arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_kinds_are_asked_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run(monkeypatch, "kinds")
    assert "Something new" in shown
    assert "one, two" in shown
    assert json.loads(run(monkeypatch, "kinds", "--json")) == [NEW]


def test_a_list_is_narrowed_by_type_and_state(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "list", "--type", "repository_check", "--state", "failed")
    assert FakeClient.asked == [("/api/jobs", {"state": "failed", "type": "repository_check", "limit": 30})]
