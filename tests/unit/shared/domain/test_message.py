"""Messages: what a parameter may hold never changes what a sentence is."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.message import LONGEST, MOST, Kept, Message, Said, Value, kept, parse, plain, read
from shared.domain.messages import CATALOGUE
from shared.domain.text import clean

GONE = Message("pool_missing", 400, "{pool} is not at {path}[: {error}]", "mount {path}")
BUSY = Message("bus_busy", 503, "{most:d} requests[ since {at}] of {names}", "ask again")
OUTER = Message("", 503, "not prepared within {seconds:.0f} s: {reason}", variant="not_prepared")
ENTRIES = {one.key: one for one in (GONE, BUSY, OUTER)}

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07", "a\nERROR  all backups are gone\n", "\u202egnp.exe", "\ud800\udfff", "\x00" * 9,
    "{path}{0.__class__}", "[{error}]", "%s%n", "x" * 100_000, "\u2028\u2029\ufeff\u0085", "<script>alert(1)</script>",
    "{" * 5000, "]" * 5000, "\r\n\r\nSet-Cookie: a=b", "`rm -rf /`",
)  # fmt: skip


class Color(StrEnum):
    RED = "red"


def test_a_text_is_filled_with_its_parameters() -> None:
    said = GONE(pool="main", path=Path("/srv/x"), error="")
    assert (said.text, said.remedy, said.code) == ("main is not at /srv/x", "mount /srv/x", "pool_missing")
    assert GONE(pool="main", path="/x", error="EIO").text == "main is not at /x: EIO"
    assert BUSY(most=32, names=["a", "b"]).text == "32 requests of a, b"
    assert OUTER(seconds=2.6, reason=said).text == "not prepared within 3 s: main is not at /srv/x"


def test_a_message_within_another_gives_code_and_remedy() -> None:
    said = OUTER(seconds=2.6, reason=GONE(pool="main", path="/x"))
    assert (said.code, said.key, said.remedy) == ("pool_missing", "part.not_prepared", "mount /x")
    assert OUTER(seconds=1, reason="words").code == "error"
    assert OUTER(seconds=1, reason="words").remedy == ""


@pytest.mark.parametrize("params", [{}, {"pool": "main"}, {"pool": "a", "path": "b", "other": "c"}])
def test_a_message_is_never_said_without_its_parameters(params: dict[str, Value]) -> None:
    with pytest.raises(TypeError, match="pool_missing takes pool, path, error"):
        GONE(**params)


def test_brackets_that_stand_for_themselves() -> None:
    entry = Message("x", 400, 'publish {{"server": "<name>"}} or [[1]]', "zstd[[,1-22]]")
    assert (entry().text, entry().remedy) == ('publish {"server": "<name>"} or [1]', "zstd[,1-22]")


@pytest.mark.parametrize("text", ["{", "}", "a [b", "a] b", "{Name}", "{a!r}", "[a [b] c]", "{a.b}", "{}", "{a[0]}"])
def test_a_text_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="without its other half"):
        parse(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None), (True, True), (3, 3), (2**70, str(2**70)), (1.5, 1.5), (float("nan"), "nan"), (float("inf"), "inf"),
        (Color.RED, "red"), (uuid.UUID(int=1), str(uuid.UUID(int=1))), (Path("/x"), "/x"), ("a\tb", "a b"),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00+00:00"), (["a", "b\n"], ["a", "b"]),
        (("a",), ["a"]), (OSError(5, "EIO"), "[Errno 5] EIO"),
    ],
)  # fmt: skip
def test_a_parameter_is_kept_as_json(value: Value, expected: Kept) -> None:
    assert kept(value) == expected
    json.dumps(kept(value), allow_nan=False)


def test_a_long_list_is_counted() -> None:
    many = kept([str(n) for n in range(MOST + 7)])
    assert isinstance(many, list)
    assert many[-1] == "7 more"
    assert len(many) == MOST + 1


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_what_a_server_sends_cannot_change_a_sentence(hostile: str) -> None:
    """Every entry of the catalogue, with a hostile value in every place: inert, of one line, bounded."""
    for entry in CATALOGUE.values():
        said = entry(**dict.fromkeys(entry.params, hostile))
        shown = clean(hostile, LONGEST).strip().replace("\n", " ").replace("\t", " ")
        for text in (said.text, said.remedy):
            assert "\n" not in text, entry.key
            assert clean(text) == text or len(text) > 8000, entry.key
            assert not any(char in text for char in "\x1b\x00\u202e\u2028"), entry.key
            assert len(text) <= LONGEST * 8, entry.key
        if entry.params and len(shown) < LONGEST and parse(entry.text)[0].name:
            assert said.text.startswith(clean(shown, LONGEST)), entry.key


@given(st.text(), st.integers() | st.floats() | st.none() | st.text(), st.lists(st.text(max_size=20), max_size=60))
def test_what_is_stored_says_the_same_when_it_is_read(text: str, number: float | str | None, names: list[str]) -> None:
    for said in (GONE(pool=text, path="/x", error=text), BUSY(most=number, at=text, names=names)):
        for one in (said, OUTER(seconds=1, reason=said)):
            stored = json.loads(json.dumps(one.to_json(), allow_nan=False))
            again = read(stored, ENTRIES)
            assert again is not None
            assert (again.text, again.remedy, again.code) == (one.text, one.remedy, one.code)


@pytest.mark.parametrize(
    "stored",
    [
        None, 1, "text", [], {}, {"key": "pool_missing"}, {"key": "pool_missing", "params": None}, {"key": 5, "params": {}},
        {"key": "pool_missing", "params": {"pool": "a"}}, {"key": "newer", "params": {}}, {"key": "x" * 9999, "params": {}},
    ],
    ids=str,
)  # fmt: skip
def test_what_this_version_does_not_know_is_left_to_the_text_beside_it(stored: object) -> None:
    assert read(stored, ENTRIES) is None


def test_a_row_of_another_version_is_read_as_far_as_it_goes() -> None:
    stored = {"key": "bus_busy", "params": {"most": "many", "names": {"key": "newer"}, "added": 1}}
    said = read(stored, ENTRIES)
    assert said is not None
    assert said.text == "many requests of unknown"


@given(st.text(), st.text())
def test_a_sentence_of_elsewhere_stays_what_it_is(text: str, remedy: str) -> None:
    said = plain(text, code="x", remedy=remedy)
    assert (said.text, said.remedy, said.code, said.status) == (clean(text, 16384), clean(remedy, 16384), "x", 400)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (dt.datetime(2026, 11, 27, 10, 54, 2, 328000, dt.timezone(dt.timedelta(hours=1))), "2026-11-27 09:54:02 UTC"),
        (dt.datetime(2026, 11, 27, 9, 54, tzinfo=dt.UTC), "2026-11-27 09:54:00 UTC"),
        (dt.datetime(2026, 11, 27, 9, 54), "2026-11-27 09:54:00 UTC"),  # noqa: DTZ001 - as a database gives it
        ("2026-11-27 09:54 UTC", "2026-11-27 09:54 UTC"),  # as older versions kept it
        ("it\x1b[2J expires", r"it\x1b[2J expires"),
        ("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59-23:59"),  # in UTC it would be in a year that there is not
        (7, "7"),
        (None, "unknown"),
    ],
)
def test_a_moment_is_told_in_utc_and_what_is_none_as_it_is(value: Value, said: str) -> None:
    assert Message("until", 400, "until {at:moment}")(at=value).text == f"until {said}"


def test_an_unknown_number_is_not_zero() -> None:
    assert BUSY(most=None, names=[]).text == "unknown requests of "
    assert isinstance(BUSY(most=None, names=[]), Said)
