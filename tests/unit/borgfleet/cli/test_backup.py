"""`borgfleet backup`: what is doubtful is shown as that, with the way to accept it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from borgfleet.cli import backup as command

DOUBTFUL: dict[str, Any] = {
    "id": "0b-17", "title": "web1 - system", "state": "warning", "started_at": "2026-06-01T02:00:00+00:00",
    "files": 0, "original_size": 0, "deduplicated_size": 0, "held_reason": None, "good": False, "doubtful": True,
    "accepted_at": None,
    "reasons": [{"code": "source_emptied", "weight": "doubt", "text": "The source /srv is empty [see it]."}],
}  # fmt: skip


class FakeClient:
    """An API with one doubtful backup, a good one and a failed one."""

    asked: ClassVar[list[tuple[Any, ...]]] = []

    def every(self, path: str, **query: Any) -> list[dict[str, Any]]:
        self.asked.append((path, query.get("trust")))
        good = DOUBTFUL | {"id": "0a-16", "good": True, "doubtful": False}
        failed = DOUBTFUL | {"id": "0c-18", "doubtful": False}
        return [DOUBTFUL, good, failed, good | {"id": "0d-19", "accepted_at": "2026-06-02T02:00:00+00:00"}]

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((path, body))
        return DOUBTFUL


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    monkeypatch.setattr(command, "Client", FakeClient)
    monkeypatch.setattr(FakeClient, "asked", [])
    return FakeClient.asked


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(command.app, [*arguments])
    return done.exit_code, done.output


def test_lists_say_what_can_be_relied_on_and_are_filtered(asked: list[tuple[Any, ...]]) -> None:
    status, shown = run("list", "--doubtful")
    assert (status, asked) == (0, [("/api/backups", "doubtful")])
    words = [line.split()[5] for line in shown.splitlines()[1:]]  # after id, title of three words and state
    assert words == ["doubtful", "good", "no", "accepted"]
    assert run("list", "--doubtful", "--good")[0] != 0


def test_a_doubtful_backup_names_its_reasons_and_the_way_to_accept_it(asked: list[tuple[Any, ...]]) -> None:
    status, shown = run("show", "17")
    assert status == 0
    assert "The source /srv is empty [see it]." in shown
    assert "borgfleet backup accept 0b-17 REASON" in shown
    assert "accept" not in run("show", "16")[1].replace("accepted", "")
    assert asked


def test_a_backup_is_accepted_with_a_reason(asked: list[tuple[Any, ...]]) -> None:
    status, shown = run("accept", "17", "moved to web2")
    assert (status, asked[-1]) == (0, ("/api/backups/0b-17/accept", {"reason": "moved to web2"}))
    assert shown.startswith("accepted: web1 - system")
    assert run("accept", "17")[0] != 0
    assert run("accept", "99", "why")[0] != 0
