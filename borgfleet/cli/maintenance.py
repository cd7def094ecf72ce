"""`borgfleet maintenance`: times in which no alert begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from borgfleet.cli.client import Client, fail, segment
from borgfleet.cli.output import AsJson, console, show

app = typer.Typer(no_args_is_help=True)
_WINDOWS = "/api/maintenance-windows"
_COLUMNS = (
    ("FROM", "starts_at"), ("UNTIL", "ends_at"), ("SERVER", "server"), ("TAG", "tag"), ("REASON", "reason"),
    ("ID", "id"),
)  # fmt: skip


@app.command()
def add(
    hours: Annotated[float | None, typer.Option(min=0.01, help="For so long.")] = None,
    begins: Annotated[str | None, typer.Option("--from", help="As 2027-01-31T06:00+01:00; now, without.")] = None,
    until: Annotated[str | None, typer.Option(help="As 2027-01-31T08:00+01:00, in place of --hours.")] = None,
    server: Annotated[str | None, typer.Option(help="This server alone.")] = None,
    tag: Annotated[str | None, typer.Option(help="All servers with this tag.")] = None,
    reason: Annotated[str, typer.Option()] = "",
) -> None:
    """Announce work on a server, on those with a tag, or on everything: no alert begins meanwhile."""
    start = _moment(begins, "--from") if begins else datetime.now(UTC)
    if (hours is None) == (until is None):
        fail("this says no end" if until is None else "this says two ends", "give either --hours or --until")
    end = _moment(until, "--until") if until else _later(start, hours or 0)
    body = {"server": server, "tag": tag, "starts_at": start.isoformat(), "ends_at": end.isoformat(), "reason": reason}
    made = Client().post(_WINDOWS, body)
    about = server or (f"servers with the tag {tag}" if tag else "everything")
    console.print(f"maintenance of {about}: {made['id']}", soft_wrap=True)


@app.command("list")
def list_windows(as_json: AsJson = False) -> None:
    """List the maintenance windows by their beginning, those that are over too."""
    show(Client().get(_WINDOWS), _COLUMNS, as_json=as_json)


@app.command()
def end(window_id: str) -> None:
    """End a maintenance window now, or forget one that is over or to come."""
    Client().delete(f"{_WINDOWS}/{segment(window_id)}")
    console.print(f"ended: {window_id}")


def _later(start: datetime, hours: float) -> datetime:
    try:
        return start + timedelta(hours=hours)
    except (OverflowError, ValueError):
        fail(f"--hours: {hours:g} hours are no time in which work ends", "give a number of hours, or --until")


def _moment(text: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option}: {text!r} is no date and time", "write it as 2027-01-31T06:00+01:00")
    if moment.tzinfo is None:
        fail(f"{option}: {text!r} names no time zone", "append it, as +01:00, or Z for UTC")
    return moment
