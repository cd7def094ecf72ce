from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.domain.values import (
    CleanLines,
    CleanText,
    Figure,
    Int32,
    Int63,
    Moment,
    check_clean,
    check_lines,
    check_moment,
)

CASES = [
    (CleanText, ["", "é ü 漢字 🙂", "x" * 1000], ["\ud800", "a\udcff", "a\x00", "a\nb", "a\tb", "\x1b[31m", "\x85", "a\u2028b", "\u202e", "\u200f", "x" * 1001]),
    (CleanLines, ["a\nb\tc", "x" * 10_000], ["\ud800", "a\x00", "a\r\nb", "\x1b", "a\u2028b", "x" * 10_001]),
    (Int32, [0, -(2**31), 2**31 - 1], [2**31, -(2**31) - 1, 2**70, 1.5, float("nan")]),
    (Int63, [0, 2**63 - 1], [-1, 2**63, 10**5000]),
    (Figure, [0, -1.5, 1e308], [float("nan"), float("inf"), float("-inf"), "NaN"]),
    (Moment, ["1970-01-01T00:00:00Z", "9998-12-31T23:59:59Z", "2027-01-01T00:00:00+05:30"],
     ["1969-12-31T23:59:59Z", "1970-01-01T00:00:00+00:01", "9999-01-01T00:00:00Z", "9998-12-31T23:59:59-00:01",
      "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2027-01-01T00:00:00", "2027-13-01T00:00:00Z", 10**18]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "good", "bad"), CASES, ids=["text", "lines", "int32", "int63", "figure", "moment"])
def test_what_a_database_cannot_hold_is_refused_at_the_door(
    kind: object, good: list[object], bad: list[object]
) -> None:
    adapter = TypeAdapter(kind)
    for value in good:
        adapter.validate_python(value)
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=50))
def test_what_is_taken_is_unicode_of_one_line_and_nothing_else_is_changed(value: str) -> None:
    try:
        taken = check_clean(value)
    except ValueError:
        return
    assert taken == value
    assert taken.encode().decode() == value
    assert len(taken.splitlines()) <= 1
    assert "\x00" not in taken


@given(st.datetimes(timezones=st.timezones()))
def test_a_moment_is_in_utc_and_a_days_arithmetic_never_overflows(value: datetime) -> None:
    try:
        moment = check_moment(value)
    except ValueError:
        return
    assert moment.tzinfo is UTC
    assert moment.timestamp() == value.timestamp()  # a time that a clock change left out equals none in another zone
    for days in (-366, 366):
        (moment + timedelta(days=days)).astimezone(UTC).isoformat()


def test_each_refusal_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        check_lines("\ud800")
    with pytest.raises(ValueError, match="line breaks"):
        check_clean("a\nb")
    with pytest.raises(ValueError, match="2027-01-31T00:00:00Z"):
        check_moment(datetime(1969, 1, 1, tzinfo=UTC))
