from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from shared.domain.hours import Hours

WEDNESDAY = datetime(2026, 3, 4, tzinfo=UTC)


def test_hours_close_at_their_end_past_midnight_too_and_spans_that_meet_are_one() -> None:
    night = Hours("UTC", frozenset({3}), time(22), time(6))
    assert night.closes(WEDNESDAY + timedelta(hours=23)) == WEDNESDAY + timedelta(days=1, hours=6)
    assert night.closes(WEDNESDAY + timedelta(days=1, hours=3)) == WEDNESDAY + timedelta(days=1, hours=6)
    noon = WEDNESDAY + timedelta(hours=12)
    assert night.closes(noon) == noon  # closed
    two_days = Hours("UTC", frozenset({3, 4}), time(0), time(0))
    assert two_days.closes(noon) == WEDNESDAY + timedelta(days=2)


def test_hours_are_read_as_they_are_kept() -> None:
    kept = {"zone": "Europe/Paris", "days": [1, 2], "begins": "08:00:00", "ends": "18:30"}
    assert Hours.of(kept) == Hours("Europe/Paris", frozenset({1, 2}), time(8), time(18, 30))


def test_hours_without_a_day_hold_nothing_back() -> None:
    assert Hours("UTC", frozenset(), time(8), time(9)).next_open(WEDNESDAY) == WEDNESDAY
