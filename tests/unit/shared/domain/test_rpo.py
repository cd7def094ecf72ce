from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.rpo import breaks_at, state_of, target_seconds

NOW = datetime(2026, 3, 4, tzinfo=UTC)


def test_the_target_is_the_jobs_own_or_two_periods_of_its_densest_schedule() -> None:
    assert target_seconds(500, [100]) == 500
    assert target_seconds(None, [86_400, 3600]) == 7200
    assert target_seconds(None, []) is None


@pytest.mark.parametrize(
    ("age", "state"), [(0, "ok"), (75, "ok"), (76, "at_risk"), (100, "at_risk"), (101, "breached")]
)
def test_a_state_changes_at_its_deadline_and_not_at_the_next_success(age: int, state: str) -> None:
    made_at = NOW - timedelta(seconds=age)
    assert state_of(100, made_at, NOW - timedelta(days=9), NOW) == state
    assert state_of(100, None, made_at, NOW) == state  # never made: measured from its definition
    assert breaks_at(100, made_at, NOW) == made_at + timedelta(seconds=100)


def test_a_backup_from_the_future_does_not_keep_a_target_for_a_year() -> None:
    ahead = NOW + timedelta(days=365)
    assert state_of(100, ahead, NOW - timedelta(days=9), NOW) == "breached"
    assert state_of(100, NOW + timedelta(seconds=200), NOW - timedelta(days=9), NOW) == "ok"  # clocks differ a little


def test_without_a_target_nothing_is_judged() -> None:
    assert state_of(None, None, NOW, NOW) == "no_target"
    assert breaks_at(None, NOW, NOW) is None
