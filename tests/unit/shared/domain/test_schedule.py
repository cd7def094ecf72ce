from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.domain.schedule import SPEC, in_words, jitter, longest_gap, next_run, runs_after

ZONES = ["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"]
MINUTE = timedelta(minutes=1)


def spec(**values: Any) -> Any:
    return SPEC.validate_python(values)


def minute_by_minute(wanted: dict[date, list[time]], zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """Walk through real time, minute by minute, with a clock on the wall: what is due and not done yet, is done now."""
    done: set[tuple[date, time]] = set()
    found: list[datetime] = []
    now = begin
    while now < end:
        wall = now.astimezone(ZoneInfo(zone))
        due = {(wall.date(), at) for at in wanted.get(wall.date(), []) if at <= wall.time()} - done
        if due:
            done |= due
            found.append(now)
        now += MINUTE
    return found


def days_of(falls_on: Any, times: list[time], begin: datetime, end: datetime) -> dict[date, list[time]]:
    day, days = begin.date() - timedelta(days=1), {}
    while day <= end.date() + timedelta(days=1):
        if falls_on(day):
            days[day] = times
        day += timedelta(days=1)
    return days


def clock_changes(zone: str, year: int = 2026) -> Iterator[datetime]:
    hour = datetime(year, 1, 1, tzinfo=UTC)
    while hour.year == year:
        after = hour + timedelta(hours=1)
        if hour.astimezone(ZoneInfo(zone)).utcoffset() != after.astimezone(ZoneInfo(zone)).utcoffset():
            yield after
        hour = after


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("at", ["00:00", "01:30", "01:45", "02:00", "02:15", "02:30", "02:59", "03:00", "23:59"])
def test_across_each_clock_change_a_daily_run_is_never_twice_and_never_left_out(zone: str, at: str) -> None:
    for change in [*clock_changes(zone), datetime(2026, 6, 1, tzinfo=UTC)]:
        first = (change - timedelta(days=3)).astimezone(ZoneInfo(zone)).date()
        begin, end = (
            datetime.combine(day, time(0), ZoneInfo(zone)).astimezone(UTC) for day in (first, first + timedelta(days=6))
        )
        expected = minute_by_minute(days_of(lambda _: True, [time.fromisoformat(at)], begin, end), zone, begin, end)
        hour, minute = at.split(":")
        for schedule in (
            spec(kind="days", times=[at], zone=zone),
            spec(kind="weekly", days=[1, 2, 3, 4, 5, 6, 7], times=[at], zone=zone),
            spec(kind="cron", expression=f"{int(minute)} {int(hour)} * * *", zone=zone),
        ):
            found = [run for run in islice(runs_after(schedule, begin - MINUTE), 8) if run < end]
            assert found == expected, (zone, at, schedule.kind)
            assert len(found) == 6


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(ZONES), st.sets(st.integers(1, 31), min_size=1, max_size=4),
    st.sets(st.times().map(lambda t: t.replace(second=0, microsecond=0)), min_size=1, max_size=3),
    st.integers(1, 12),
)  # fmt: skip
def test_days_of_the_month_are_those_of_an_independent_walk(
    zone: str, days: set[int], times: set[time], month: int
) -> None:
    begin = datetime(2026, month, 25, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    end = begin + timedelta(days=12)

    def falls_on(day: date) -> bool:
        last = (day + timedelta(days=1)).month != day.month
        return day.day in days or (last and any(wanted > day.day for wanted in days))

    schedule = spec(kind="monthly", days=sorted(days), times=[f"{t:%H:%M}" for t in times], zone=zone)
    expected = minute_by_minute(days_of(falls_on, sorted(times), begin, end), zone, begin, end)
    found = [run for run in islice(runs_after(schedule, begin - MINUTE), len(expected) + 1) if run < end]
    assert found == expected


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "cron", "expression": "*/15 * * * *"}, {"kind": "cron", "expression": "@monthly"},
        {"kind": "hours", "every": 7}, {"kind": "days", "every": 3, "times": ["02:30", "02:31"]},
        {"kind": "weekly", "days": [7], "times": ["02:00"]}, {"kind": "monthly", "days": [31], "times": ["00:00"]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("zone", ZONES)
def test_times_only_rise_and_asking_from_one_gives_the_next(values: dict[str, Any], zone: str) -> None:
    schedule = spec(**values, zone=zone)
    runs = list(islice(runs_after(schedule, datetime(2026, 3, 1, tzinfo=UTC)), 60))
    for one, following in pairwise(runs):
        assert one < following == next_run(schedule, one)
    assert longest_gap(schedule, runs[0]) >= runs[1] - runs[0]


def test_every_so_many_days_goes_on_over_new_year() -> None:
    schedule = spec(kind="days", every=5, times=["12:00"])
    runs = list(islice(runs_after(schedule, datetime(2026, 12, 1, tzinfo=UTC)), 20))
    assert {following - one for one, following in pairwise(runs)} == {timedelta(days=5)}


def test_jitter_is_a_names_own_and_stays() -> None:
    offsets = [jitter(f"job{number}", 600) for number in range(200)]
    assert offsets == [jitter(f"job{number}", 600) for number in range(200)]
    assert all(timedelta(0) <= offset < timedelta(seconds=600) for offset in offsets)
    assert len(set(offsets)) > 100
    assert jitter("x", 0) == timedelta(0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "cron", "expression": "30 2 * * 1-5", "zone": "Europe/Paris"}, "At 02:30 on Monday through Friday, Europe/Paris"),
        ({"kind": "hours", "every": 1}, "Every hour"),
        ({"kind": "hours", "every": 6}, "Every 6 hours"),
        ({"kind": "days", "times": ["22:00", "02:00"]}, "Every day at 02:00 and 22:00, UTC"),
        ({"kind": "days", "every": 3, "times": ["02:00"]}, "Every 3 days at 02:00, UTC"),
        ({"kind": "weekly", "days": [6, 1, 3], "times": ["02:00"]}, "Every Monday, Wednesday and Saturday at 02:00, UTC"),
        ({"kind": "monthly", "days": [1], "times": ["02:00"]}, "On day 1 of each month at 02:00, UTC"),
        ({"kind": "monthly", "days": [31, 15], "times": ["02:00"]}, "On day 15 and 31 of each month (or its last day) at 02:00, UTC"),
    ],
)  # fmt: skip
def test_a_schedule_in_words(values: dict[str, Any], words: str) -> None:
    assert in_words(spec(**values)) == words


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "cron", "expression": "61 * * * *"}, {"kind": "cron", "expression": "0 0 30 2 *"},
        {"kind": "cron", "expression": "0 0 31 4,6 *"},
        {"kind": "cron", "expression": "@sometimes"}, {"kind": "hours", "every": 0},
        {"kind": "days", "times": []}, {"kind": "days", "times": ["02:30:15"]}, {"kind": "weekly", "days": [8], "times": ["02:00"]},
        {"kind": "monthly", "days": [0], "times": ["02:00"]}, {"kind": "days", "times": ["02:00"], "zone": "Mars/Olympus"},
        {"kind": "days", "times": ["02:00"], "zone": "../../etc/passwd"}, {"kind": "sometimes"},
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        spec(**values)
