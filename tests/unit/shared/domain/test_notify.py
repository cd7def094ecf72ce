from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.alerts import AlertKind, Level
from shared.domain.hours import Hours
from shared.domain.notify import UNITS, Entry, Routing, group, render, retry_delay

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday


def entry(what: str, alert: object, level: str = "critical") -> Entry:
    return Entry(what, "disk", "server:web1:/", level, 95.0, 90.0, NOON, alert)


@pytest.mark.parametrize(
    ("hours", "now", "expected"),
    [
        (Hours("UTC", frozenset({3}), time(8), time(18)), NOON, NOON),
        (Hours("UTC", frozenset({3}), time(13), time(18)), NOON, NOON.replace(hour=13)),
        (Hours("UTC", frozenset({3}), time(8), time(12)), NOON, datetime(2026, 3, 11, 8, tzinfo=UTC)),
        (Hours("UTC", frozenset({1, 2}), time(0), time(0)), NOON, datetime(2026, 3, 9, tzinfo=UTC)),
        # Past midnight: Wednesday's night, seen on Thursday at one.
        (Hours("UTC", frozenset({3}), time(22), time(6)), NOON + timedelta(hours=13), NOON + timedelta(hours=13)),
        (Hours("Europe/Paris", frozenset({3}), time(14), time(15)), NOON, NOON.replace(hour=13)),
    ],
)
def test_hours_are_those_of_their_zone_and_of_the_day_they_began_on(
    hours: Hours, now: datetime, expected: datetime
) -> None:
    assert hours.next_open(now) == expected


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001 - made aware below
    st.sets(st.integers(1, 7), min_size=1), st.times(), st.times(),
    st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe"]),
)  # fmt: skip
def test_what_waits_for_hours_is_told_within_them_and_never_lost(
    now: datetime, days: set[int], begins: time, ends: time, zone: str
) -> None:
    now = now.replace(tzinfo=UTC)
    hours = Hours(zone, frozenset(days), begins.replace(second=0, microsecond=0), ends.replace(second=0, microsecond=0))
    opened = hours.next_open(now)
    assert now <= opened <= now + timedelta(days=8, hours=1)
    assert hours.next_open(opened) == opened
    local = opened.astimezone(ZoneInfo(zone))
    assert {local.isoweekday(), (local - timedelta(days=1)).isoweekday()} & days


def test_a_channel_hears_only_of_what_it_asked_for() -> None:
    assert Routing().wants("disk", Level.WARNING, [])
    assert not Routing(least=Level.CRITICAL).wants("disk", Level.WARNING, [])
    assert Routing(least=Level.CRITICAL).wants("disk", Level.CRITICAL, [])
    assert not Routing(kinds=frozenset({"cpu"})).wants("disk", Level.CRITICAL, [])
    assert not Routing(tags=frozenset({"db"})).wants("disk", Level.CRITICAL, ["web"])
    assert Routing(tags=frozenset({"db"})).wants("disk", Level.CRITICAL, ["web", "db"])


def test_a_digest_waits_and_then_for_the_hours() -> None:
    assert Routing(digest_seconds=60).due(NOON) == NOON + timedelta(seconds=60)
    evening = Hours("UTC", frozenset({3}), time(18), time(20))
    assert Routing(digest_seconds=60, hours=evening).due(NOON) == NOON.replace(hour=18)


def test_of_each_incident_the_last_word_is_told_and_what_came_and_went_is_not() -> None:
    told, needless = group([entry("raise", 1), entry("raise", 2, "warning"), entry("relevel", 2), entry("resolve", 1)])
    assert [(one.alert, one.what) for one in told] == [(2, "relevel")]
    assert sorted((one.alert, one.what) for one in needless) == [(1, "raise"), (1, "resolve"), (2, "raise")]
    told, needless = group([entry("resolve", 3)])  # it was told before that it began
    assert (len(told), needless) == (1, [])
    told, _ = group([entry("test", None), entry("test", None)])
    assert len(told) == 2


def test_texts_say_what_where_how_much_and_from_where() -> None:
    title, text = render([entry("raise", 1)])
    assert title == "CRITICAL: disk of server:web1:/ at 95, threshold 90 %"
    assert "2026-03-04 12:00:00 UTC" in text
    assert render([entry("resolve", 1)])[0].startswith("RESOLVED: disk")
    assert render([entry("remind", 1)])[0].startswith("CRITICAL (still)")
    title, text = render([entry("raise", 1), entry("raise", 2, "warning"), entry("resolve", 3)])
    assert title == "3 alerts: 1 critical, 1 warnings, 1 resolved"
    assert len(text.splitlines()) == 3
    doubtful = Entry("raise", "backup_doubtful", "backup_job:web1-system", "warning", 1, 1, NOON)
    title, text = render([doubtful])
    assert title.endswith("doubtful backups since the last good one")
    assert "borgfleet backup accept" in text  # whoever reads it knows the way
    assert "accept" not in render([replace(doubtful, what="resolve")])[1]
    assert render([Entry("test", "", "", "", None, None, NOON)])[0] == "Test: this channel works"


def test_tries_become_rarer_and_every_kind_has_its_unit() -> None:
    assert [retry_delay(n) for n in (1, 2, 3, 9, 100)] == [10, 20, 40, 1800, 1800]
    assert set(UNITS) == {kind.value for kind in AlertKind}
