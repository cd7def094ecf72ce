from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.alerts import (
    DEFAULTS,
    AlertKind,
    AlertState,
    Change,
    Incident,
    Level,
    Threshold,
    evaluate,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CPU = Threshold(80, 95, for_seconds=600, hysteresis=5)


def lived(threshold: Threshold, *values: float | None, every: timedelta = MINUTE) -> list[Change]:
    incident, changes = None, []
    for number, value in enumerate(values):
        change, incident = evaluate(threshold, incident, value, NOW + number * every)
        changes.append(change)
    return changes


def test_every_kind_has_a_default() -> None:
    assert set(DEFAULTS) == set(AlertKind)


def test_a_short_peak_is_never_heard_of() -> None:
    assert lived(CPU, 99, 99, 10) == [Change.PEND, Change.NONE, Change.FORGET]


def test_a_lasting_overload_is_raised_once_and_resolved_once() -> None:
    changes = lived(CPU, *[85] * 15, 70)
    assert changes == [Change.PEND] + [Change.NONE] * 9 + [Change.RAISE] + [Change.NONE] * 4 + [Change.RESOLVE]


def test_flapping_round_the_threshold_stays_one_incident() -> None:
    at_once = Threshold(80, 90, hysteresis=5)
    changes = lived(at_once, 81, 79, 81, 76, 89, 75.1, 74)
    assert changes == [Change.RAISE] + [Change.NONE] * 5 + [Change.RESOLVE]


def test_worse_and_better_again_is_the_same_incident_at_another_level() -> None:
    at_once = Threshold(80, 90, hysteresis=2)
    assert lived(at_once, 85, 91, 89, 87, 70) == [
        Change.RAISE, Change.RELEVEL, Change.NONE, Change.RELEVEL, Change.RESOLVE,
    ]  # fmt: skip


def test_unknown_neither_raises_nor_resolves() -> None:
    assert lived(Threshold(80, 90), 85, None, None, 85, 10) == [
        Change.RAISE, Change.NONE, Change.NONE, Change.NONE, Change.RESOLVE,
    ]  # fmt: skip
    assert lived(Threshold(80, 90), None) == [Change.NONE]


def test_small_values_can_be_the_bad_ones() -> None:
    hours = Threshold(72, 24, hysteresis=12, below=True)
    assert hours.level(100) is None
    assert hours.level(72) is Level.WARNING
    assert hours.level(3) is Level.CRITICAL
    assert lived(hours, 70, 80, 85) == [Change.RAISE, Change.NONE, Change.RESOLVE]


def test_switched_off_it_ends() -> None:
    off = Threshold(80, 90, enabled=False)
    assert evaluate(off, Incident(AlertState.FIRING, Level.WARNING, NOW), 99, NOW) == (Change.RESOLVE, None)
    assert evaluate(off, None, 99, NOW) == (Change.NONE, None)


def test_an_acknowledgement_runs_out_and_does_not_cover_what_is_worse() -> None:
    threshold = Threshold(80, 90)
    known = Incident(AlertState.ACKNOWLEDGED, Level.WARNING, NOW, acknowledged_until=NOW + MINUTE)
    assert evaluate(threshold, known, 85, NOW) == (Change.NONE, known)
    change, reminded = evaluate(threshold, known, 85, NOW + MINUTE)
    assert change is Change.REMIND
    assert reminded is not None
    assert reminded.state is AlertState.FIRING
    change, worse = evaluate(threshold, known, 95, NOW)
    assert change is Change.RELEVEL
    assert worse is not None
    assert worse.state is AlertState.FIRING


@pytest.mark.parametrize("limits", [(80.0, None), (None, 90.0), (None, None)])
def test_a_level_may_be_left_out(limits: tuple[float | None, float | None]) -> None:
    level = Threshold(*limits).level(99)
    assert level == (Level.CRITICAL if limits[1] else Level.WARNING if limits[0] else None)


def test_what_began_by_a_clock_that_was_ahead_lasts_from_now_on() -> None:
    ahead = Incident(AlertState.PENDING, Level.WARNING, NOW + timedelta(days=400))
    change, incident = evaluate(CPU, ahead, 85, NOW)
    assert (change, incident) == (Change.NONE, Incident(AlertState.PENDING, Level.WARNING, NOW))
    change, incident = evaluate(CPU, incident, 85, NOW + timedelta(seconds=600))
    assert change == Change.RAISE


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=60), st.integers(0, 20))
def test_raised_and_resolved_always_alternate(values: list[float | None], minutes: int) -> None:
    changes = lived(Threshold(70, 90, for_seconds=60 * minutes, hysteresis=5), *values)
    news = [change for change in changes if change in (Change.RAISE, Change.RESOLVE)]
    assert news == [Change.RAISE, Change.RESOLVE] * (len(news) // 2) + [Change.RAISE] * (len(news) % 2)
