"""`borgfleet schedule`: when backup jobs run by themselves, and whether they do."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from borgfleet.cli.client import Client, fail
from borgfleet.cli.job import JOBS, change_job
from borgfleet.cli.output import AsJson, console, show, show_one

app = typer.Typer(no_args_is_help=True)
_LIMITS = "/api/limits"
_DIGITS = 9
_SCHEDULES = (("BACKUP JOB", "backup_job"), ("WHEN", "words"), ("NEXT", "next"), ("THEN", "then"))
_FORECAST = (
    ("STARTS", "starts_at"), ("WHAT", "name"), ("SERVER", "server"), ("SECONDS", "expected_seconds"),
    ("COLLIDES WITH", "collides_with"),
)  # fmt: skip
_MISSED = (("DUE", "due_at"), ("WHAT", "task"), ("WHY", "code"), ("REASON", "reason"))
_COMPLIANCE = (
    ("STATE", "state"), ("BACKUP JOB", "backup_job"), ("SERVER", "server"), ("LAST GOOD", "last_good_at"),
    ("AGE SECONDS", "age_seconds"), ("TARGET SECONDS", "target_seconds"), ("BREAKS", "breaks_at"),
)  # fmt: skip
_PAUSES = (("SERVER", "server"), ("UNTIL", "until"), ("WHO", "who"), ("REASON", "reason"))
OfServer = Annotated[str | None, typer.Option("--server", help="On this server alone.")]
Zone = Annotated[str, typer.Option(help="The time zone.")]
Cron = Annotated[str | None, typer.Option(help="A cron expression, as '30 2 * * 1-5'.")]
Hours = Annotated[int | None, typer.Option(help="Every so many hours.")]
Days = Annotated[int, typer.Option(help="Every so many days, with --at.")]
Weekdays = Annotated[str | None, typer.Option(help="Days of the week, 1 is Monday, as 1,3,5; with --at.")]
Monthdays = Annotated[str | None, typer.Option(help="Days of the month, as 1,15,31; with --at.")]
At = Annotated[list[str] | None, typer.Option(help="A time of the day, as 02:30; may be repeated.")]
Jitter = Annotated[int, typer.Option(help="Spread backup jobs over so many seconds.")]


@app.command("set")
def set_schedule(
    job: str, cron: Cron = None, hours: Hours = None, days: Days = 1, weekdays: Weekdays = None,
    monthdays: Monthdays = None, at: At = None, zone: Zone = "UTC", jitter: Jitter = 0,
    add: Annotated[bool, typer.Option(help="Beside the schedules it has, not instead of them.")] = False,
) -> None:  # fmt: skip
    """Let a backup job run by itself, and show when."""
    client = Client()
    definition = client.named(JOBS, job, "job")
    when = when_of(cron, hours, days, weekdays, monthdays, at, zone)
    schedules = [given(one) for one in definition["schedules"]] if add else []
    wanted = [*schedules, {"when": when, "jitter_seconds": jitter}]
    changed = change_job(client, definition, schedules=wanted)
    show_runs(changed["schedules"])


@app.command()
def preview(
    cron: Cron = None, hours: Hours = None, days: Days = 1, weekdays: Weekdays = None, monthdays: Monthdays = None,
    at: At = None, zone: Zone = "UTC", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show what a schedule means, without saving it."""
    when = when_of(cron, hours, days, weekdays, monthdays, at, zone)
    shown = Client().post("/api/schedules/preview", {"when": when})
    if as_json:
        show([shown], (), as_json=True)
    else:
        show_runs([shown])


@app.command()
def never(job: str) -> None:
    """Take a backup job's schedules away; it runs when it is asked to."""
    client = Client()
    change_job(client, client.named(JOBS, job, "job"), schedules=[])
    console.print(f"{job} runs when it is asked to")


@app.command("list")
def list_schedules(as_json: AsJson = False) -> None:
    """List the schedules of all backup jobs."""
    rows = [
        one | {"backup_job": job["name"]} | next_of(one) for job in Client().every(JOBS) for one in job["schedules"]
    ]
    show(rows, _SCHEDULES, as_json=as_json)


@app.command()
@app.command("tonight", hidden=True)
def forecast(hours: Annotated[int, typer.Option()] = 24, as_json: AsJson = False) -> None:
    """Forecast the runs of the next hours, how long they should take, and which collide."""
    show(Client().get("/api/forecast", hours=hours), _FORECAST, as_json=as_json)


@app.command()
def missed(job: Annotated[str | None, typer.Argument()] = None, as_json: AsJson = False) -> None:
    """List the runs that were due and were not made."""
    client = Client()
    backup_job_id = client.named(JOBS, job, "job")["id"] if job else None
    show(client.every("/api/missed-runs", backup_job_id=backup_job_id), _MISSED, as_json=as_json)


@app.command()
def compliance(as_json: AsJson = False) -> None:
    """Show whether each backup job's last good backup is as young as it has to be."""
    show(Client().get("/api/compliance"), _COMPLIANCE, as_json=as_json)


@app.command()
def pause(
    server: OfServer = None,
    until: Annotated[str | None, typer.Option(help="As 2027-01-31T06:00:00+01:00; until `resume`, without.")] = None,
    reason: Annotated[str, typer.Option()] = "",
) -> None:
    """Let nothing scheduled run, on one server or anywhere; what runs goes on."""
    Client().put(_pauses(server), {"until": until, "reason": reason})
    console.print(f"paused: {server or 'everything'}")


@app.command()
def resume(server: OfServer = None) -> None:
    """Take a pause back."""
    Client().delete(_pauses(server))
    console.print(f"resumed: {server or 'everything'}")


@app.command()
def limits(
    fleet: Annotated[int | None, typer.Option(help="Of the whole fleet; 0: no limit.")] = None,
    per_server: Annotated[int | None, typer.Option(help="Of each server; 0: no limit.")] = None,
    per_pool: Annotated[int | None, typer.Option(help="Of each storage pool; 0: no limit.")] = None,
    server: Annotated[list[str] | None, typer.Option(help="Of one server, as web1=1; 0 takes it back.")] = None,
    pool: Annotated[list[str] | None, typer.Option(help="Of one pool, as main=4; 0 takes it back.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show, or set, how many runs may be under way at once."""
    client = Client()
    found = client.get(_LIMITS)
    version = found.pop("version", None)
    wanted = {"fleet": fleet, "per_server": per_server, "per_pool": per_pool}
    changed = found | {name: cap or None for name, cap in wanted.items() if cap is not None}
    changed |= {"servers": _caps(found["servers"], server), "pools": _caps(found["pools"], pool)}
    show_one(client.put(_LIMITS, changed, version) if changed != found else found, as_json=as_json)


def _caps(own: dict[str, int], given: list[str] | None) -> dict[str, int]:
    for one in given or ():
        name, _, cap = one.partition("=")
        if not cap.isdecimal() or len(cap) > _DIGITS:
            fail(f"not a limit: {one}", "write it as web1=2")
        own = own | {name: int(cap)}
    return {name: cap for name, cap in own.items() if cap}


@app.command()
def pauses(as_json: AsJson = False) -> None:
    """List what is paused."""
    rows = Client().get("/api/pauses")
    show(
        rows if as_json else [row | {"server": row["server"] or "everything"} for row in rows], _PAUSES, as_json=as_json
    )


def when_of(
    cron: str | None, hours: int | None, days: int, weekdays: str | None, monthdays: str | None, at: list[str] | None,
    zone: str,
) -> dict[str, Any]:  # fmt: skip
    """Return a schedule's times from the options that name them."""
    if cron is not None:
        return {"kind": "cron", "expression": cron, "zone": zone}
    if hours is not None:
        return {"kind": "hours", "every": hours, "zone": zone}
    if not at:
        fail("this says no time", "give --at, --cron or --hours")
    if weekdays is not None:
        return {"kind": "weekly", "days": day_numbers(weekdays), "times": at, "zone": zone}
    if monthdays is not None:
        return {"kind": "monthly", "days": day_numbers(monthdays), "times": at, "zone": zone}
    return {"kind": "days", "every": days, "times": at, "zone": zone}


def day_numbers(text: str) -> list[int]:
    """Return the numbers of days as a person lists them, `1,15,31`."""
    try:
        return [int(one) for one in text.split(",")]
    except ValueError:
        fail(f"not a list of days: {text}", "write them as 1,15,31")


def given(schedule: dict[str, Any]) -> dict[str, Any]:
    """Return of a schedule what can be given; ends the command if the gateway cannot read it."""
    if schedule.get("unreadable"):
        fail(schedule["words"], "give all its schedules anew; nothing is changed until then")
    keys = ("when", "jitter_seconds", "catch_up", "overlap", "window", "blackout", "stop_at_end")
    return {key: schedule[key] for key in keys}


def next_of(schedule: dict[str, Any]) -> dict[str, Any]:
    """Return a schedule's next two runs; one that the gateway cannot read has none."""
    first, second, *_ = [*schedule["next_runs"], None, None]
    return {"next": first, "then": second}


def show_runs(schedules: list[dict[str, Any]]) -> None:
    """Print schedules in words, and their next runs."""
    for schedule in schedules:
        console.print(schedule["words"])
        for run in schedule["next_runs"]:
            console.print(f"  {run}")


def _pauses(server: str | None) -> str:
    return "/api/pauses" + (f"?{urlencode({'server': server})}" if server else "")
