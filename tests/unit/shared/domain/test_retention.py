from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.domain.retention import Candidate, Mark, Policy, Verdict, apply, marked, refuse_wrong_clock
from shared.errors import Permanent

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAILY = [Candidate(day, NOW - timedelta(days=day)) for day in range(30)]
THREE_DAYS = Policy(keep_daily=3)


def archive_of(key: Hashable, minutes_ago: int, kind: str, held: bool = False) -> Candidate:
    """A good, a doubtful or an unusable archive."""
    return Candidate(key, NOW - timedelta(minutes=minutes_ago), good=kind == "g", held=held, doubtful=kind == "d")


candidates = st.lists(
    st.builds(
        archive_of, st.integers(), st.integers(-366 * 24 * 60, 3 * 366 * 24 * 60), st.sampled_from("gggdu"), st.booleans(),
    ),
    unique_by=(lambda one: one.id, lambda one: one.at), max_size=60,
)  # fmt: skip
numbers = st.integers(0, 8)
policies = st.builds(
    dict, keep_last=numbers, keep_hourly=numbers, keep_daily=numbers, keep_weekly=numbers, keep_monthly=numbers,
    keep_yearly=numbers, keep_within_hours=st.integers(0, 500), deletion_limit_percent=st.integers(1, 100),
).filter(lambda p: any(number for name, number in p.items() if name != "deletion_limit_percent")).map(Policy.model_validate)  # fmt: skip


@given(candidates, policies)
def test_the_last_good_one_and_held_ones_stay_and_nothing_is_both_kept_and_dropped(
    archives: list[Candidate], policy: Policy
) -> None:
    verdict = apply(policy, archives, NOW)
    assert set(verdict.kept) | set(verdict.dropped) == {one.id for one in archives}
    assert not set(verdict.kept) & set(verdict.dropped)
    good = sorted((one for one in archives if one.good and one.at <= NOW), key=lambda one: one.at)
    assert not good or good[-1].id in verdict.kept
    assert {one.id for one in archives if one.held} <= set(verdict.kept)


@given(candidates, policies)
def test_what_is_not_good_or_from_the_future_never_displaces_a_good_one(
    archives: list[Candidate], policy: Policy
) -> None:
    """Whatever else there is, each good one stays that would stay were they alone."""
    good = [one for one in archives if one.good and one.at <= NOW]
    assert set(apply(policy, good, NOW).kept) <= set(apply(policy, archives, NOW).kept)


@given(candidates, policies)
def test_what_is_from_the_future_stays_and_nobody_counts_it(archives: list[Candidate], policy: Policy) -> None:
    now = NOW - timedelta(days=100)
    future = {one.id for one in archives if one.at > now + timedelta(minutes=5)}
    verdict = apply(policy, archives, now)
    alone = apply(policy, [one for one in archives if one.id not in future], now)
    assert future <= set(verdict.kept)
    assert {key: rule for key, rule in verdict.kept.items() if key not in future} == alone.kept


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
    assert set(apply(THREE_DAYS, [old, good, new], NOW).kept) == {"good", "new"}
    assert set(apply(THREE_DAYS, [old, new], NOW).kept) == {"old", "new"}


def pruned(there: list[Candidate], verdict: Verdict, mark: Mark | None, now: datetime) -> tuple[list[Candidate], Mark]:
    """Return what a prune leaves, and its mark."""
    good = [one for one in there if one.good]
    gone = sum(one.id in verdict.dropped for one in good)
    return [one for one in there if one.id in verdict.kept], marked(mark, [one.at for one in good], gone, now)


def nights(kinds: str, policy: Policy, *, hours: int = 24) -> list[Candidate]:
    """Make one archive a night, prune after each as the product does, and return what is there at the end."""
    there: list[Candidate] = []
    mark: Mark | None = None
    for night, kind in enumerate(kinds):
        now = NOW + timedelta(hours=hours * night)
        there.append(Candidate(night, now, good=kind == "g", doubtful=kind == "d"))
        verdict = apply(policy, there, now, mark)
        if not verdict.deletion_limit_reached:
            there, mark = pruned(there, verdict, mark, now)
    return there


def test_the_last_full_archive_outlives_any_number_of_emptied_nights() -> None:
    assert {0, 1} <= {one.id for one in nights("gg" + "d" * 60, Policy(keep_last=2))}


def test_a_tree_that_cannot_be_read_each_night_does_not_push_out_the_full_archives() -> None:
    """Seven full ones, then a doubtful one a night: after night 13 none of the full ones was left."""
    there = nights("g" * 7 + "d" * 30, Policy(keep_daily=7))
    assert set(range(7)) <= {one.id for one in there}
    assert len([one for one in there if one.doubtful]) <= 9


def test_old_age_leaves_one_good_archive_a_week_while_newer_ones_are_suspect() -> None:
    left = [
        one.id
        for one in nights("g" * 28 + "d" * 200, Policy(keep_within_hours=48, deletion_limit_percent=100))
        if one.good
    ]
    assert len(left) >= 1
    suspect = [*(archive_of(n, 24 * 60 * n, "g") for n in range(2, 30)), archive_of("doubt", 60, "d")]
    kept = apply(Policy(keep_last=1), suspect, NOW).kept
    weeks = {(NOW - timedelta(days=n)).isocalendar()[:2] for n in range(2, 30)}
    assert {(NOW - timedelta(days=n)).isocalendar()[:2] for n in kept if isinstance(n, int)} == weeks
    assert set(apply(Policy(keep_last=1), [*suspect, archive_of("good", 0, "g")], NOW).kept) == {"good"}


@given(st.text("gdu", max_size=30), policies, st.sampled_from([1, 24, 24 * 7]))
def test_over_any_sequence_of_nights_the_last_good_one_stays_and_what_is_not_good_is_bounded(
    kinds: str, policy: Policy, hours: int
) -> None:
    there = nights(kinds, policy, hours=hours)
    good = [night for night, kind in enumerate(kinds) if kind == "g"]
    assert not good or good[-1] in {one.id for one in there}
    newest = NOW + timedelta(hours=hours * max(0, len(kinds) - 1))
    since = NOW + timedelta(hours=hours * good[-1]) if good else NOW - timedelta(days=1)
    rules = sum(policy.wanted(rule) + 1 for rule in ("last", "hourly", "daily", "weekly", "monthly", "yearly"))
    for doubtful in (True, False):
        pending = [one for one in there if not one.good and one.doubtful is doubtful and one.at > since]
        young = [one for one in pending if one.at > newest - timedelta(hours=policy.keep_within_hours)]
        assert len(pending) - len(young) <= rules + 2


def test_a_doubtful_archive_stays_until_its_rule_has_enough_good_ones_that_are_newer() -> None:
    """It fills the day that has no good one; what failed goes as soon as a good one follows."""
    there = nights("gdu" + "g" * 2, Policy(keep_daily=3))
    assert [(one.id, one.doubtful) for one in there] == [(0, False), (1, True), (3, False), (4, False)]
    assert [one.id for one in nights("gdu" + "g" * 3, Policy(keep_daily=3))] == [3, 4, 5]


def test_a_day_that_has_a_good_archive_keeps_no_doubtful_one_beside_it() -> None:
    evening = [Candidate("good", NOW), Candidate("doubt", NOW - timedelta(hours=2), good=False, doubtful=True)]
    assert set(apply(Policy(keep_daily=7), evening, NOW).kept) == {"good"}
    assert set(apply(Policy(keep_hourly=7), evening, NOW).kept) == {"good", "doubt"}


def test_years_of_doubtful_archives_do_not_go_because_one_night_was_green() -> None:
    """Of before the upgrade, or of one directory that nobody may read: the rules hold for them, good ones are scarce."""
    policy = Policy(keep_daily=7, keep_monthly=12)
    yellow = [archive_of(n, n * 24 * 60 + 60, "d") for n in range(1, 400)]
    before = apply(policy, yellow, NOW).kept
    assert len(before) >= 7 + 12
    after = apply(policy, [Candidate("green", NOW), *yellow], NOW).kept
    assert len(set(before) - set(after)) <= 1


def test_one_run_with_the_clock_a_year_ahead_costs_no_archive_and_is_not_the_last_good_one() -> None:
    ahead = Candidate("ahead", NOW + timedelta(days=365))
    policy = Policy(keep_last=1, keep_within_hours=48)
    kept = apply(policy, [*DAILY[:5], ahead], NOW).kept
    assert kept == apply(policy, DAILY[:5], NOW).kept | {"ahead": "from the future"}
    assert apply(Policy(keep_last=1), [*DAILY[1:5], ahead], NOW).kept == {1: "last 1", "ahead": "from the future"}


def test_the_deletion_limit_stops_a_policy_that_would_drop_most_at_once() -> None:
    assert apply(THREE_DAYS, DAILY, NOW).deletion_limit_reached
    assert not apply(Policy(keep_daily=20), DAILY, NOW).deletion_limit_reached
    assert not apply(Policy(keep_daily=3, deletion_limit_percent=100), DAILY, NOW).deletion_limit_reached


@pytest.mark.parametrize("deletion_limit_percent", [1, 10, 50])
def test_the_deletion_limit_holds_for_few_archives_too(deletion_limit_percent: int) -> None:
    """Three of four went, whatever the deletion_limit said."""
    assert apply(
        Policy(keep_last=1, deletion_limit_percent=deletion_limit_percent), DAILY[:4], NOW
    ).deletion_limit_reached


@pytest.mark.parametrize("policy", [{"keep_last": 1}, {"keep_daily": 7}, {"keep_last": 2, "keep_weekly": 2}])
def test_the_deletion_limit_never_stops_what_a_policy_does_night_after_night(policy: dict[str, int]) -> None:
    for hours in (1, 24, 24 * 7):
        there = nights("g" * 40, Policy(deletion_limit_percent=1, **policy), hours=hours)
        assert len(there) <= sum(policy.values()) + 2


def test_a_clock_that_jumps_a_year_ahead_meets_the_deletion_limit() -> None:
    """The run that follows the jump makes all others old at once."""
    later = NOW + timedelta(days=365)
    month = Policy(keep_within_hours=30 * 24)
    mark = Mark(NOW - timedelta(days=3), 0, NOW)
    assert apply(month, DAILY[:4], later, mark).deletion_limit_reached
    assert apply(month, [*DAILY[:4], Candidate("after", later)], later, mark).deletion_limit_reached


@pytest.mark.parametrize("apart", [timedelta(days=365), timedelta(days=-365), timedelta(hours=25)])
def test_nothing_is_judged_by_a_clock_that_jumped(apart: timedelta) -> None:
    with pytest.raises(Permanent) as caught:
        refuse_wrong_clock(NOW + apart, NOW)
    assert (caught.value.code, bool(caught.value.remedy)) == ("clocks_disagree", True)
    refuse_wrong_clock(NOW + timedelta(hours=1), NOW)
    refuse_wrong_clock(NOW - timedelta(hours=23), NOW)


def test_many_small_prunes_are_no_way_round_the_deletion_limit() -> None:
    """Each takes less than half, and what is left after all of them would be next to nothing."""
    there, mark = list(DAILY), marked(None, [], 0, NOW)
    for step, keep in enumerate((20, 16, 14, 8, 4, 2, 1)):
        now = NOW + timedelta(hours=step)
        verdict = apply(Policy(keep_last=keep), there, now, mark)
        if not verdict.deletion_limit_reached:
            there, mark = pruned(there, verdict, mark, now)
    assert len(there) == 16


def test_a_mark_counts_for_a_week_and_a_clock_that_went_back_begins_a_new_one() -> None:
    old = [NOW - timedelta(days=day) for day in range(1, 9)]
    first = marked(None, old, 2, NOW)
    assert first == Mark(NOW, 2, NOW)
    later = NOW + timedelta(days=6)
    assert marked(first, old, 3, later) == Mark(NOW, 5, later)
    assert marked(first, [*old, later], 1, later) == Mark(NOW, 2, later)  # one came, one went
    assert marked(first, [*old, later, later], 1, later) == Mark(NOW, 1, later)
    assert marked(first, old, 1, NOW + timedelta(days=8)).taken == 1
    assert marked(first, old, 1, NOW - timedelta(days=1)).taken == 1


def test_what_a_person_deleted_does_not_stop_the_next_prune() -> None:
    mark = Mark(NOW - timedelta(days=3), 0, NOW - timedelta(hours=12))
    assert not apply(Policy(keep_last=3), DAILY[:4], NOW, mark).deletion_limit_reached


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
