"""What roles, tags and tokens leave: a right that grows by being limited is a hole."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.kernel.rights import EVERYTHING, Rights, narrowed, rights_of
from services.api.security.origin import Origin
from services.api.security.throttle import FREE_OF_ACCOUNT, keys_of, pause_after
from shared.domain.permissions import FLEET_ONLY, ROLES, Permission, Role

TAGS = [uuid.UUID(int=number) for number in range(3)]
GRANTS = st.lists(st.tuples(st.sampled_from([*Role, "emperor"]), st.sampled_from([None, *TAGS])), max_size=5)
LIMITS = st.none() | st.lists(st.sampled_from(TAGS), max_size=3)
WANTED = st.none() | st.lists(st.sampled_from([*Permission, "moon:write"]), max_size=8)


@given(GRANTS)
def test_roles_give_what_the_table_says_and_a_tag_nothing_about_the_fleet(grants: list[Any]) -> None:
    rights = rights_of(grants)
    fleet = {one for role, tag in grants if tag is None and role in set(Role) for one in ROLES[role]}
    assert rights.fleet == fleet
    assert not FLEET_ONLY & set(rights.tagged)
    for permission in Permission:
        tags = {tag for role, tag in grants if tag and role in set(Role) and permission in ROLES[role]}
        expected = None if permission in fleet else frozenset() if permission in FLEET_ONLY else tags
        assert rights.tags(permission) == expected


@given(GRANTS, WANTED, LIMITS)
def test_a_token_is_never_more_than_its_user(grants: list[Any], wanted: Any, limits: Any) -> None:
    rights = rights_of(grants)
    less = narrowed(rights, wanted, limits)
    assert rights.holds(less)
    assert EVERYTHING.holds(less)
    if wanted is not None:
        assert less.all <= set(wanted)
    if limits is not None:
        assert less.fleet == frozenset()
        assert all(tags <= set(limits) for tags in less.tagged.values())


def test_less_does_not_hold_more() -> None:
    one, both = rights_of([("viewer", TAGS[0])]), rights_of([("viewer", TAGS[0]), ("viewer", TAGS[1])])
    assert both.holds(one)
    assert not one.holds(both)
    assert not both.holds(rights_of([("viewer", None)]))
    assert not Rights().holds(one)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_failures_are_counted_by_the_owner_of_an_address(address: str, network: str) -> None:
    assert Origin(address, secure=True, own_host=False, agent="").network == network


def test_pauses_grow_and_end() -> None:
    pauses = [pause_after(failures, FREE_OF_ACCOUNT) for failures in range(1, 40)]
    assert pauses[:8] == [0, 0, 0, 0, 1, 2, 4, 8]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 900
    keys = keys_of("a" * 300, Origin("2001:db8::1", secure=True, own_host=False, agent=""))
    assert all(len(key) <= 120 for key in keys)
