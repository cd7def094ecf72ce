"""Our retention against borg's own, on generated repositories: the same archives stay, by the same rules."""

from __future__ import annotations

import random
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.domain.retention import Candidate, Policy, apply
from tests.harness.borg_many import BORG_1_2, borg_many
from tests.harness.patience import WAIT

NOW = datetime.now(UTC)
OPTIONS = {
    "keep_last": "--keep-last", "keep_hourly": "--keep-hourly", "keep_daily": "--keep-daily",
    "keep_weekly": "--keep-weekly", "keep_monthly": "--keep-monthly", "keep_quarterly_13weekly": "--keep-13weekly",
    "keep_quarterly_3monthly": "--keep-3monthly", "keep_yearly": "--keep-yearly", "keep_within_hours": "--keep-within",
}  # fmt: skip
WITHIN = (1, 2, 5, 24, 24 * 40)
AT_ONCE = timedelta(seconds=10 * WAIT)
"""How far apart borg's verdicts and ours may be on a very slow machine."""
POLICIES = 30
LINE = re.compile(r"^(Keeping archive \(rule: (?P<rule>[^)]*)\)|Would prune): +(?P<name>\S+)", re.MULTILINE)


def moments(dice: random.Random, count: int) -> list[datetime]:
    """Times of backups, some close together, some far apart, over three years."""
    ages = {dice.choice((1, 24, 24 * 7, 24 * 60, 24 * 365 * 3)) * dice.random() * 3600 for _ in range(count)}
    return sorted((NOW - timedelta(seconds=int(age))).replace(microsecond=0) for age in {round(age) for age in ages})


def about_to_leave(at: datetime) -> bool:
    """Tell whether a backup becomes too old for a span of hours about now: borg's look at the clock is not ours."""
    edges = (datetime.now(UTC) - timedelta(hours=hours) for hours in WITHIN)
    return any(edge <= at < edge + AT_ONCE for edge in edges)


def policy_of(dice: random.Random) -> dict[str, int]:
    quarters = dice.choice(("keep_quarterly_13weekly", "keep_quarterly_3monthly"))  # borg takes one of the two
    chosen = dice.sample(sorted(OPTIONS.keys() - {quarters}), dice.randint(1, 4))
    return {name: dice.choice(WITHIN if name == "keep_within_hours" else (0, 1, 2, 3, 7, 40)) for name in chosen}


def arguments(policy: dict[str, int]) -> list[str]:
    return [
        f"{OPTIONS[name]}={f'{number}H' if name == 'keep_within_hours' else number}"
        for name, number in policy.items()
        if number or name != "keep_within_hours"
    ]


@pytest.mark.parametrize(
    ("zone", "seed", "python"),
    [("UTC", 1, sys.executable), ("Europe/Paris", 2, sys.executable), ("America/New_York", 3, sys.executable),
     ("Europe/Paris", 4, BORG_1_2)],
    ids=["1.4-UTC", "1.4-Paris", "1.4-New-York", "1.2-Paris"],
)  # fmt: skip
def test_the_same_archives_stay_as_with_borgs_own_prune(
    tmp_path: Path, zone: str, seed: int, python: str | Path
) -> None:
    dice = random.Random(seed)
    (tmp_path / "file").write_text("x")
    repository = str(tmp_path / "repo")
    times = {f"a{number}": at for number, at in enumerate(moments(dice, 28)) if not about_to_leave(at)}
    commands = [["init", "--encryption=none", repository]] + [
        ["create", f"--timestamp={at:%Y-%m-%dT%H:%M:%S}", f"{repository}::{name}", str(tmp_path / "file")]
        for name, at in times.items()
    ]
    policies = [made for made in (policy_of(dice) for _ in range(POLICIES)) if any(made.values())]
    if python == BORG_1_2:  # which knows no quarters
        policies = [policy for policy in policies if not any("quarterly" in rule for rule in policy)]
    assert len(policies) > POLICIES / 3
    prunes = [["prune", "--dry-run", "--list", *arguments(policy), repository] for policy in policies]
    answers = borg_many(commands + prunes, tmp_path / "base", zone, python)
    assert [answer for answer in answers if answer[0]] == []
    archives = [Candidate(name, at) for name, at in times.items()]
    for policy, (_, said) in zip(policies, answers[len(commands) :], strict=True):
        borgs = {found["name"]: found["rule"] for found in LINE.finditer(said)}
        assert borgs.keys() == times.keys(), said
        verdict = apply(Policy.model_validate(policy | {"zone": zone}), archives, datetime.now(UTC))
        ours = {name: ours_as_borgs(rule) for name, rule in verdict.kept.items() if rule != "last good"}
        assert ours == {name: rule for name, rule in borgs.items() if rule}, (policy, said)


TWO_YEARS = {"keep_daily": 7, "keep_weekly": 4, "keep_monthly": 6, "keep_yearly": 2}


def test_two_years_of_daily_backups_are_pruned_week_by_week_as_borg_would(tmp_path: Path) -> None:
    """Our own verdicts delete; before each of them borg says what it would delete, and it is the same."""
    (tmp_path / "file").write_text("x")
    repository = str(tmp_path / "repo")
    policy = Policy.model_validate(TWO_YEARS | {"zone": "UTC"})
    first = NOW.replace(hour=2, minute=30, second=0, microsecond=0) - timedelta(days=730)
    commands, verdicts, there = [["init", "--encryption=none", repository]], {}, []
    for day in range(730):
        at = first + timedelta(days=day)
        stamp = f"--timestamp={at:%Y-%m-%dT%H:%M:%S}"
        commands.append(["create", stamp, f"{repository}::day{day}", str(tmp_path / "file")])
        there.append(Candidate(f"day{day}", at))
        if at.weekday() == 6:
            verdict = apply(policy, there, at + timedelta(hours=1))
            verdicts[len(commands)] = verdict
            commands.append(["prune", "--dry-run", "--list", *arguments(TWO_YEARS), repository])
            if verdict.dropped:
                commands.append(["delete", repository, *map(str, verdict.dropped)])
            there = [one for one in there if one.id in verdict.kept]
    answers = borg_many(commands, tmp_path / "base")
    assert [answer for answer in answers if answer[0]] == []
    assert len(verdicts) >= 104
    for number, verdict in verdicts.items():
        said = answers[number][1]
        borgs = {found["name"]: found["rule"] for found in LINE.finditer(said)}
        ours = {name: ours_as_borgs(rule) for name, rule in verdict.kept.items() if rule != "last good"}
        assert ours == {name: rule for name, rule in borgs.items() if rule}, said
        assert set(verdict.dropped) == {name for name, rule in borgs.items() if not rule}


def ours_as_borgs(rule: str) -> str:
    """Return our rule as borg writes it."""
    name, _, number = rule.replace("last", "secondly").partition(" ")
    number, comma, _ = number.partition(",")
    return f"{name}{'[oldest]' if comma else ''} #{number}"
