"""The parts of the fence that a session's process takes with it when it ends: seen here from within."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter

from shared.borg import fence, left_out, manifest_reader, recover, sessions, verify
from shared.borg.fence import Grant, Report
from shared.borg.sessions import Garbage, Sessions, parse_garbage
from shared.errors import Permanent, Transient
from tests.harness.patience import WAIT

REPOSITORY = "a" * 32


@pytest.fixture
def grant(tmp_path: Path) -> Grant:
    for directory in ("grants", "locks", "sessions"):
        (tmp_path / directory).mkdir()
    file = tmp_path / "grants" / f"node.{REPOSITORY}"
    file.write_text("7 99999999999 0 /pool/a b/c\n")
    return Grant(str(file), "7", "/pool/a b/c")


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(tmp_path / "r.7.report")


@pytest.mark.parametrize(
    "text",
    ["", "\n", "8 99999999999 0 /pool/a b/c\n", "7 1 0 /pool/a b/c\n", "7 99999999999 0 /other\n", "7 99999999999\n", "77 99999999999 0 /pool/a b/c\n"],
)  # fmt: skip
def test_a_grant_that_names_anything_else_is_none(grant: Grant, text: str) -> None:
    assert grant.current()
    grant.file.write_text(text)
    assert not grant.current()


def test_a_grant_that_cannot_be_read_is_none(grant: Grant) -> None:
    grant.file.write_bytes(b"7 99999999999 0 /\xff\n")
    assert not grant.current()
    grant.file.unlink()
    grant.file.mkdir()
    assert not grant.current()
    assert Grant("/nowhere/x", "7", "/").quota is None


def test_a_quota_is_the_grants(grant: Grant) -> None:
    assert grant.quota is None
    grant.file.write_text("7 99999999999 1234 /pool/a b/c\n")
    assert grant.quota == 1234


def test_a_session_whose_grant_is_over_is_ended_by_force_if_it_does_not_listen(
    grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: sent.append(number))
    monkeypatch.setattr(fence.select, "select", lambda *_: grant.file.write_text("8 99999999999 0 /pool/a b/c\n"))
    fence.end_with(grant)
    assert sent == [signal.SIGTERM] * 3 + [signal.SIGKILL]
    grant.file.write_text("7 never 0 /pool/a b/c\n")  # what makes no sense ends it too
    fence.end_with(grant)
    assert len(sent) == 8


def test_who_comes_while_a_former_session_ends_waits_and_then_has_its_place(
    grant: Grant, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = fence.take(Grant(str(grant.file), "6", grant.path), report)
    monkeypatch.setattr(fence.select, "select", lambda *_: os.close(former))
    os.close(fence.take(grant, report))
    assert report.refusals == 0


@pytest.mark.parametrize("how", ["it does not end", "the grant passes on"])
def test_who_waits_in_vain_is_sent_away_without_a_report(
    grant: Grant, report: Report, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    former = fence.take(Grant(str(grant.file), "6", grant.path), report)
    if how == "it does not end":
        monkeypatch.setattr(fence, "_FORMER_SECONDS", 0.0)
    else:
        grant.file.write_text("8 99999999999 0 /pool/a b/c\n")
    with pytest.raises(SystemExit) as caught:
        fence.take(grant, report)
    assert (caught.value.code, report.refusals) == (fence.NOT_CURRENT, 0)
    with pytest.raises(SystemExit) as caught:
        fence.take(Grant(str(grant.file), "6", grant.path), report)  # the same lease twice: that is an offence
    assert (caught.value.code, report.refusals) == (fence.REFUSED, 1)
    os.close(former)


def test_a_borg_that_the_fence_does_not_fit_serves_nothing(
    grant: Grant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fence, "take", lambda *_: 0)
    monkeypatch.setattr(fence, "end_with", lambda _grant: None)
    monkeypatch.setattr(fence, "_beside", lambda _name: SimpleNamespace(differences=lambda: ["put is another"]))
    with pytest.raises(SystemExit) as caught:
        fence.serve(grant, ["serve"])
    assert caught.value.code == fence.REFUSED
    assert "put is another" in capsys.readouterr().err


def test_a_report_without_objects_has_none_to_open(tmp_path: Path) -> None:
    assert list(left_out._objects(tmp_path / "none.objects")) == []


def test_an_archives_object_that_is_garbage_names_no_archive() -> None:
    def decrypt(_id: bytes, _data: bytes) -> bytes:
        raise ValueError

    key = SimpleNamespace(decrypt=decrypt, unpack_and_verify_archive=decrypt)
    assert manifest_reader.inside(key, bytes(32), b"garbage") is None


def test_a_grant_that_passes_on_while_a_session_starts_serves_nothing(
    grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(*_: object) -> int:
        grant.file.unlink()
        return 0

    monkeypatch.setattr(fence, "take", take)
    with pytest.raises(SystemExit) as caught:
        fence.serve(grant, ["serve"])
    assert caught.value.code == fence.NOT_CURRENT


def test_what_a_report_keeps_is_bounded_and_says_what_it_did_not_keep(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "_OBJECT_BYTES", 20)
    for data in (b"x" * 10, b"y" * 40, b"z" * 5):
        report.left_out(b"\7" * 32, data)
    report.refused("call of " + "\u202e" * 500)
    lines = [json.loads(line) for line in (tmp_path / "r.7.report").read_text().splitlines()]
    assert [line.get("kept") for line in lines] == [True, False, False, None]
    assert (tmp_path / "r.7.objects").stat().st_size == 36 + 10
    monkeypatch.setattr(fence, "_REPORT_BYTES", 10)
    report.left_out(b"\x08" * 32, b"")
    assert len((tmp_path / "r.7.report").read_text().splitlines()) == 4
    assert report.full


def test_the_probe_is_served_without_a_path_and_can_write_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    called: dict[str, Any] = {}
    limits: list[Any] = []

    class Server:
        @staticmethod
        def run(argv: Any, **more: Any) -> None:
            called.update(more, argv=argv)

    monkeypatch.setattr(fence, "_beside", lambda _name: Server)
    monkeypatch.setattr(fence.resource, "setrlimit", lambda which, limit: limits.append((which, limit)))
    monkeypatch.setattr(fence.signal, "alarm", lambda seconds: called.update(alarm=seconds))
    monkeypatch.setattr(fence.signal, "signal", lambda *_: None)
    monkeypatch.setenv("BORG_SELFTEST", "")
    fence.main(["probe"])
    assert called == {"alarm": 10, "argv": ("serve", "--umask=077"), "path": "", "quota": None, "report": None}
    assert (fence.resource.RLIMIT_FSIZE, (0, 0)) in limits


# -- what the node reads --------------------------------------------------------------------------------


def test_a_report_that_a_power_cut_broke_is_read_and_taken_for_an_offence(tmp_path: Path) -> None:
    known = Sessions(tmp_path)
    repository = uuid.UUID(REPOSITORY)
    (tmp_path / "sessions" / f"{REPOSITORY}.12.report").write_text('{"refused": "a\\u202eb"}\n{"unknown": 1}\n{"left_')
    (tmp_path / "sessions" / f"{REPOSITORY}.3.report").write_text(
        '[1]\n{"left_out": "07", "bytes": 4, "kept": false}\n'
    )
    first, second = known.reports(repository)
    assert (first.epoch, first.left_out, first.left_out_bytes, first.unkept) == (3, ("07",), 4, 1)
    assert first.refused == ("unreadable report",)
    assert second.refused == ("a\\u202eb", "unreadable report")
    assert second.summary == "2 refused: a\\u202eb, unreadable report"
    known.forget(first)
    known.forget(first)
    known.forget(sessions.SessionReport(1))
    assert [report.epoch for report in known.reports(repository)] == [12]


async def test_a_session_that_does_not_end_lets_nothing_begin(
    grant: Grant, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fence.take(grant, report)
    monkeypatch.setattr(sessions, "_LONGEST_SECONDS", 0.1)
    with pytest.raises(Transient) as caught:
        await Sessions(tmp_path).over(uuid.UUID(REPOSITORY))
    assert caught.value.code == "session_not_ended"
    os.close(lock)
    await Sessions(tmp_path).over(uuid.UUID(REPOSITORY))


@pytest.mark.parametrize("stdout", ["", "{", "[]", "{}", '{"lying": 1, "sent": []}', "null"])
def test_an_answer_that_is_none_is_an_error_of_its_own(stdout: str) -> None:
    with pytest.raises(Permanent) as caught:
        parse_garbage(stdout)
    assert caught.value.code == "session_unexamined"


def test_garbage_is_read() -> None:
    assert parse_garbage('{"lying": ["07"], "sent": []}') == Garbage(("07",), ())


@pytest.mark.parametrize("kind", ["session", "own"])
@pytest.mark.parametrize("how", [fcntl.LOCK_EX, fcntl.LOCK_SH])
async def test_nothing_begins_beside_a_process_of_an_earlier_lease_be_it_the_servers_or_the_nodes_own(
    tmp_path: Path, kind: str, how: int
) -> None:
    found, repository = Sessions(tmp_path), uuid.uuid4()
    with (tmp_path / "locks" / f"{repository.hex}.{kind}").open("w") as held:
        fcntl.flock(held, how)
        waiting = asyncio.create_task(found.over(repository))
        for _ in range(5):
            await asyncio.sleep(0.1)
            assert not waiting.done()
    await asyncio.wait_for(waiting, WAIT)


@pytest.mark.parametrize("script", [left_out, recover, verify])
def test_a_script_that_works_for_long_gives_signs_of_life_that_its_answer_may_begin_with(
    script: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = script._sealed._Alive()
    alive()
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(script._sealed, "_ALIVE_SECONDS", 0.0)
    alive()
    alive()
    said = capsys.readouterr().out
    assert said
    assert TypeAdapter(dict[str, int]).validate_json(said + '{"reached": 1}\n') == {"reached": 1}
