from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.due import LATE, Verdict, Waiting, judge
from shared.domain.hours import Hours
from shared.domain.schedule import SPEC

NIGHT = datetime(2026, 3, 4, 2, 30, tzinfo=UTC)  # a Wednesday
DAILY = Waiting(
    spec=SPEC.validate_python({"kind": "days", "times": ["02:30"]}), offset=timedelta(0), due_at=NIGHT,
    next_run_at=NIGHT, catch_up=True, skip_overlap=True, window=None,
)  # fmt: skip
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def code_of(verdict: Verdict, *, text: bool = False) -> str:
    """Return why a run was missed, as code or sentence; empty if none was."""
    return "" if verdict.missed is None else verdict.missed.text if text else verdict.missed.code


def window(begins: int, ends: int) -> Hours:
    return Hours("UTC", frozenset(range(1, 8)), time(begins), time(ends))


def test_what_is_due_runs_and_is_due_next_a_day_later() -> None:
    verdict = judge(DAILY, NIGHT + SECOND, paused=False, busy=False)
    assert (verdict.run, code_of(verdict), verdict.due_at, verdict.next_run_at) == (True, "", NIGHT + DAY, NIGHT + DAY)


def test_after_downtime_it_runs_once_or_is_missed_as_chosen() -> None:
    late = NIGHT + 5 * DAY + LATE
    once = judge(DAILY, late + SECOND, paused=False, busy=False)
    assert (once.run, once.next_run_at) == (True, NIGHT + 6 * DAY)
    skipped = judge(replace(DAILY, catch_up=False), late + SECOND, paused=False, busy=False)
    assert (skipped.run, code_of(skipped), skipped.next_run_at) == (False, "downtime", NIGHT + 6 * DAY)
    assert "6 runs were due" in code_of(skipped, text=True)


def test_a_run_under_way_is_waited_for_or_the_next_one_is_missed_as_chosen() -> None:
    skipped = judge(DAILY, NIGHT, paused=False, busy=True)
    assert (skipped.run, code_of(skipped)) == (False, "overlap")
    assert judge(replace(DAILY, skip_overlap=False), NIGHT, paused=False, busy=True).run


def test_what_is_paused_is_neither_run_nor_missed() -> None:
    verdict = judge(DAILY, NIGHT, paused=True, busy=False)
    assert (verdict.run, code_of(verdict), verdict.next_run_at) == (False, "", NIGHT + DAY)


def test_a_run_outside_its_window_waits_for_it_and_is_not_late_then() -> None:
    evening = replace(DAILY, window=window(20, 23), catch_up=False)
    waits = judge(evening, NIGHT, paused=False, busy=False)
    opens = NIGHT.replace(hour=20, minute=0)
    assert (waits.run, code_of(waits), waits.due_at, waits.next_run_at) == (False, "", NIGHT, opens)
    runs = judge(replace(evening, next_run_at=opens), opens + SECOND, paused=False, busy=False)
    assert (runs.run, runs.begin_by, runs.due_at) == (True, NIGHT.replace(hour=23, minute=0), NIGHT + DAY)


def test_a_blackout_holds_runs_back_and_ends_those_that_last_into_it() -> None:
    working = replace(DAILY, blackout=window(1, 6))  # due at 02:30
    assert judge(working, NIGHT, paused=False, busy=False).next_run_at == NIGHT.replace(hour=6, minute=0)
    opened = NIGHT.replace(hour=6, minute=0)
    verdict = judge(replace(working, next_run_at=opened), opened, paused=False, busy=False)
    assert (verdict.run, verdict.begin_by) == (True, NIGHT.replace(hour=1, minute=0) + DAY)
    both = replace(working, window=window(4, 8))
    assert judge(both, NIGHT, paused=False, busy=False).next_run_at == opened
    verdict = judge(replace(both, next_run_at=opened), opened, paused=False, busy=False)
    assert verdict.begin_by == NIGHT.replace(hour=8, minute=0)
    always = replace(DAILY, blackout=window(0, 0))
    assert code_of(judge(always, NIGHT, paused=False, busy=False)) == "window"


def test_a_window_that_opens_after_the_next_run_makes_it_a_missed_one() -> None:
    hourly = replace(DAILY, spec=SPEC.validate_python({"kind": "hours", "every": 1}), window=window(20, 23))
    verdict = judge(hourly, NIGHT, paused=False, busy=False)
    assert (code_of(verdict), verdict.next_run_at) == ("window", NIGHT.replace(hour=3, minute=0))


@given(st.integers(0, 100 * 86_400), st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 3600))
def test_whatever_happens_time_only_goes_on_and_nothing_is_both_run_and_missed(
    late: int, catch_up: bool, skip: bool, paused: bool, busy: bool, offset: int
) -> None:
    shift = timedelta(seconds=offset)
    due = NIGHT + shift
    waiting = replace(DAILY, offset=shift, due_at=due, next_run_at=due, catch_up=catch_up, skip_overlap=skip)
    now = due + timedelta(seconds=late)
    verdict = judge(waiting, now, paused=paused, busy=busy)
    assert now < verdict.next_run_at <= now + DAY
    assert not (verdict.run and verdict.missed is not None)
    assert (verdict.next_run_at - shift).time() == time(2, 30)
