"""`borgfleet approval`: what waits for a second person."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from borgfleet.cli.client import Client, segment
from borgfleet.cli.operate import BreakGlass, DataDir, execute, local_settings
from borgfleet.cli.output import AsJson, show, show_one

app = typer.Typer(no_args_is_help=True)
_PATH = "/api/approvals"
_COLUMNS = (
    ("ID", "id"), ("WHAT", "kind"), ("OF", "noun"), ("NAME", "target_name"), ("ASKED BY", "requested_by"),
    ("WHEN", "requested_at"), ("STATE", "state"), ("DECIDED BY", "decided_by"),
)  # fmt: skip
Note = Annotated[str, typer.Option(help="What is kept with the decision.")]


@app.command("list")
def list_approvals(
    state: Annotated[str | None, typer.Option(help="asked, approved, done, rejected, withdrawn, ...")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="The newest so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List what was asked for and needs a second person, newest first."""
    page: Any = Client().get(_PATH, state=state, limit=limit)
    show(page["items"], _COLUMNS, as_json=as_json)


@app.command("show")
def show_approval(approval: str, as_json: AsJson = False) -> None:
    """Show one of them, with what exactly is to be done."""
    show_one(Client().get(f"{_PATH}/{segment(approval)}"), as_json=as_json)


@app.command()
def approve(approval: str, note: Note = "", as_json: AsJson = False) -> None:
    """Agree to what another person asked for; an API token is refused: a person agrees on the web page."""
    _decide(approval, "approve", note, as_json=as_json)


@app.command()
def reject(approval: str, note: Note = "", as_json: AsJson = False) -> None:
    """Refuse what another person asked for; an API token is refused here too."""
    _decide(approval, "reject", note, as_json=as_json)


@app.command()
def withdraw(approval: str, as_json: AsJson = False) -> None:
    """Take back what one has asked for oneself."""
    show_one(Client().post(f"{_PATH}/{segment(approval)}/withdraw"), as_json=as_json)


@app.command("switch-off")
def switch_off(break_glass: BreakGlass = "", data_dir: DataDir = None) -> None:
    """Switch four eyes off without the API, on a machine with the database's settings: nobody may be left to agree."""
    from borgfleet.people import switch_off_four_eyes  # noqa: PLC0415 - loads only where it runs

    was_on = execute(switch_off_four_eyes(local_settings(data_dir), break_glass))
    typer.echo("four eyes are off now" if was_on else "four eyes were off already")


def _decide(approval: str, verb: str, note: str, *, as_json: bool) -> None:
    show_one(Client().post(f"{_PATH}/{segment(approval)}/{verb}", {"note": note}), as_json=as_json)
