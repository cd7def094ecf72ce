"""Names of tags, and lists of them that may hold anything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.domain.tags import check_colour, check_tag, names_in, names_of


@pytest.mark.parametrize("name", ["db", "DB", "0", "a.b_c-d", "env=prod", "a=b.c", "n" * 63, "k=" + "v" * 61])
def test_a_tag_is_a_name_or_two(name: str) -> None:
    assert check_tag(name) == name


@pytest.mark.parametrize(
    "name", ["", "=", "a=", "=b", "a=b=c", "a b", "a\n", "*", "%", "n" * 64, "k=" + "v" * 62, "db ", "a..b", "d\u00e9"]
)
def test_what_is_no_name_is_no_tag(name: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_tag(name)


def test_a_colour_has_one_form() -> None:
    assert (check_colour(""), check_colour("#ABCDEF")) == ("", "#abcdef")
    for wrong in ("red", "#abc", "#abcdefg", "abcdef", "#12345\n"):
        with pytest.raises(ValueError, match="colour"):
            check_colour(wrong)


LISTS: tuple[tuple[Any, list[str] | None], ...] = (
    ([], []),
    (["b", "a", "b"], ["b", "a"]),
    (["db", 5, None, ["x"], "a b", "DB"], ["db", "DB"]),
    ([5], None),
    (["a b"], None),
    ([["db"]], None),
    (None, None),
    ({}, None),
    ("db", None),
    (5, None),
    (True, None),
)


@pytest.mark.parametrize(("found", "names"), LISTS)
def test_a_list_that_holds_no_tag_is_not_taken_for_an_empty_one(found: Any, names: list[str] | None) -> None:
    assert names_of(found) == names
    assert names_in(json.dumps(found)) == names


@pytest.mark.parametrize("text", [None, 5, "", "[", "[" * 100_000, '["db"', b"[]"])
def test_what_is_no_json_says_nothing(text: Any) -> None:
    assert names_in(text) is None
