"""What import_reader.py prints, read as values: names and times of any kind end nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from shared.borg import importing
from shared.borg.importing import FoundRepository, read_repository
from shared.borg.output import LogLine
from shared.errors import Permanent

ID = "ab" * 32


async def read(answer: str, monkeypatch: pytest.MonkeyPatch) -> FoundRepository:
    async def answered(*_given: Any, **_more: Any) -> tuple[str, list[LogLine]]:
        return answer, [LogLine("warning", "a word of borg's")] if not answer else []

    monkeypatch.setattr(importing, "script_answer", answered)
    return await read_repository(cast("Any", None), cast("Any", None), (), passphrase="word")


def archive(**more: Any) -> dict[str, Any]:
    usual = {"name": "monday", "id": ID, "start": "2026-01-01T10:00:00", "end": "2026-01-01T10:00:05", "there": True}
    return usual | {"files": 3, "size": 7, "csize": 5, "signed": True} | more


async def test_an_archive_is_what_it_says_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {"encryption": "repokey", "hidden": True, "signed": True, "odd": 1}
    rows = [archive(), archive(id="cd" * 32, there=False), archive(id="ef" * 32, files=None, size=None, signed=None)]
    found = await read("\n\n" + json.dumps(whole | {"archives": rows}), monkeypatch)
    assert (found.encryption, found.hidden, found.upgrade, found.lost) == ("repokey", True, False, 2)
    first, last = found.archives
    assert first.figures.started_at == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert (first.figures.duration, first.figures.files, first.signed) == (5.0, 3, True)
    assert (last.figures.files, last.figures.original_size, last.signed) == (0, 0, None)


@pytest.mark.parametrize(
    ("start", "year"),
    [("2026-01-01T10:00:00+05:00", 2026), ("", 1970), ("yesterday", 1970), ("0001-01-01T00:00:00", 1970), ("9999-12-31T23:59:59", 1970)],
)  # fmt: skip
async def test_a_time_that_is_none_is_as_old_as_can_be(start: str, year: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [archive(start=start, name="caf\udce9\n\0")]
    found = await read(
        json.dumps({"encryption": "none", "hidden": False, "signed": True, "archives": rows}), monkeypatch
    )
    (one,) = found.archives
    assert (one.figures.started_at.year, one.figures.name.encode().decode()) == (year, one.figures.name)
    assert one.figures.ended_at >= one.figures.started_at


async def test_a_list_that_has_to_be_signed_first_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await read(
        json.dumps({"encryption": "repokey", "hidden": True, "signed": False, "upgrade": True}), monkeypatch
    )
    assert (found.upgrade, found.archives) == (True, ())


@pytest.mark.parametrize("answer", ["", "{", "[]", "{}", json.dumps({"encryption": "x", "hidden": 1, "signed": 1, "archives": [{"id": "short"}]})])  # fmt: skip
async def test_what_is_no_answer_is_told_with_its_words(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Permanent) as caught:
        await read(answer, monkeypatch)
    assert caught.value.code == "borg_garbled"
