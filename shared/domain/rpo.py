"""How old a backup may be (recovery point objective). Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from shared.domain.archive import CLOCK_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Sequence

_PERIODS = 2
_AT_RISK = 0.75
State = Literal["ok", "at_risk", "breached", "no_target"]


def target_seconds(own: int | None, periods: Sequence[int]) -> int | None:
    """Return how old the last good backup may be: the job's own figure, or two periods of its densest schedule."""
    if own is not None:
        return own
    return _PERIODS * min(periods) if periods else None


def state_of(target: int | None, last_good_at: datetime | None, defined_at: datetime, now: datetime) -> State:
    """Return where a backup job stands now; one that never ran is measured from its definition."""
    if target is None:
        return "no_target"
    age = (now - _since(last_good_at, defined_at, now)).total_seconds()
    if age > target:
        return "breached"
    return "at_risk" if age > _AT_RISK * target else "ok"


def _since(last_good_at: datetime | None, defined_at: datetime, now: datetime) -> datetime:
    """Return since when a target counts: a time from the future tells nothing of how old the last good backup is."""
    if last_good_at is None or last_good_at > now + CLOCK_TOLERANCE:
        return defined_at
    return last_good_at


def breaks_at(target: int | None, last_good_at: datetime | None, defined_at: datetime) -> datetime | None:
    """Return when the target is breached if nothing more is backed up."""
    return None if target is None else (last_good_at or defined_at) + timedelta(seconds=target)
