"""Spans of the week: when a channel may be used, when a backup may begin. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

WEEK = 7
_SPANS = 32
"""More than a week has of windows and blackouts by turns."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of days of the week from 1, Monday, in a zone of their own."""

    zone: str
    days: frozenset[int]
    begins: time
    ends: time
    """Not after `begins`: the span goes on past midnight, and belongs to the day it began on."""

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Hours:
        """Read hours as they are kept: zone, days, begins, ends."""
        begins, ends = time.fromisoformat(kept["begins"]), time.fromisoformat(kept["ends"])
        return cls(kept["zone"], frozenset(kept["days"]), begins, ends)

    def next_open(self, now: datetime) -> datetime:
        """Return now, or when the hours begin next."""
        for begins, ends in self._spans(now):
            if now < ends:
                return max(now, begins.astimezone(now.tzinfo))
        return now  # no day at all: refused where hours are set

    def closes(self, now: datetime) -> datetime:
        """Return when the hours that are open now end; now, if they are closed."""
        last = now
        for begins, ends in self._spans(now):
            if begins <= last < ends:  # spans may follow one another without a break
                last = ends.astimezone(now.tzinfo)
        return last

    def _spans(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        zone = ZoneInfo(self.zone)
        today = now.astimezone(zone).date()
        for ahead in range(-1, WEEK + 1):
            day = today + timedelta(days=ahead)
            if day.isoweekday() in self.days:
                last = day if self.ends > self.begins else day + timedelta(days=1)
                yield datetime.combine(day, self.begins, zone), datetime.combine(last, self.ends, zone)


def may_begin(now: datetime, window: Hours | None, blackout: Hours | None) -> datetime:
    """Return now, or when the window is open next and no blackout is on."""
    at = now
    for _ in range(_SPANS):
        opens = window.next_open(at) if window else at
        at = blackout.closes(opens) if blackout else opens
        if at == opens:
            break
    return at
