"""When something is due: schedules in a time zone of their own, right across clock changes. Pure."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from shared.domain.job_kinds import task_of
from shared.domain.values import CleanText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_FURTHEST_DAYS = 400
_PERIODS_SEEN = 40
_SHORTEST_MONTH = 28


def maintenance_name(server: str, repository: str, task: str) -> str:
    """Return what a repository's maintenance is called, as `check of web1/system`."""
    return f"{task_of(task)} of {server}/{repository}"


def check_zone(value: str) -> str:
    """Return the name of a time zone."""
    try:
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = "a time zone by its name, as Europe/Paris"
        raise ValueError(message) from error


def check_cron(value: str) -> str:
    """Return a cron expression that comes due at all; five fields, or a macro as `@daily`."""
    try:
        CronSim(_MACROS.get(value, value), _EPOCH)
    except CronSimError as error:
        message = f"not a cron expression: {error}; write five fields, as `30 2 * * 1-5`"
        raise ValueError(message) from error
    return value


def check_time(value: time) -> time:
    """Return a time of the zone, to the minute."""
    if value.tzinfo or value.second or value.microsecond:
        message = "a time of the zone to the minute, as 02:30"
        raise ValueError(message)
    return value


Zone = Annotated[CleanText, AfterValidator(check_zone)]
At = Annotated[list[Annotated[time, AfterValidator(check_time)]], Field(min_length=1, max_length=24)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    zone: Zone = Field(default="UTC", examples=["Europe/Paris"])


class Cron(_Spec):
    """A cron expression; at a clock change as Debian's cron: nothing twice, nothing left out."""

    kind: Literal["cron"]
    expression: Annotated[CleanText, Field(max_length=200), AfterValidator(check_cron)] = Field(
        examples=["30 2 * * 1-5"]
    )


class Hours(_Spec):
    """Every so many hours, whatever the clocks do; counted from midnight UTC of 1970-01-01 and an offset."""

    kind: Literal["hours"]
    every: int = Field(ge=1, le=720)
    offset_minutes: int = Field(default=0, ge=0, lt=720 * 60)


class Days(_Spec):
    """Every so many days, at times of the day."""

    kind: Literal["days"]
    every: int = Field(default=1, ge=1, le=366)
    times: At


class Weekly(_Spec):
    """On days of the week, 1 is Monday, at times of the day."""

    kind: Literal["weekly"]
    days: list[Annotated[int, Field(ge=1, le=7)]] = Field(min_length=1, max_length=7)
    times: At


class Monthly(_Spec):
    """On days of the month, at times of the day; a day that a month has not is its last one."""

    kind: Literal["monthly"]
    days: list[Annotated[int, Field(ge=1, le=31)]] = Field(min_length=1, max_length=31)
    times: At


Spec: TypeAlias = Annotated[Cron | Hours | Days | Weekly | Monthly, Field(discriminator="kind")]
SPEC: TypeAdapter[Cron | Hours | Days | Weekly | Monthly] = TypeAdapter(Spec)


def runs_after(spec: Spec, after: datetime) -> Iterator[datetime]:
    """Yield the times, in UTC, at which a schedule comes due after a time; each is later than the one before."""
    if isinstance(spec, Cron):
        start = after.astimezone(ZoneInfo(spec.zone))
        for due in CronSim(_MACROS.get(spec.expression, spec.expression), start):
            if due.astimezone(UTC) > after:
                yield due.astimezone(UTC)
    elif isinstance(spec, Hours):
        period, offset = timedelta(hours=spec.every), timedelta(minutes=spec.offset_minutes)
        number = (after - _EPOCH - offset) // period + 1
        while True:
            yield _EPOCH + offset + number * period
            number += 1
    else:
        yield from _by_the_clock(spec, after)


def next_run(spec: Spec, after: datetime) -> datetime:
    """Return when a schedule comes due next, in UTC."""
    return next(runs_after(spec, after))


def jitter(name: str, seconds: int) -> timedelta:
    """Return how much later than its schedule a name runs: always the same for one name, below `seconds`."""
    if seconds <= 0:
        return timedelta(0)
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return timedelta(seconds=number % seconds)


def longest_gap(spec: Spec, now: datetime) -> timedelta:
    """Return the longest time between two runs among the next forty: what a backup's age is measured against."""
    runs = runs_after(spec, now)
    before = next(runs)
    longest = timedelta(0)
    for _ in range(_PERIODS_SEEN):
        after = next(runs)
        longest, before = max(longest, after - before), after
    return longest


def in_words(spec: Spec) -> str:
    """Say a schedule in English."""
    if isinstance(spec, Cron):
        return f"{CronSim(_MACROS.get(spec.expression, spec.expression), _EPOCH).explain()}, {spec.zone}"
    if isinstance(spec, Hours):
        return "Every hour" if spec.every == 1 else f"Every {spec.every} hours"
    return f"{_days_in_words(spec)} at {_listed([f'{at:%H:%M}' for at in sorted(set(spec.times))])}, {spec.zone}"


def _days_in_words(spec: Days | Weekly | Monthly) -> str:
    if isinstance(spec, Days):
        return "Every day" if spec.every == 1 else f"Every {spec.every} days"
    if isinstance(spec, Weekly):
        return "Every " + _listed([_WEEKDAYS[day - 1] for day in sorted(set(spec.days))])
    days = sorted(set(spec.days))
    return f"On day {_listed([str(day) for day in days])} of each month" + (
        " (or its last day)" if days[-1] > _SHORTEST_MONTH else ""
    )


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _by_the_clock(spec: Days | Weekly | Monthly, after: datetime) -> Iterator[datetime]:
    """Walk the local days: a time that is left out is the moment of the jump, one that comes twice is the first."""
    zone = ZoneInfo(spec.zone)
    falls_on = _day_test(spec)
    day = after.astimezone(zone).date() - timedelta(days=1)
    last = after
    idle = 0
    while idle < _FURTHEST_DAYS:
        idle += 1
        if falls_on(day):
            for at in sorted(set(spec.times)):
                moment = _moment(day, at, zone)
                if moment > last:
                    last, idle = moment, 0
                    yield moment
        day += timedelta(days=1)


def _day_test(spec: Days | Weekly | Monthly) -> Callable[[date], bool]:
    if isinstance(spec, Days):
        return lambda day: day.toordinal() % spec.every == 0
    if isinstance(spec, Weekly):
        return lambda day: day.isoweekday() in spec.days
    return lambda day: day.day in {min(wanted, _month_length(day)) for wanted in spec.days}


def _month_length(day: date) -> int:
    following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return (following - timedelta(days=1)).day


def _moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Return a local time as UTC: where clocks jump over it, the moment of the jump."""
    local = datetime.combine(day, at, zone)
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return moment
    # `moment` lies as far behind the jump as `local` lay behind its first missing minute.
    before, after = local.replace(fold=1).astimezone(UTC), moment
    while after - before > timedelta(minutes=1):
        middle = before + ((after - before) / 2 // timedelta(minutes=1)) * timedelta(minutes=1)
        if middle.astimezone(zone).utcoffset() == moment.astimezone(zone).utcoffset():
            after = middle
        else:
            before = middle
    return after
