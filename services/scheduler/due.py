"""What becomes of a schedule that has come due. Pure: the row's figures and the clock in, a verdict out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.domain.hours import may_begin
from shared.domain.messages.schedules import DOWNTIME, OVERLAP, WINDOW
from shared.domain.schedule import Spec, next_run, runs_after

if TYPE_CHECKING:
    from shared.domain.hours import Hours
    from shared.domain.message import Said

LATE = timedelta(minutes=15)
"""So much later than it should have begun, a run was not made in its time: nobody was there to make it."""
_COUNTED = 1000


@dataclass(frozen=True, slots=True)
class Waiting:
    """A schedule as its row says."""

    spec: Spec
    offset: timedelta
    """Its jitter."""
    due_at: datetime
    next_run_at: datetime
    catch_up: bool
    skip_overlap: bool
    window: Hours | None
    blackout: Hours | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do: run or not, what was missed and why, and when to look again."""

    due_at: datetime
    next_run_at: datetime
    run: bool = False
    begin_by: datetime | None = None
    """When its window ends, or a blackout begins."""
    missed: Said | None = None
    """Why nothing was run, with the code downtime, overlap or window; None when nothing was missed."""


def judge(waiting: Waiting, now: datetime, *, paused: bool, busy: bool) -> Verdict:
    """Decide what becomes of a schedule that is due now; `busy`: a run of the same backup job is under way."""
    following = next_run(waiting.spec, now - waiting.offset) + waiting.offset
    if paused:
        return Verdict(following, following)
    if now - waiting.next_run_at > LATE and not waiting.catch_up:
        count = _came_due(waiting, now)
        said = DOWNTIME(begun=waiting.next_run_at, ended=now, count=count)
        return Verdict(following, following, missed=said)
    opens = may_begin(now, waiting.window, waiting.blackout)
    if opens > now:
        if opens >= following:
            return Verdict(following, following, missed=WINDOW(opens=opens))
        return Verdict(waiting.due_at, opens)
    if busy and waiting.skip_overlap:
        return Verdict(following, following, missed=OVERLAP())
    return Verdict(following, following, run=True, begin_by=_ends(waiting, now))


def _ends(waiting: Waiting, now: datetime) -> datetime | None:
    """Return when a run that is due now can begin no more; None if there is no such time."""
    ends = [waiting.window.closes(now)] if waiting.window else []
    return min([*ends, waiting.blackout.next_open(now)] if waiting.blackout else ends, default=None)


def _came_due(waiting: Waiting, now: datetime) -> int:
    count = 1
    for run in runs_after(waiting.spec, waiting.due_at - waiting.offset):
        if run + waiting.offset > now or count >= _COUNTED:
            return count
        count += 1
    return count
