"""`borgfleet repo accept-restored`: one repository, or all that wait for it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from borgfleet.cli import repository as command

_AT, _LATER = "2026-06-01T02:00:00Z", "2026-06-02T02:00:00Z"


def row(name: str, restored: str | None, accepted: str | None) -> dict[str, Any]:
    return {
        "id": f"id-{name}",
        "server": "web1",
        "name": name,
        "restored_at": restored,
        "restored_accepted_at": accepted,
    }


class FakeClient:
    """Four repositories, of which two wait."""

    asked: ClassVar[list[tuple[str, Any]]] = []

    def every(self, _path: str) -> list[dict[str, Any]]:
        return [row("never", None, None), row("one", _AT, None), row("accepted", _AT, _LATER), row("two", _AT, None)]

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((path, body))
        return row(path.split("/")[3], _AT, _LATER)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    monkeypatch.setattr(command, "Client", FakeClient)
    monkeypatch.setattr(FakeClient, "asked", [])
    return FakeClient.asked


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(command.app, ["accept-restored", *arguments])
    return done.exit_code, done.output


def path(name: str) -> str:
    return f"/api/repositories/id-{name}/accept-restored"


def test_without_a_name_all_that_wait_are_accepted_and_no_other(asked: list[tuple[str, Any]]) -> None:
    status, shown = run("holds are set again")
    assert (status, asked) == (0, [(path(name), {"reason": "holds are set again"}) for name in ("one", "two")])
    assert _LATER[:10] in shown


def test_with_a_name_it_is_that_one_and_a_server_alone_is_too_little(asked: list[tuple[str, Any]]) -> None:
    assert run("all is well", "web1", "two")[0] == 0
    assert asked == [(path("two"), {"reason": "all is well"})]
    assert run("all is well", "web1")[0] != 0
    assert run()[0] != 0
    assert len(asked) == 1
