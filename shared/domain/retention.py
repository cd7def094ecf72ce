"""Which archives stay and which go, with the rule that keeps each. Pure; the rules are borg's own, and then some.

Time is when Borgfleet observed a run, never what the client's clock said: else an attacker with append rights could
push every genuine archive out with future-dated ones. Only good archives (`shared.domain.backup_state`) satisfy the
rules; what is doubtful, failed, or from the future takes no good one's place.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Self, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from shared.domain.archive import CLOCK_TOLERANCE
from shared.domain.messages.backups import CLOCKS_DISAGREE
from shared.domain.schedule import Zone
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Period: TypeAlias = "Callable[[datetime], Hashable]"
_QUARTER_WEEKS, _LAST_QUARTER = 13, 4
CLOCKS_APART = timedelta(days=1)
"""If two machines' clocks differ by more, nobody knows how old anything is."""
DRIFT = timedelta(days=7)
"""The deletion limit adds up what prunes took within this time."""


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

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_extra={"examples": [{"keep_daily": 7, "keep_weekly": 4}]}
    )

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
    deletion_limit_percent: int = Field(
        validation_alias=AliasChoices("deletion_limit_percent", "brake_percent"),  # as it was called before
        default=50,
        ge=1,
        le=100,
        description="If more than this share of the good backups would go, at once or within a week, nothing goes.",
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
    """`backup_state.is_good` said so."""
    held: bool = False
    doubtful: bool = False
    """Not good, but a person's word would make it so."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What earlier prunes of a backup job left: the deletion limit measures against it."""

    since: datetime
    """When counting began; anew each week."""
    taken: int
    """How many good archives prunes took since then, beyond those that came."""
    pruned_at: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """What stays, and why; what goes, oldest first."""

    kept: dict[Hashable, str]
    dropped: tuple[Hashable, ...]
    deletion_limit_reached: bool
    """More would go at once than the policy allows: nothing may go without a person's word."""


def apply(policy: Policy, archives: Sequence[Candidate], now: datetime, mark: Mark | None = None) -> Verdict:
    """Return what a policy keeps and drops; `now` is the database's, `mark` what the last prunes left.

    The last good archive and held ones always stay. So does what is from the future: nobody knows how old it is.
    """
    newest_first = sorted(archives, key=lambda archive: archive.at, reverse=True)
    there = [archive for archive in newest_first if not is_from_the_future(archive.at, now)]
    good = [archive for archive in there if archive.good]
    kept, reach = _by_rules(policy, good, now)
    if good:
        kept.setdefault(good[0].id, "last good")
    kept |= _suspects(policy, there, [one for one in good if one.id in kept], reach, now)
    if any(not archive.good and archive.at > good[0].at for archive in there if good):
        _keep_weekly(policy, good, kept)
    for archive in newest_first:
        if archive.held:
            kept.setdefault(archive.id, "held")
        elif is_from_the_future(archive.at, now):
            kept[archive.id] = "from the future"
    dropped = tuple(archive.id for archive in reversed(newest_first) if archive.id not in kept)
    return Verdict(kept, dropped, deletion_limit_reached=_is_over_deletion_limit(policy, good, kept, now, mark))


def is_from_the_future(at: datetime, now: datetime) -> bool:
    """Tell whether a time is later than now, beyond what clocks differ."""
    return at > now + CLOCK_TOLERANCE


def refuse_wrong_clock(database: datetime, node: datetime) -> None:
    """Raise if the database's clock and this node's are far apart: one jumped, and age is what a retention goes by."""
    if abs(database - node) > CLOCKS_APART:
        raise Permanent(CLOCKS_DISAGREE(clock=database, hours=abs(database - node).total_seconds() / 3600))


def marked(before: Mark | None, good: Sequence[datetime], dropped: int, now: datetime) -> Mark:
    """Return the mark after a prune; `good` are the times of what was good before it, `dropped` how many of it went."""
    since, taken = _counted(before, now)
    return Mark(since, max(0, taken + dropped - _came(before, good)), now)


def _counted(mark: Mark | None, now: datetime) -> tuple[datetime, int]:
    """Return since when it is counted what prunes took, and how many that were."""
    if mark is None or not timedelta() <= now - mark.since <= DRIFT:
        return now, 0
    return mark.since, mark.taken


def _came(mark: Mark | None, good: Iterable[datetime]) -> int:
    return sum(at > mark.pruned_at for at in good) if mark else 0


def _is_over_deletion_limit(
    policy: Policy, good: Sequence[Candidate], kept: Mapping[Hashable, str], now: datetime, mark: Mark | None
) -> bool:
    """Tell whether more good archives would go than a person expects.

    As many as came since the last prune may always go: that is how a policy works night after night. What goes beyond
    that adds up over a week, so that many small prunes are no way round the limit. What is not good is no loss. The
    share is rounded up to whole archives.
    """
    came, (_, taken) = _came(mark, (archive.at for archive in good)), _counted(mark, now)
    lost = sum(archive.id not in kept for archive in good) - came
    allowed = ceil((len(good) - came + taken) * policy.deletion_limit_percent / 100)
    return lost > 0 and lost + taken > allowed


def _by_rules(
    policy: Policy, newest_first: Sequence[Candidate], now: datetime
) -> tuple[dict[Hashable, str], dict[str, datetime]]:
    """Return what the rules keep of good archives, and how far back each rule reaches that found all it wants."""
    kept = _within(policy, newest_first, now)
    reach: dict[str, datetime] = {}
    for rule, period in _PERIODS.items():
        if policy.wanted(rule) and (oldest := _keep_by(rule, period, policy, newest_first, kept)):
            reach[rule] = oldest
    return kept, reach


def _within(policy: Policy, newest_first: Sequence[Candidate], now: datetime) -> dict[Hashable, str]:
    if not policy.keep_within_hours:
        return {}
    youngest = now - timedelta(hours=policy.keep_within_hours)
    young = [archive.id for archive in newest_first if archive.at > youngest]
    return {archive_id: f"within {number}" for number, archive_id in enumerate(young, 1)}


def _suspects(
    policy: Policy,
    newest_first: Sequence[Candidate],
    good: Sequence[Candidate],
    reach: Mapping[str, datetime],
    now: datetime,
) -> dict[Hashable, str]:
    """Return which archives that are not good stay; `good` are the good ones that do.

    A doubtful one stays where a rule finds no good one of its time, until the rule has as many good ones as it wants
    that are newer. What is newer than the last good one may be all there is: its newest and its first stay as well, for
    the first is the nearest to when all was well. What is unusable (failed, damaged) goes once a good one follows.
    """
    kept: dict[Hashable, str] = {}
    for doubtful, word in ((True, "doubtful"), (False, "unusable")):
        mine = [archive for archive in newest_first if not archive.good and archive.doubtful is doubtful]
        pending = [archive for archive in mine if not good or archive.at > good[0].at]
        gaps = _in_gaps(policy, mine if doubtful else pending, good, reach, now)
        kept |= {key: f"{word}, {rule}" for key, rule in gaps.items()}
        if pending:
            kept.setdefault(pending[0].id, f"{word}, newest")
            kept.setdefault(pending[-1].id, f"{word}, first since the last good one")
    return kept


def _in_gaps(
    policy: Policy,
    newest_first: Sequence[Candidate],
    good: Sequence[Candidate],
    reach: Mapping[str, datetime],
    now: datetime,
) -> dict[Hashable, str]:
    """Keep the newest archive of each period that has no good one, in a count of its own: no good one gives way."""
    kept, zone = _within(policy, newest_first, now), ZoneInfo(policy.zone)
    for rule, period in _PERIODS.items():
        covered = {period(archive.at.astimezone(zone)) for archive in good} if policy.wanted(rule) else set[Hashable]()
        found, before = 0, None
        for archive in newest_first:
            if found == policy.wanted(rule) or (rule in reach and archive.at < reach[rule]):
                break
            current = period(archive.at.astimezone(zone))
            if current != before and current not in covered and archive.id not in kept:
                found += 1
                kept[archive.id] = f"{rule} {found}"
            before = current
    return kept


def _keep_weekly(policy: Policy, good: Sequence[Candidate], kept: dict[Hashable, str]) -> None:
    """Keep one good archive a week: while what is newer is suspect, no rule can tell how far back one has to go."""
    weeks: set[Hashable] = set()
    for archive in good:
        week = _PERIODS["weekly"](archive.at.astimezone(ZoneInfo(policy.zone)))
        if week not in weeks:
            weeks.add(week)
            kept.setdefault(archive.id, "weekly, while newer ones are not good")


def _keep_by(
    rule: str, period: Period, policy: Policy, good: Sequence[Candidate], kept: dict[Hashable, str]
) -> datetime | None:
    """Keep the newest archive of each of the latest periods, as many as are wanted and not kept already.

    Return the time of the oldest of them; None if there were not as many as wanted.
    """
    wanted, zone = policy.wanted(rule), ZoneInfo(policy.zone)
    found, before = 0, None
    for archive in good:
        current = period(archive.at.astimezone(zone))
        if current != before and archive.id not in kept:
            found += 1
            kept[archive.id] = f"{rule} {found}"
        if found == wanted:
            return archive.at
        before = current
    if good and found < wanted and good[-1].id not in kept:
        kept[good[-1].id] = f"{rule} {found + 1}, oldest"
    return None
