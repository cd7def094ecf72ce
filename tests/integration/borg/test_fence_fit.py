"""Whether the fence fits this borg, and that its check would find a hole in it: within this process."""

from __future__ import annotations

import importlib
import inspect
import json
import os
from pathlib import Path
from typing import Any

import pytest

from shared.borg import fence


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The fence's check of borg, in this process; borg's own classes are put back."""
    monkeypatch.syspath_prepend(str(Path(fence.__file__).parent))
    remote = importlib.import_module("borg.remote")
    monkeypatch.setattr(remote, "Repository", remote.Repository)
    return fence._beside("fence_check")


def test_this_borg_fits(examined: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fence.main(["check"])
    assert json.loads(capsys.readouterr().out) == {"borg": "1.4.5", "wrong": []}


@pytest.mark.parametrize("sound", [True, False])
def test_a_node_serves_nothing_by_a_borg_that_computes_wrongly(
    examined: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, sound: bool
) -> None:
    monkeypatch.delenv("BORG_SELFTEST", raising=False)
    if not sound:
        crypto = importlib.import_module("borg.testsuite.crypto")
        monkeypatch.setattr(crypto, "bytes_to_long", lambda *_: 0)
    fence.main(["check"])
    wrong = json.loads(capsys.readouterr().out)["wrong"]
    assert wrong == (
        [] if sound else ["its self-test failed: borg, its packages or this machine's hardware are damaged"]
    )


@pytest.mark.parametrize("version", ["1.4.4", "1.2.9", "1.5.0", "2.0.0"])
def test_another_version_does_not(examined: Any, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(examined, "VERSION", version)
    assert examined.differences() == [f"version {version}, not 1.4.5 or a later 1.4"]


def test_the_lines_that_are_looked_into_are_those_of_the_function(examined: Any) -> None:
    for function, _ in examined._SAID:
        assert inspect.getsource(function).startswith(examined._source_of(function))
        assert examined._source_of(function).count("\n") > 5


@pytest.mark.parametrize("content", [None, b"", b"\n" * 9, b"\xff" * 99, b"def serve(self):\n" * 9999])
def test_a_borg_whose_source_is_missing_or_another_does_not(
    examined: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    def serve() -> None: ...

    elsewhere = tmp_path / "remote.py"
    if content is not None:
        elsewhere.write_bytes(content)
    code = examined._Server.serve.__code__.replace(co_filename=str(elsewhere))
    monkeypatch.setattr(serve, "__code__", code)
    monkeypatch.setattr(examined, "_SAID", ((serve, "if method not in self.rpc_methods:"),))
    assert "lacks 'if method not in self.rpc_methods:'" in examined.differences()[0]


def test_a_changed_signature_a_changed_loop_and_another_manifest_are_named(
    examined: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examined._Repository, "put", lambda: None)
    monkeypatch.setattr(examined, "_SAID", ((examined._Server.serve, "if method not in self.allowed:"),))
    monkeypatch.setattr(examined._helpers.Manifest, "MANIFEST_ID", b"\1" * 32)
    wrong = examined.differences()
    assert wrong[0] == "Repository.put is another"
    assert "lacks 'if method not in self.allowed:'" in wrong[1]
    assert wrong[2] == "the manifest's id or the calls are others"


@pytest.mark.parametrize(
    ("name", "through"),
    [
        (
            "_is_from_before",
            {"replacing is let through", "deleting is let through", "an object from before was replaced"},
        ),
        ("commit_nonce_reservation", {"raising nonces is let through"}),
        ("_require_reserved", {"a manifest with a nonce that is not given out is let through"}),
    ],
)
def test_a_fence_with_a_hole_is_found_by_its_trial(
    examined: Any, monkeypatch: pytest.MonkeyPatch, name: str, through: set[str]
) -> None:
    def hole(self: Any, *_: Any) -> bool:
        if name == "_is_from_before" and not self._active_txn:
            self.prepare_txn(self.get_transaction_id())
        return False

    monkeypatch.setattr(examined._fence.FencedRepository, name, hole)
    assert set(examined.trial()) == through


def test_who_asks_too_often_is_shown_out_with_the_lock_given_back(
    examined: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = examined._fence.fenced(str(tmp_path / "r"), None, fence.Report(tmp_path / "r.7.report"))()
    closed: list[Any] = []
    server.repository = type("Open", (), {"close": lambda _self: closed.append("closed")})()
    monkeypatch.setattr(os, "_exit", closed.append)
    for _ in range(fence._ENOUGH):
        assert "destroy" not in server.rpc_methods
    assert closed == ["closed", 77]


def test_the_probes_server_knows_no_repository(examined: Any) -> None:
    server = examined._fence.ProbeServer(restrict_to_paths=["/"])
    with pytest.raises(examined._Repository.DoesNotExist):
        server.open("/etc")
    assert set(server.rpc_methods) == {"negotiate", "open"}
