"""What counts as keeping less, and which commands are the same."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain.four_eyes import DIGEST, PERMISSION_OF, PREFIX, Command, Guarded, lowers
from shared.domain.permissions import Permission
from shared.domain.retention import Policy

WEEK = {"keep_daily": 7}


@pytest.mark.parametrize(
    ("before", "after", "less"),
    [
        (None, None, False),
        (WEEK, None, False),  # nothing is pruned any more
        (None, {"keep_daily": 100_000}, True),  # something is pruned from now on
        (WEEK, WEEK, False),
        (WEEK, {"keep_daily": 8}, False),
        (WEEK, {"keep_daily": 7, "keep_weekly": 1}, False),
        (WEEK, {"keep_daily": 6}, True),
        (WEEK, {"keep_weekly": 7}, True),
        (WEEK, {"keep_daily": 6, "keep_yearly": 100}, True),
        ({"keep_within_hours": 48}, {"keep_within_hours": 47, "keep_daily": 9}, True),
        (WEEK, WEEK | {"zone": "Asia/Tokyo"}, True),
        (WEEK, WEEK | {"deletion_limit_percent": 51}, True),
        (WEEK, WEEK | {"brake_percent": 51}, True),
        (WEEK, WEEK | {"deletion_limit_percent": 10}, False),
        (WEEK | {"brake_percent": 60}, WEEK | {"deletion_limit_percent": 60}, False),
        ({"keep_quarterly_13weekly": 4}, {"keep_quarterly_3monthly": 4}, True),
        ({"of_a_newer_version": 1}, WEEK, True),
        ("nonsense", WEEK, True),
    ],
)
def test_a_retention_that_might_keep_less_is_lower(before: Any, after: Any, *, less: bool) -> None:
    assert lowers(before, after) is less
    if isinstance(after, dict):
        assert lowers(before, Policy.model_validate(after)) is less


def test_two_requests_for_the_same_are_one_whatever_their_new_secrets_are() -> None:
    first = Command(Guarded.MAKE_TOKEN, fields={"name": "a", DIGEST: "1", PREFIX: "2"})
    assert first.key == Command(Guarded.MAKE_TOKEN, fields={DIGEST: "3", PREFIX: "4", "name": "a"}).key
    others = [
        Command(Guarded.MAKE_TOKEN, fields={"name": "b"}),
        Command(Guarded.ADD_USER, fields={"name": "a"}),
        Command(Guarded.MAKE_TOKEN, "x", {"name": "a"}),
        Command(Guarded.MAKE_TOKEN, fields={"name": "a"}, version=1),
    ]
    assert len({first.key, *(one.key for one in others)}) == 5


def test_each_kind_asks_the_second_person_for_a_permission() -> None:
    assert set(PERMISSION_OF) == set(Guarded)
    assert Permission.APPROVALS_DECIDE not in PERMISSION_OF.values()
