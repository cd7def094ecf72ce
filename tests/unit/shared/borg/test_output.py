from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.borg.output import (
    Listed,
    LogLine,
    Phase,
    Progress,
    parse_checkpoints,
    parse_create,
    parse_info,
    parse_line,
    parse_list,
)
from shared.errors import Transient

ARCHIVE: dict[str, Any] = {
    "name": "a", "id": "ab" * 32, "start": "2026-11-22T15:34:57.000000", "end": "2026-11-22T15:34:58.000000",
    "duration": 0.38,
    "stats": {"nfiles": 340, "original_size": 1998146, "compressed_size": 883052, "deduplicated_size": 881579},
}  # fmt: skip
CACHE = {"stats": {"total_size": 3, "total_csize": 2, "unique_csize": 1, "unique_size": 2, "total_chunks": 9,
                   "total_unique_chunks": 7}}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ('{"type": "archive_progress", "nfiles": 3, "original_size": 5, "deduplicated_size": 4, "path": "etc/x"}',
         Progress(3, 5, 4, "etc/x")),
        ('{"type": "archive_progress", "finished": true, "time": 1}', None),
        ('{"type": "progress_message", "message": "Saving files cache", "finished": false}', Phase("Saving files cache")),
        ('{"type": "progress_message", "finished": true}', None),
        ('{"type": "log_message", "levelname": "WARNING", "message": "gone", "msgid": "X", "name": "borg.archiver"}',
         LogLine("warning", "gone", "X")),
        ('{"type": "log_message", "levelname": "WARNING", "message": "Killed stale lock", "name": "borg.locking"}',
         LogLine("info", "Killed stale lock")),
        ("usage: borg ...", LogLine("info", "usage: borg ...")),
        ("[1]", LogLine("info", "[1]")),
        ("", None),
    ],
)  # fmt: skip
def test_lines(line: str, parsed: object) -> None:
    assert parse_line(line) == parsed


@given(st.text())
def test_no_line_whatever_breaks_the_reader(line: str) -> None:
    parse_line(line)


def test_naive_times_are_utc_and_all_figures_are_kept() -> None:
    archive, repository = parse_create(json.dumps({"archive": ARCHIVE, "cache": CACHE}))
    assert archive.started_at == datetime(2026, 11, 22, 15, 34, 57, tzinfo=UTC)
    assert (archive.files, archive.original_size) == (340, 1998146)
    assert (repository.original_size, repository.compressed_size, repository.deduplicated_size) == (3, 2, 1)


def test_info_of_a_repository_has_no_archives() -> None:
    assert parse_info(json.dumps({"cache": CACHE}))[0] == []
    assert len(parse_info(json.dumps({"archives": [ARCHIVE], "cache": CACHE}))[0]) == 1


def test_a_listing_leaves_checkpoints_out_and_they_have_one_of_their_own() -> None:
    names = [{"name": name, "id": name} for name in ("a", "a.checkpoint", "a.checkpoint.1", "checkpoint")]
    answer = json.dumps({"archives": names})
    assert parse_list(answer) == [Listed("a", "a"), Listed("checkpoint", "checkpoint")]
    assert parse_checkpoints(answer) == ["a.checkpoint", "a.checkpoint.1"]


@pytest.mark.parametrize("garbage", ["", "Killed", "[]", "null"])
def test_an_answer_that_is_none_is_never_taken_for_an_empty_listing(garbage: str) -> None:
    with pytest.raises(Transient, match="borg's answer"):
        parse_list(garbage)
    with pytest.raises(KeyError):
        parse_list("{}")


def test_levels() -> None:
    assert LogLine("critical", "x").is_error
    assert LogLine("warning", "x").is_warning
    assert not LogLine("info", "x").is_error
