"""`borgfleet backup download`: a file is there whole or not at all, under a name that leads nowhere else."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import pytest
from typer.testing import CliRunner

from borgfleet.cli import backup as command
from borgfleet.cli.client import Client


class FakeClient:
    """An API with one backup."""

    asked: ClassVar[list[Any]] = []
    name: ClassVar[str] = "hosts"
    blocks: ClassVar[list[bytes | BaseException]] = [b"127.0.0.1 ", b"localhost\n"]

    def every(self, _path: str, **_query: Any) -> list[dict[str, Any]]:
        return [{"id": "0b-17"}]

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((path, body))
        return {"url": "/api/downloads/x", "name": self.name}

    def download(self, path: str) -> Iterator[bytes]:
        assert path == "/api/downloads/x"
        for block in self.blocks:
            if isinstance(block, BaseException):
                raise block
            yield block


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(command, "Client", FakeClient)
    monkeypatch.setattr(FakeClient, "asked", [])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())


def run(*arguments: str) -> tuple[int, str, bytes]:
    done = CliRunner().invoke(command.app, ["download", *arguments])
    return done.exit_code, done.stderr, done.stdout_bytes


def test_a_file_comes_under_its_own_name_and_what_was_chosen_by_its_bytes(here: Path) -> None:
    status, said, _ = run("17", os.fsdecode(b"etc/\xe9"), "--format", "file")
    assert (status, said) == (0, "hosts: 20 B\n")
    assert (here / "hosts").read_bytes() == b"127.0.0.1 localhost\n"
    item = {"path_b64": base64.b64encode(b"etc/\xe9").decode()}
    assert FakeClient.asked == [("/api/backups/0b-17/downloads", {"items": [item], "format": "file"})]
    assert names(here) == ["hosts"]


def test_to_standard_output_come_the_bytes_alone(here: Path) -> None:
    assert run("17", "-o", "-")[2] == b"127.0.0.1 localhost\n"
    assert names(here) == []


def test_what_is_there_is_left_alone(here: Path) -> None:
    (here / "hosts").write_text("mine")
    (here / "dangling").symlink_to("nowhere")
    for arguments in (("17",), ("17", "-o", "hosts"), ("17", "-o", "dangling")):
        status, said, _ = run(*arguments)
        assert status == 1
        assert "exists already" in said
    assert (here / "hosts").read_text() == "mine"
    assert names(here) == ["dangling", "hosts"]


def test_half_a_file_is_never_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeClient, "blocks", [b"half", httpx2.RemoteProtocolError("it broke off")])
    assert run("17")[0] != 0
    assert names(here) == []


def test_a_place_that_cannot_be_written_is_told(here: Path) -> None:
    status, said, _ = run("17", "-o", "no/such/directory")
    assert status == 1
    assert "cannot be written" in said


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b/passwd"])
def test_a_name_that_the_server_gave_leads_nowhere_else(here: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(FakeClient, "name", name)
    assert run("17")[0] == 0
    assert names(here) == ["passwd"]


@pytest.mark.parametrize("answered", [200, 410, 502])
def test_the_client_gives_bytes_or_says_why_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answered: int
) -> None:
    problem = {"detail": "this link was used already", "remedy": "ask for a new link"}

    def answer(_request: httpx2.Request) -> httpx2.Response:
        if answered == 200:
            return httpx2.Response(200, content=iter([b"a", b"b"]))
        return httpx2.Response(answered, json=problem) if answered == 410 else httpx2.Response(answered, text="x")

    client = Client("bf_token")
    monkeypatch.setattr(client, "_http", httpx2.Client(transport=httpx2.MockTransport(answer), base_url="http://t"))
    if answered == 200:
        assert b"".join(client.download("/x")) == b"ab"
        return
    with pytest.raises(Exception, match="1"):
        list(client.download("/x"))
    assert ("used already" if answered == 410 else "without an explanation") in capsys.readouterr().err
