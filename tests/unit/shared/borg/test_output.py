from __future__ import annotations

import contextlib
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
    parse_create,
    parse_info,
    parse_line,
    parse_list,
    parse_listing,
)
from shared.errors import Transient

ARCHIVE: dict[str, Any] = {
    "name": "a", "id": "ab" * 32, "start": "2026-11-22T15:34:57.000000", "end": "2026-11-22T15:34:58.000000",
    "duration": 0.38,
    "stats": {"nfiles": 340, "original_size": 1998146, "compressed_size": 883052, "deduplicated_size": 881579},
}  # fmt: skip
CACHE = {"stats": {"total_size": 3, "total_csize": 2, "unique_csize": 1, "unique_size": 2, "total_chunks": 9,
                   "total_unique_chunks": 7}}  # fmt: skip


WARNING = '{"type": "log_message", "levelname": "WARNING", "message": "gone", "msgid": "X", "name": "borg.archiver"}'
DEEP = "[" * 60_000


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ('{"type": "archive_progress", "nfiles": 3, "original_size": 5, "deduplicated_size": 4, "path": "etc/x"}',
         [Progress(3, 5, 4, "etc/x")]),
        ('{"type": "archive_progress", "finished": true, "time": 1}', []),
        ('{"type": "progress_message", "message": "Saving files cache", "finished": false}', [Phase("Saving files cache")]),
        ('{"type": "progress_message", "finished": true}', []),
        (WARNING, [LogLine("warning", "gone", "X")]),
        ('{"type": "log_message", "levelname": "WARNING", "message": "Killed stale lock", "name": "borg.locking"}',
         [LogLine("info", "Killed stale lock")]),
        ("usage: borg ...", [LogLine("info", "usage: borg ...")]),
        ("[1]", [LogLine("info", "[1]")]),
        ("", []),
        (" \t\r", []),
        ('{"type": "file_status", "path": "x"}', [LogLine("info", '{"type": "file_status", "path": "x"}')]),
    ],
)  # fmt: skip
def test_lines(line: str, parsed: list[object]) -> None:
    assert parse_line(line) == parsed
    assert parse_line(line.encode()) == parsed


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        (f"some text{WARNING}", [LogLine("info", "some text"), LogLine("warning", "gone", "X")]),
        (f"{WARNING}{WARNING}", [LogLine("warning", "gone", "X")] * 2),
        (f"{WARNING}and a text", [LogLine("warning", "gone", "X"), LogLine("info", "and a text")]),
        (f"{{ no JSON {WARNING}", [LogLine("info", "{ no JSON"), LogLine("warning", "gone", "X")]),
        (f"{{}}{WARNING}", [LogLine("info", "{}"), LogLine("warning", "gone", "X")]),
        (WARNING[:-10], [LogLine("warning", WARNING[:-10])]),
        (f"x{WARNING[:-10]}", [LogLine("warning", f"x{WARNING[:-10]}")]),
    ],
)
def test_a_warning_without_a_newline_before_or_behind_it_is_not_lost(line: str, parsed: list[object]) -> None:
    assert parse_line(line) == parsed


@pytest.mark.parametrize(
    ("word", "level"),
    [("DEBUG", "debug"), ("INFO", "info"), ("WARNING", "warning"), ("WARN", "warning"), ("ERROR", "error"),
     ("CRITICAL", "critical"), ("FATAL", "critical"), ("NOTSET", "debug"), ("HORRIBLE", "warning"), ("", "warning")],
)  # fmt: skip
def test_a_level_that_borg_never_had_counts_as_a_warning(word: str, level: str) -> None:
    line = json.dumps({"type": "log_message", "levelname": word, "message": "m", "name": "x"})
    assert parse_line(line) == [LogLine(level, "m")]


@pytest.mark.parametrize(
    "line",
    [
        '{"type": "log_message", "levelname": 5, "message": "m"}',
        '{"type": "log_message", "levelname": "WARNING", "message": ["m"]}',
        '{"type": "log_message", "message": "m", "msgid": {}}',
        '{"type": "log_message", "levelname": "INFO", "message": ' + DEEP,
        '{"type": "log_message", "levelname": "WARNING", "message": "' + "x" * 70_000 + '"}',
    ],
)
def test_a_message_in_a_form_that_is_not_known_is_a_warning(line: str) -> None:
    [found] = parse_line(line)
    assert isinstance(found, LogLine)
    assert found.level == "warning"
    assert len(found.message) <= 8192


@pytest.mark.parametrize(
    "line",
    [
        '{"type": "archive_progress", "nfiles": "x", "original_size": 5, "deduplicated_size": 4}',
        '{"type": "archive_progress", "nfiles": -1}',
        '{"type": "archive_progress", "nfiles": 1e999}',
        '{"type": "archive_progress", "nfiles": NaN}',
        f'{{"type": "archive_progress", "nfiles": {2**63}}}',
        '{"type": "progress_percent", "message": 7}',
    ],
)
def test_progress_that_makes_no_sense_is_left_out(line: str) -> None:
    assert parse_line(line) == []


@pytest.mark.parametrize(
    "line", [DEEP, '{"a":' * 20_000, f'{{"type": "archive_progress", "nfiles": {"9" * 5000}}}', "\x00"]
)
def test_what_would_break_a_json_reader_is_a_line_of_text(line: str) -> None:
    [found] = parse_line(line)
    assert isinstance(found, LogLine)
    assert found.level == "info"


def test_a_file_name_that_is_not_utf8_is_shown_and_breaks_nothing() -> None:
    line = (
        r'{"type": "log_message", "levelname": "WARNING", "message": "/srv/caf\udce9: Permission denied", "name": "b"}'
    )
    assert parse_line(line) == [LogLine("warning", r"/srv/caf\xe9: Permission denied")]
    assert parse_line(b"/srv/caf\xe9: no JSON") == [LogLine("info", r"/srv/caf\xe9: no JSON")]
    [progress] = parse_line(r'{"type": "archive_progress", "nfiles": 1, "path": "caf\udce9\u0000"}')
    assert progress == Progress(1, 0, 0, r"caf\xe9\x00")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["levelname", "message", "name", "msgid", "nfiles", "original_size", "path", "deduplicated_size"]
)
KINDS = st.sampled_from(["log_message", "archive_progress", "progress_message", "progress_percent", "file_status"])
MESSAGES = st.builds(lambda kind, fields: json.dumps({"type": kind} | fields), KINDS, st.dictionaries(FIELDS, JSON))


def storable(output: LogLine | Progress | Phase) -> None:
    for name in type(output).__slots__:
        value = getattr(output, name)
        if isinstance(value, str):
            assert len(value) <= 8192
            value.encode("utf-8")
            assert "\x00" not in value
        else:
            assert 0 <= value < 2**63


@given(st.lists(st.text(st.characters()) | MESSAGES, max_size=4).map("".join), st.booleans())
def test_no_line_whatever_breaks_the_reader_or_gives_what_cannot_be_stored(line: str, as_bytes: bool) -> None:
    for output in parse_line(line.encode("utf-8", "surrogatepass") if as_bytes else line):
        storable(output)


@given(st.lists(st.sampled_from(["text", "{", "}", "[", '"', " "]) | st.just(WARNING), max_size=8))
def test_no_warning_is_lost_whatever_stands_around_it(parts: list[str]) -> None:
    # After a bracket or a quote it may be a part of something else; told as one warning it is told all the same.
    found = [line for line in parse_line("".join(parts)) if isinstance(line, LogLine)]
    assert (WARNING in parts) == any(line.is_warning for line in found)


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
    assert [one.is_checkpoint for one in parse_listing(answer).archives] == [False, True, True, False]
    assert parse_list(answer) == [Listed("a", "a"), Listed("checkpoint", "checkpoint")]


@pytest.mark.parametrize("garbage", ["", "Killed", "[]", "null"])
def test_an_answer_that_is_none_is_never_taken_for_an_empty_listing(garbage: str) -> None:
    with pytest.raises(Transient, match="borg's answer"):
        parse_list(garbage)


def changed(path: str, value: object) -> str:
    """An answer of `create` with one thing changed."""
    answer: dict[str, Any] = json.loads(json.dumps({"archive": ARCHIVE, "archives": [ARCHIVE], "cache": CACHE}))
    *above, last = path.split(".")
    place = answer
    for part in above:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(answer)


@pytest.mark.parametrize(
    ("path", "value"),
    [(path, value)
     for path in ("archive.stats.nfiles", "archive.stats.original_size", "archive.name", "archive.id", "archive.start",
                  "archive.end", "archive.duration", "archive.stats", "cache.stats.total_size", "cache", "archive")
     for value in (..., None, [], {}, -1, 2**63, float("nan"), float("inf"), "x" * 5, True)
     if not (isinstance(value, str) and path in ("archive.name", "archive.id"))
     and not (value in (True, 2**63) and path in ("archive.duration", "archive.start", "archive.end"))
     and not (value is True and ("nfiles" in path or "size" in path))],
)  # fmt: skip
def test_an_answer_with_one_wrong_value_is_one_error_and_names_the_place(path: str, value: object) -> None:
    with pytest.raises(Transient) as caught:
        parse_create(changed(path, value))
    assert caught.value.code == "borg_garbled"
    assert path.rsplit(".", maxsplit=1)[-1] in caught.value.message or "JSON" in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59", "tomorrow"]
)
def test_a_time_that_no_database_holds_is_refused(time: str) -> None:
    with pytest.raises(Transient, match=r"archive\.start"):
        parse_create(changed("archive.start", time))


@pytest.mark.parametrize("answer", ["{}", '{"archives": {}}', '{"archives": [{"name": "a"}]}', '{"archives": ' + "[" * 100_000,
                                    '{"archives": ' + "9" * 5000 + "}", "{" + " " * (16 << 20)])  # fmt: skip
def test_a_listing_that_is_none_or_too_long_is_one_error(answer: str) -> None:
    for parse in (parse_list, parse_listing):
        with pytest.raises(Transient) as caught:
            parse(answer)
        assert caught.value.code == "borg_garbled"


def test_a_greeting_before_the_answer_does_not_cost_the_archive() -> None:
    answer = json.dumps({"archive": ARCHIVE, "cache": CACHE}, indent=4)
    assert parse_create(f"Welcome to web1 {{today}}\n{answer}\ngoodbye\n") == parse_create(answer)


def test_an_archive_that_a_hostile_client_named_is_shown_and_breaks_no_listing() -> None:
    names = [{"name": "a\udce9\x00" + "x" * 1000, "id": "b"}, {"name": "good", "id": "c"}]
    strange, good = parse_list(json.dumps({"archives": names}))
    assert good == Listed("good", "c")
    assert strange.name.startswith(r"a\xe9\x00")
    assert len(strange.name) <= 700


@given(
    st.dictionaries(st.sampled_from(["archive", "archives", "cache", "stats", "name", "id"]), JSON).map(json.dumps)
    | st.text()
)
def test_no_answer_whatever_is_anything_but_read_or_garbled(answer: str) -> None:
    for parse in (parse_create, parse_info, parse_list, parse_listing):
        with contextlib.suppress(Transient):  # nothing else comes out
            parse(answer)


def test_levels() -> None:
    assert LogLine("critical", "x").is_error
    assert LogLine("warning", "x").is_warning
    assert not LogLine("info", "x").is_error


def test_a_line_that_borg_passes_on_from_ssh_is_no_warning_about_the_backup() -> None:
    def passed_on(name: str, level: str, message: str) -> LogLine:
        text = json.dumps({"type": "log_message", "name": name, "levelname": level, "message": message})
        (line,) = parse_line(text)
        assert isinstance(line, LogLine)
        assert line.structured
        return line

    assert passed_on("root", "WARNING", "Remote: Property of Example Ltd.").level == "info"
    assert passed_on("root", "ERROR", "Remote: x").level == "error"
    assert passed_on("root", "WARNING", "/srv/Remote: x").level == "warning"
    assert passed_on("borg.repository", "WARNING", "Remote: an index is rebuilt").level == "warning"
    (plain,) = parse_line("Remote: x")
    assert isinstance(plain, LogLine)
    assert not plain.structured
