"""A node's journal outlives a crash, a full disk and years: what was ours stays known as ours, and no more."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.borg import journal
from shared.borg.journal import Entry, Made, Standing, append, read
from shared.domain.archive import ArchiveFigures
from shared.errors import Permanent

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def made(number: int, **more: Any) -> Entry:
    figures = ArchiveFigures(
        name=f"a{number}\udce9", borg_id=f"{number:064x}", started_at=NOW, ended_at=NOW, duration=1, files=1,
        original_size=1, compressed_size=1, deduplicated_size=1,
    )  # fmt: skip
    return Entry(made=Made(figures=figures, state="succeeded", created_at=NOW, **more))


def standing(number: int, **more: Any) -> Entry:
    values: dict[str, Any] = {
        "number": number, "transaction": 5, "session": "", "compacted": None, "verified": None,
        "rewritten_after": None, "frozen_for": [], "segments_damage": "", "archives_damage": "",
    }  # fmt: skip
    return Entry(standing=Standing(**values | more))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journals" / "one.jsonl"


def test_where_there_is_no_journal_nothing_is_known(file: Path) -> None:
    assert read(file) == journal.Past()


def test_what_is_written_is_read_and_only_the_node_s_user_may(file: Path) -> None:
    causes = [{"code": "hostile_client", "reason": "\udce9"}]
    append(file, [standing(1), made(1), made(2)])
    append(file, [standing(2, session="node", frozen_for=causes)])
    past = read(file)
    assert past.standing is not None
    assert (past.standing.number, past.standing.session, past.standing.frozen_for) == (2, "node", causes)
    assert [(borg_id, one.figures.name) for borg_id, one in past.archives()] == [
        (f"{number:064x}", f"a{number}\udce9") for number in (1, 2)
    ]
    assert file.parent.stat().st_mode & 0o077 == 0


def test_the_messages_of_reasons_stand_apart_and_come_back_to_them(file: Path) -> None:
    words = {"code": "source_empty", "weight": "doubt", "text": "It is empty."}
    said = {"code": "source_empty", "key": "source_empty", "params": {"path": "/srv", "held": None}}
    rows: list[dict[str, Any]] = [words | {"message": said}, words | {"message": None}]
    append(file, [made(1, **Made.reasons_of(rows)), made(2, reasons=[words]), made(3, reasons=[], messages=[said])])
    (_, now), (_, before), (_, odd) = read(file).archives()
    assert now.told == rows
    assert now.reasons == [words, words]  # text alone: what older versions read
    assert (before.told, odd.told) == ([words | {"message": None}], [])


FATES: list[tuple[list[Entry], set[str], set[str], set[str]]] = [
    ([Entry(deleting={"1": "a"})], {"1"}, set(), set()),
    ([Entry(deleting={"1": "a"}), Entry(gone=("1",))], set(), {"1"}, set()),
    ([Entry(deleting={"1": "a"}), Entry(kept=("1",))], set(), set(), set()),
    ([Entry(deleting={"1": "a"}), Entry(gone=("1",)), Entry(kept=("1",))], set(), set(), set()),
    ([Entry(gone=("1",))], set(), {"1"}, set()),
    ([made(1), Entry(deleting={f"{1:064x}": "a"})], {f"{1:064x}"}, set(), {f"{1:064x}"}),
    ([made(1), Entry(deleting={f"{1:064x}": "a"}), Entry(gone=(f"{1:064x}",))], set(), {f"{1:064x}"}, set()),
    ([Entry(deleting={f"{1:064x}": "a"}), Entry(gone=(f"{1:064x}",)), made(1)], set(), set(), {f"{1:064x}"}),
]
IDS = ["meant", "done", "not done", "done and there again", "unmeant", "made and meant", "made and gone", "made anew"]


@pytest.mark.parametrize(("entries", "deleting", "gone", "left"), FATES, ids=IDS)
def test_only_what_we_meant_to_delete_and_is_gone_is_ours(
    file: Path, entries: list[Entry], deleting: set[str], gone: set[str], left: set[str]
) -> None:
    append(file, entries)
    past = read(file)
    assert (past.deleting.keys(), past.gone.keys(), past.made.keys()) == (deleting, gone, left)


@pytest.mark.parametrize(
    "torn",
    [b'{"deleting": {"2"', b"\x00" * 50, b"[1]\n", b"7\n", b'{"made": 5}\n', b'{"standing": {}}\n', b'{"gone": 4}\n',
     b'{"deleting": 5}\n', b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"\n"],
    ids=["half a line", "zeros", "a list", "a number", "no archive", "no standing", "no ids", "no names", "no text",
         "a thousand brackets", "empty"],
)  # fmt: skip
def test_a_line_that_a_crash_left_costs_no_other_line(file: Path, torn: bytes) -> None:
    append(file, [standing(1), Entry(deleting={"1": "a"})])
    with file.open("ab") as stream:
        stream.write(torn)
    append(file, [standing(2), Entry(gone=("1",))])
    past = read(file)
    assert past.standing is not None
    assert (past.standing.number, past.gone, past.deleting) == (2, {"1": "a"}, {})


def test_an_archive_of_another_version_is_passed_over(file: Path) -> None:
    append(file, [made(1)])
    with file.open("ab") as stream:
        stream.write(json.dumps({"made": {"figures": {"borg_id": "x"}}}).encode() + b"\n")
    assert [borg_id for borg_id, _ in read(file).archives()] == [f"{1:064x}"]


def test_it_never_grows_beyond_its_bound_and_forgets_the_oldest_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_LARGEST", 20_000)
    monkeypatch.setattr(journal, "_KEPT", 10)
    monkeypatch.setattr(journal, "_WITH_EVIDENCE", 3)
    append(file, [Entry(deleting={"pending": "p"})])
    for number in range(200):
        append(file, [standing(number), made(number, evidence={"sources": ["/srv"]})])
        append(file, [Entry(deleting={f"d{number}": "d"}), Entry(gone=(f"d{number}",))])
        assert file.stat().st_size < 21_000
    past = read(file)
    assert past.standing is not None
    assert (past.standing.number, past.deleting) == (199, {"pending": "p"})
    assert list(past.gone)[-10:] == [f"d{number}" for number in range(190, 200)]
    assert list(past.made)[-10:] == [f"{number:064x}" for number in range(190, 200)]
    assert [one.evidence for _, one in past.archives()][-1] == {"sources": ["/srv"]}
    assert [file] == list(file.parent.iterdir())


def test_a_journal_without_any_session_can_be_shortened(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_LARGEST", 10)
    append(file, [made(1)])
    assert [borg_id for borg_id, _ in read(file).archives()] == [f"{1:064x}"]


def test_evidence_that_is_too_large_is_left_out_and_the_archive_is_not(file: Path) -> None:
    append(file, [made(1, evidence={"sources": ["x" * 40_000]})])
    assert [one.evidence for _, one in read(file).archives()] == [None]
    assert file.stat().st_size < 2000


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "node_disk_full"), (errno.EDQUOT, "node_disk_full"), (errno.EIO, "node_disk")]
)
def test_what_cannot_be_noted_is_told_before_anything_is_deleted(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def full(_handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Permanent) as caught:
        append(file, [Entry(deleting={"1": "a"})])
    assert caught.value.code.startswith(code)
