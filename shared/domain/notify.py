"""Whom an alert is told to, when, and in what words. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.domain.alerts import Change, Level
from shared.domain.hours import Hours

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GIVEN_UP_AFTER = 86_400.0
_FIRST_RETRY, _LONGEST_RETRY = 10.0, 1800.0
_TOLD = (Change.RAISE.value, Change.RELEVEL.value, Change.REMIND.value, Change.RESOLVE.value)


@dataclass(frozen=True, slots=True)
class Routing:
    """What a channel wants to hear of; empty sets stand for everything."""

    least: Level = Level.WARNING
    kinds: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    recovered: bool = True
    hours: Hours | None = None
    digest_seconds: int = 0

    def wants(self, kind: str, level: Level, tags: Iterable[str]) -> bool:
        """Tell whether an incident is of interest; a channel with tags hears only of servers that have one of them."""
        if self.least is Level.CRITICAL and level is not Level.CRITICAL:
            return False
        return (not self.kinds or kind in self.kinds) and (not self.tags or bool(self.tags & set(tags)))

    def due(self, now: datetime) -> datetime:
        """Return when something that happens now is told: after the digest's pause, within the hours."""
        later = now + timedelta(seconds=self.digest_seconds)
        return self.hours.next_open(later) if self.hours else later


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to tell: a change of an incident, or a test."""

    what: str
    kind: str
    about: str
    level: str
    value: float | None
    threshold: float | None
    happened_at: datetime
    alert: object = field(default=None)
    """Whatever tells incidents apart."""


def group(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Return what is worth telling of what has gathered, oldest first, and what is needless.

    Of each incident only the last word counts; one that began and ended before anybody was told is not told at all.
    """
    last: dict[object, Entry] = {}
    begun: set[object] = set()
    for entry in entries:
        key = entry.alert if entry.alert is not None else id(entry)
        last[key] = entry
        if entry.what == Change.RAISE.value:
            begun.add(key)
    told = [entry for key, entry in last.items() if not (entry.what == Change.RESOLVE.value and key in begun)]
    kept = {id(entry) for entry in told}
    return told, [entry for entry in entries if id(entry) not in kept]


def render(entries: Sequence[Entry]) -> tuple[str, str]:
    """Return title and text of one message about one or many things."""
    lines = [_line(entry) for entry in entries]
    if len(lines) == 1:
        entry = entries[0]
        advice = "" if entry.what == Change.RESOLVE.value else ADVICE.get(entry.kind, "")
        since = f"Since {entry.happened_at:%Y-%m-%d %H:%M:%S %Z}."
        return lines[0], "\n".join(filter(None, (lines[0], since, advice)))
    critical = sum(entry.level == Level.CRITICAL.value and entry.what != Change.RESOLVE.value for entry in entries)
    over = sum(entry.what == Change.RESOLVE.value for entry in entries)
    title = f"{len(lines)} alerts: {critical} critical, {len(lines) - critical - over} warnings, {over} resolved"
    return title, "\n".join(lines)


ADVICE = {
    "pool_missing": "`GET /api/storage-pools` says why its node cannot use it. Mount its disk; nothing runs before.",
    "backup_doubtful": "`borgfleet backup list --doubtful` shows them, `borgfleet backup show ID` says why. "
    "Mend the cause; or, if it is as it should be: `borgfleet backup accept ID REASON`. Until then it is not good.",
    "post_hook_owed": "See that what the pre-hook did is undone on the server. "
    "The next run of this backup job runs the post-hook first of all, and is enough if that succeeds.",
}
"""What to do, where the kind alone does not say it."""


def retry_delay(attempts: int) -> float:
    """Return the seconds before the next try."""
    return min(_LONGEST_RETRY, _FIRST_RETRY * 2.0 ** min(attempts - 1, 10))


def _line(entry: Entry) -> str:
    if entry.what not in _TOLD:
        return "Test: this channel works"
    word = "RESOLVED" if entry.what == Change.RESOLVE.value else entry.level.upper()
    again = " (still)" if entry.what == Change.REMIND.value else ""
    value = "" if entry.value is None else f" at {_number(entry.value)}"
    limit = "" if entry.threshold is None else f", threshold {_number(entry.threshold)}"
    unit = UNITS.get(entry.kind, "")
    return f"{word}{again}: {entry.kind.replace('_', ' ')} of {entry.about}{value}{limit}{unit and ' ' + unit}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


UNITS = {
    "cpu": "%", "memory": "%", "swap": "%", "disk": "%", "inodes": "%", "load": "per core",
    "disk_full_soon": "hours until full", "server_unreachable": "seconds of silence",
    "backup_too_old": "times the target age", "backup_failed": "failures in a row",
    "backup_missed": "runs missed", "backup_doubtful": "doubtful backups since the last good one",
    "post_hook_owed": "runs without a post-hook that succeeded",
    "backup_shrunk": "% smaller than usual", "backup_running_long": "times the usual duration", "pool_full": "%",
    "pool_missing": "seconds unseen", "repository_full": "% of its quota",
    "repository_frozen": "(changed without our doing)", "repository_damaged": "(see its last check)",
    "restore_unproven": "times the period of its restore tests without a good one",
    "database_older": "(restored from a backup: set holds and settings of that time again)",
    "service_missing": "seconds unseen",
    "dead_letters": "within a day", "channel_failing": "failed tries",
    "audit_broken": "(rows or seals of the audit log were changed)",
    "access_refused": "attempts refused (treat the server as taken over)",
}  # fmt: skip
