"""The header If-Match, by a table of what clients send."""

from __future__ import annotations

import pytest

from services.api.kernel.errors import Refused
from services.api.kernel.etag import parsed
from tests.harness.if_match import IF_MATCH


@pytest.mark.parametrize(("lines", "status"), IF_MATCH.values(), ids=IF_MATCH.keys())
def test_it_is_read_as_the_standard_says(lines: list[str], status: int) -> None:
    if status == 400:
        with pytest.raises(Refused) as refused:
            parsed(lines)
        assert (refused.value.code, refused.value.said.status) == ("if_match_malformed", 400)
        assert refused.value.remedy
        return
    given = parsed(lines)
    assert given.given
    assert given.holds(1) is (status == 200)
    assert not given.holds(None), "nothing is there that could match"


def test_without_it_a_change_is_for_whatever_there_is() -> None:
    assert parsed([]).holds(7)
    assert parsed([]).holds(None)


@pytest.mark.parametrize(
    ("line", "known"), [('"3"', 3), ('"3", "12"', 12), ("*", None), ('"abc"', None), (f'"{"9" * 4000}"', None)]
)
def test_the_latest_version_that_was_seen(line: str, known: int | None) -> None:
    assert parsed([line]).known == known
