"""Outside text that would break a database, a message or a terminal never gets in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.text import clean

ANYTHING = st.text(st.characters(), max_size=60)  # lone surrogates and control characters among them
FORBIDDEN = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *"\u200f\u202e\u2066\u2028\u2029\ufeff"} - {
    "\t",
    "\n",
}


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("", ""),
        ("café 日本 🙂", "café 日本 🙂"),
        ("caf\udce9", r"caf\xe9"),
        (b"caf\xe9", r"caf\xe9"),
        ("café".encode(), "café"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),  # a surrogate that somebody wrote as UTF-8
        ("\ud800x", r"\ud800x"),
        ("\udfff", r"\udfff"),
        ("a\x00b", r"a\x00b"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x7f\x85\x9f", r"\x7f\u0085\u009f"),
        ("txt\u202eexe", r"txt\u202eexe"),
        ("one\u2028two", r"one\u2028two"),
        ("\ufeffbom", r"\ufeffbom"),
        ("a\r\nb\tc\rd", "a\nb\tc\\x0dd"),
        ("👩\u200d🔧", "👩\u200d🔧"),  # a joiner that emoji and some scripts need
    ],
)
def test_what_cannot_be_stored_or_shown_becomes_visible(raw: str | bytes, shown: str) -> None:
    assert clean(raw) == shown


@pytest.mark.parametrize(("limit", "shown"), [(0, ""), (1, "…"), (4, "abc…"), (6, "abcdef"), (7, "abcdef")])
def test_a_text_that_is_too_long_is_cut_and_says_so(limit: int, shown: str) -> None:
    assert clean("abcdef", limit) == shown
    assert clean(b"abcdef", limit) == shown


def test_a_character_is_not_broken_where_bytes_are_cut() -> None:
    assert clean("é日🙂".encode() * 1000, 8) == "é日🙂é日🙂é…"
    assert clean("🙂".encode() * 8, 8) == "🙂" * 8


@given(ANYTHING, st.integers(0, 80))
def test_no_text_whatever_leaves_anything_that_breaks(text: str, limit: int) -> None:
    shown = clean(text, limit)
    assert len(shown) <= limit
    assert json.loads(json.dumps(shown, ensure_ascii=False).encode("utf-8")) == shown
    assert not FORBIDDEN & set(shown)
    assert clean(shown, limit) == shown


@given(st.binary(max_size=200), st.integers(0, 80))
def test_no_bytes_whatever_leave_anything_that_breaks(data: bytes, limit: int) -> None:
    shown = clean(data, limit)
    assert len(shown) <= limit
    shown.encode("utf-8")
    assert not FORBIDDEN & set(shown)
    assert clean(shown, limit) == shown


@given(st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=60))
def test_plain_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert clean(text) == text
