from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.domain.retention import Candidate, Policy, apply

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAILY = [Candidate(day, NOW - timedelta(days=day)) for day in range(30)]
THREE_DAYS = Policy(keep_daily=3)

candidates = st.lists(
    st.builds(
        Candidate, st.integers(), st.integers(0, 3 * 366 * 24 * 60).map(lambda m: NOW - timedelta(minutes=m)),
        st.booleans(), st.booleans(),
    ),
    unique_by=(lambda one: one.id, lambda one: one.at), max_size=60,
)  # fmt: skip
numbers = st.integers(0, 8)
policies = st.builds(
    dict, keep_last=numbers, keep_hourly=numbers, keep_daily=numbers, keep_weekly=numbers, keep_monthly=numbers,
    keep_yearly=numbers, keep_within_hours=st.integers(0, 500), brake_percent=st.integers(1, 100),
).filter(lambda p: any(number for name, number in p.items() if name != "brake_percent")).map(Policy.model_validate)  # fmt: skip


@given(candidates, policies)
def test_the_last_good_one_and_held_ones_stay_and_nothing_is_both_kept_and_dropped(
    archives: list[Candidate], policy: Policy
) -> None:
    verdict = apply(policy, archives, NOW)
    assert set(verdict.kept) | set(verdict.dropped) == {one.id for one in archives}
    assert not set(verdict.kept) & set(verdict.dropped)
    good = sorted((one for one in archives if one.good), key=lambda one: one.at)
    assert not good or good[-1].id in verdict.kept
    assert {one.id for one in archives if one.held} <= set(verdict.kept)


@given(candidates, policies)
def test_a_failed_archive_never_displaces_a_good_one(archives: list[Candidate], policy: Policy) -> None:
    """What the failed ones are does not change which good ones stay."""
    verdict = apply(policy, archives, NOW)
    without = apply(policy, [one for one in archives if one.good], NOW)
    good = {one.id for one in archives if one.good}
    assert {name: rule for name, rule in verdict.kept.items() if name in good} == without.kept


@given(candidates, policies)
def test_what_is_dropped_once_is_dropped_for_good_and_applying_again_drops_nothing_more(
    archives: list[Candidate], policy: Policy
) -> None:
    verdict = apply(policy, archives, NOW)
    rest = [one for one in archives if one.id in verdict.kept]
    assert apply(policy, rest, NOW).dropped == ()


def test_future_dated_archives_of_a_client_are_taken_at_the_time_they_were_observed() -> None:
    poison = [Candidate(f"poison{n}", NOW - timedelta(seconds=n)) for n in range(3)]
    kept = apply(THREE_DAYS, [*DAILY, *poison], NOW).kept
    assert {1, 2} <= set(kept)  # one of today's stays, and the genuine ones of the days before


def test_quarters_are_thirteen_weeks_or_three_months_and_the_oldest_fills_what_is_left() -> None:
    weeks = [Candidate(week, NOW - timedelta(weeks=week)) for week in range(30)]
    assert apply(Policy(keep_quarterly_13weekly=3), weeks, NOW).kept == {
        0: "quarterly_13weekly 1", 10: "quarterly_13weekly 2", 23: "quarterly_13weekly 3",
    }  # fmt: skip
    assert apply(Policy(keep_quarterly_3monthly=9), weeks, NOW).kept == {
        0: "quarterly_3monthly 1", 9: "quarterly_3monthly 2", 22: "quarterly_3monthly 3",
        29: "quarterly_3monthly 4, oldest",
    }  # fmt: skip


def test_an_incomplete_archive_stays_until_a_good_one_follows() -> None:
    old, new = Candidate("old", NOW - timedelta(days=2), good=False), Candidate("new", NOW, good=False)
    good = Candidate("good", NOW - timedelta(days=1))
    assert apply(THREE_DAYS, [old, good, new], NOW).kept == {"good": "daily 1", "new": "no good one since"}
    assert set(apply(THREE_DAYS, [old, new], NOW).kept) == {"old", "new"}


def test_the_brake_stops_a_policy_that_would_drop_most_at_once() -> None:
    assert apply(THREE_DAYS, DAILY, NOW).braked
    assert not apply(Policy(keep_daily=20), DAILY, NOW).braked
    assert not apply(Policy(keep_daily=3, brake_percent=100), DAILY, NOW).braked
    assert not apply(Policy(keep_last=1), DAILY[:4], NOW).braked  # three are always allowed


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"keep_daily": 0},
        {"keep_daily": -1},
        {"keep_daily": 1, "zone": "Mars"},
        {"keep_everything": 1},
        {"keep_quarterly_13weekly": 1, "keep_quarterly_3monthly": 1},
    ],
)
def test_a_policy_that_keeps_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate(wrong)
