"""`borgfleet alert` and `borgfleet threshold`."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from borgfleet.cli.client import Client, segment
from borgfleet.cli.output import AsJson, console, show, show_one

app = typer.Typer(no_args_is_help=True)
thresholds = typer.Typer(no_args_is_help=True)
OfServer = Annotated[str | None, typer.Option("--server", help="For this server alone.")]
OfTag = Annotated[str | None, typer.Option("--tag", help="For all servers with this tag.")]
_COLUMNS = (
    ("LEVEL", "level"), ("STATE", "state"), ("WHAT", "kind"), ("WITH", "subject"), ("VALUE", "value"),
    ("FROM", "threshold"), ("SINCE", "began_at"), ("ID", "id"),
)  # fmt: skip
_HISTORY = (("AT", "at"), ("WHAT", "what"), ("LEVEL", "level"), ("VALUE", "value"), ("NOTE", "note"))
_THRESHOLDS = (
    ("KIND", "kind"), ("WARNING", "warning"), ("CRITICAL", "critical"), ("FOR SECONDS", "for_seconds"),
    ("ENABLED", "enabled"), ("DECIDED BY", "decided_by"),
)  # fmt: skip


@app.command("list")
def list_alerts(
    every: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False, as_json: AsJson = False
) -> None:
    """List what is wrong now."""
    state = None if every else "open"
    show(Client().every("/api/alerts", state=state), _COLUMNS, as_json=as_json)


@app.command("show")
def show_alert(alert_id: str, as_json: AsJson = False) -> None:
    """Show one incident with its history."""
    alert = Client().get(f"/api/alerts/{segment(alert_id)}")
    if as_json:
        show_one(alert, as_json=True)
        return
    history: list[dict[str, Any]] = alert.pop("history")
    show_one(alert, as_json=False)
    show(history, _HISTORY, as_json=False)


@app.command()
def acknowledge(
    alert_id: str, note: Annotated[str, typer.Option(help="Who looks into it, and what is known.")] = ""
) -> None:
    """Say that somebody knows; it is heard of again when it becomes worse."""
    alert = Client().post(f"/api/alerts/{segment(alert_id)}/acknowledge", {"note": note})
    console.print(f"acknowledged: {alert['kind']} of {alert['subject']}", soft_wrap=True)


@thresholds.command("list")
def list_thresholds(server: OfServer = None, tag: OfTag = None, as_json: AsJson = False) -> None:
    """Show the thresholds in force, and who decided each."""
    show(Client().get("/api/thresholds", server=server, tag=tag), _THRESHOLDS, as_json=as_json)


@thresholds.command("set")
def set_threshold(
    kind: str,
    warning: Annotated[float | None, typer.Option(help="From here on a warning; none without.")] = None,
    critical: Annotated[float | None, typer.Option(help="From here on critical; never without.")] = None,
    for_seconds: Annotated[float, typer.Option(help="How long it has to last first.")] = 0.0,
    hysteresis: Annotated[float, typer.Option(help="How far it has to come back.")] = 0.0,
    server: OfServer = None,
    tag: OfTag = None,
    as_json: AsJson = False,
) -> None:
    """Set a threshold for the fleet, for a tag or for one server."""
    body = {"warning": warning, "critical": critical, "for_seconds": for_seconds, "hysteresis": hysteresis}
    show_one(Client().put(_path(kind, server, tag), body), as_json=as_json)


@thresholds.command("off")
def switch_off(kind: str, server: OfServer = None, tag: OfTag = None) -> None:
    """Never raise this kind of alert, for the fleet, for a tag or for one server."""
    Client().put(_path(kind, server, tag), {"warning": None, "critical": None, "enabled": False})
    console.print(f"switched off: {kind}")


@thresholds.command("reset")
def reset_threshold(kind: str, server: OfServer = None, tag: OfTag = None) -> None:
    """Take a threshold back; the next wider one holds again."""
    Client().delete(_path(kind, server, tag))
    console.print(f"taken back: {kind}")


def _path(kind: str, server: str | None, tag: str | None) -> str:
    scope = {name: value for name, value in (("server", server), ("tag", tag)) if value}
    return f"/api/thresholds/{segment(kind)}" + (f"?{urlencode(scope)}" if scope else "")
