"""Messages: schedules, and runs that were due and were not made."""

from __future__ import annotations

from shared.domain.message import Message

DOWNTIME = Message(
    "downtime",
    503,
    "no scheduler was there from {begun:moment} to {ended:moment}; {count} runs were due",
    "see why the scheduler was down; switch `catch_up` on if a late run is better than none",
)
WINDOW = Message(
    "window",
    409,
    "it may begin at {opens:moment}, when the next run is due already",
    "widen the window, or let it run more rarely",
)
OVERLAP = Message(
    "overlap",
    409,
    "another run of this backup job was still queued or running",
    "see what it waits for, or why it takes so long; or let it run more rarely",
)
