"""Which archives stay and which go, with the rule that keeps each. Pure; the rules are borg's own, and then some.

Time is when Borgfleet observed a run, never what the client's clock said: else an attacker with append rights could
push every genuine archive out with future-dated ones.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.domain.schedule import Zone

if TYPE_CHECKING:
    from collections.abc import Sequence

Period: TypeAlias = "Callable[[datetime], Hashable]"
_QUARTER_WEEKS, _LAST_QUARTER = 13, 4
_ALWAYS_ALLOWED = 3


def _thirteen_weeks(at: datetime) -> Hashable:
    year, week, _ = at.isocalendar()
    return year, min((week - 1) // _QUARTER_WEEKS + 1, _LAST_QUARTER)


_PERIODS: dict[str, Period] = {
    "last": lambda at: at.replace(microsecond=0),
    "hourly": lambda at: (at.date(), at.hour),
    "daily": lambda at: at.date(),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
    "quarterly_13weekly": _thirteen_weeks,
    "quarterly_3monthly": lambda at: (at.year, (at.month - 1) // 3),
    "yearly": lambda at: at.year,
}
"""In borg's order: each rule counts only what none before it keeps."""


class Policy(BaseModel):
    """How much to keep; what no rule keeps goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_within_hours: int = Field(default=0, ge=0, le=100 * 366 * 24, description="Everything younger stays.")
    keep_last: int = Field(default=0, ge=0, le=100_000)
    keep_hourly: int = Field(default=0, ge=0, le=100_000)
    keep_daily: int = Field(default=0, ge=0, le=100_000)
    keep_weekly: int = Field(default=0, ge=0, le=100_000)
    keep_monthly: int = Field(default=0, ge=0, le=100_000)
    keep_quarterly_13weekly: int = Field(default=0, ge=0, le=100_000)
    keep_quarterly_3monthly: int = Field(default=0, ge=0, le=100_000)
    keep_yearly: int = Field(default=0, ge=0, le=100_000)
    zone: Zone = Field(default="UTC", description="Whose days, weeks and months.")
    brake_percent: int = Field(
        default=50, ge=1, le=100, description="If more than this share would go at once, nothing goes."
    )

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if not self.keep_within_hours and not any(self.wanted(rule) for rule in _PERIODS):
            message = "this keeps nothing: give at least one rule a number"
            raise ValueError(message)
        if self.keep_quarterly_13weekly and self.keep_quarterly_3monthly:
            message = "a quarter has thirteen weeks or three months: give one of the two a number"
            raise ValueError(message)
        return self

    def wanted(self, rule: str) -> int:
        """Return how many archives a rule keeps."""
        return int(getattr(self, f"keep_{rule}"))


@dataclass(frozen=True, slots=True)
class Candidate:
    """An archive as retention sees it."""

    id: Hashable
    at: datetime
    """When its run was observed."""
    good: bool = True
    """It passed the truth gate, perhaps with warnings."""
    held: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What stays, and why; what goes, oldest first."""

    kept: dict[Hashable, str]
    dropped: tuple[Hashable, ...]
    braked: bool
    """More would go at once than the policy allows: nothing may go without a person's word."""


def apply(policy: Policy, archives: Sequence[Candidate], now: datetime) -> Verdict:
    """Return what a policy keeps and drops; the last good archive and held ones always stay."""
    newest_first = sorted(archives, key=lambda archive: archive.at, reverse=True)
    good = [archive for archive in newest_first if archive.good]
    kept: dict[Hashable, str] = {}
    if policy.keep_within_hours:
        youngest = now - timedelta(hours=policy.keep_within_hours)
        young = [archive.id for archive in good if archive.at > youngest]
        kept = {archive_id: f"within {number}" for number, archive_id in enumerate(young, 1)}
    for rule, period in _PERIODS.items():
        _keep_by(rule, period, policy, good, kept)
    if good:
        kept.setdefault(good[0].id, "last good")
    for archive in newest_first:
        if archive.held:
            kept.setdefault(archive.id, "held")
        elif not archive.good and (not good or archive.at > good[0].at):
            kept.setdefault(archive.id, "no good one since")
    dropped = tuple(archive.id for archive in reversed(newest_first) if archive.id not in kept)
    share = len(archives) * policy.brake_percent / 100
    return Verdict(kept, dropped, braked=len(dropped) > max(_ALWAYS_ALLOWED, share))


def _keep_by(rule: str, period: Period, policy: Policy, good: Sequence[Candidate], kept: dict[Hashable, str]) -> None:
    """Keep the newest archive of each of the latest periods, as many as are wanted and not kept already."""
    wanted, zone = policy.wanted(rule), ZoneInfo(policy.zone)
    found, before = 0, None
    for archive in good:
        if found == wanted:
            return
        current = period(archive.at.astimezone(zone))
        if current != before and archive.id not in kept:
            found += 1
            kept[archive.id] = f"{rule} {found}"
        before = current
    if good and found < wanted and good[-1].id not in kept:
        kept[good[-1].id] = f"{rule} {found + 1}, oldest"
