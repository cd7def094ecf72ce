"""`borgfleet tag`, `borgfleet group` and `borgfleet server list --tag`: what is given is what is asked of the API."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from borgfleet.cli import group, server, tag

TAG: dict[str, Any] = {
    "id": "t1", "name": "db", "colour": "", "description": "rows", "version": 1, "servers": 2, "channels": 0,
    "thresholds": 1, "windows": 0, "groups": 0,
}  # fmt: skip
GROUP: dict[str, Any] = {"id": "g1", "name": "dbs", "description": "", "all": ["db"], "any": [], "none": []}


class FakeClient:
    """An API with one tag, one group and one server."""

    asked: ClassVar[list[tuple[Any, ...]]] = []

    def _note(self, *asked: Any) -> None:
        self.asked.append(asked)

    def every(self, path: str, **query: Any) -> list[dict[str, Any]]:
        self._note("get", path, *([query] if query else []))
        if path == "/api/tags":
            return [TAG]
        return [GROUP] if path == "/api/groups" else [{"id": "s1", "name": "web1", "host": "h", "state": "ready"}]

    def named(self, path: str, name: str, what: str) -> dict[str, Any]:
        return {"tag": TAG, "group": GROUP}[what] | {"name": name, "of": path}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._note("post", path, body)
        return TAG | body

    def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._note("patch", path, body)
        return TAG | body

    def delete(self, path: str) -> None:
        self._note("delete", path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    for module in (tag, group, server):
        monkeypatch.setattr(module, "Client", FakeClient)
    monkeypatch.setattr(FakeClient, "asked", [])
    return FakeClient.asked


CASES: tuple[tuple[typer.Typer, str, tuple[Any, ...], str], ...] = (
    (tag.app, "list", ("get", "/api/tags"), "rows"),
    (tag.app, "add env=prod --colour #1f77b4", (
        "post", "/api/tags", {"name": "env=prod", "colour": "#1f77b4", "description": ""}), "env=prod"),
    (tag.app, "change db --rename database", ("patch", "/api/tags/t1", {"name": "database"}), "database"),
    (tag.app, "change db --description x", ("patch", "/api/tags/t1", {"description": "x"}), "x"),
    (tag.app, "remove db", ("delete", "/api/tags/t1"), "forgotten: db"),
    (tag.app, "remove db --from-servers", ("delete", "/api/tags/t1?from_servers=true"), "taken from 2 servers"),
    (group.app, "list", ("get", "/api/groups"), "dbs"),
    (group.app, "add dbs --all db --all eu --none staging", (
        "post", "/api/groups", {"name": "dbs", "all": ["db", "eu"], "none": ["staging"]}), "dbs"),
    (group.app, "servers dbs", ("get", "/api/groups/g1/servers"), "web1"),
    (group.app, "change dbs --any us --rename x", ("patch", "/api/groups/g1", {"any": ["us"], "name": "x"}), "x"),
    (group.app, "remove dbs", ("delete", "/api/groups/g1"), "forgotten: dbs"),
    (server.app, "list --tag db --tag eu", ("get", "/api/servers", {"tag": ["db", "eu"]}), "web1"),
    (server.app, "list", ("get", "/api/servers", {"tag": None}), "web1"),
)  # fmt: skip


@pytest.mark.parametrize(("app", "line", "wanted", "said"), CASES, ids=[line for _, line, _, _ in CASES])
def test_each_verb_asks_for_what_was_given(
    asked: list[tuple[Any, ...]], app: typer.Typer, line: str, wanted: tuple[Any, ...], said: str
) -> None:
    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == 0, done.output
    assert asked == [wanted]
    assert said in done.output


@pytest.mark.parametrize("app", [tag.app, group.app], ids=["tag", "group"])
def test_a_change_of_nothing_is_said_and_not_sent(asked: list[tuple[Any, ...]], app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["change", "x"]).exit_code == 1
    assert CliRunner().invoke(app, ["show", "x", "--json"]).exit_code == 0
    assert asked == []
