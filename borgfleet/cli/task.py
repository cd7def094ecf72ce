"""`borgfleet task`: queued, running and ended work."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from borgfleet.cli.ask import confirmed
from borgfleet.cli.client import Client, segment
from borgfleet.cli.output import AsJson, Follow, console, finish, show, show_one
from shared.domain.job_kinds import KIND_OF
from shared.domain.text import clean

app = typer.Typer(no_args_is_help=True)
_COLUMNS = (
    ("ID", "id"), ("TYPE", "type"), ("OF", "title"), ("STATE", "state"), ("WAITING FOR", "waiting_for"),
    ("CREATED", "created_at"), ("REASON", "reason"),
)  # fmt: skip
_KINDS = (("TYPE", "type"), ("WHAT", "label"), ("PHASES", "phases"))


@app.command("list")
def list_tasks(
    state: Annotated[str | None, typer.Option(help="queued, running, succeeded, warning, failed, cancelled")] = None,
    kind: Annotated[str | None, typer.Option("--type", help=f"One of {', '.join(KIND_OF)}.")] = None,
    limit: Annotated[int, typer.Option(help="How many of the newest.")] = 30,
    as_json: AsJson = False,
) -> None:
    """List the newest tasks."""
    show(Client().get("/api/jobs", state=state, type=kind, limit=limit)["items"], _COLUMNS, as_json=as_json)


@app.command()
def kinds(as_json: AsJson = False) -> None:
    """List the kinds of tasks, and through which phases each goes."""
    rows = Client().get("/api/job-kinds")
    if not as_json:
        rows = [row | {"phases": ", ".join(phase["name"] for phase in row["phases"])} for row in rows]
    show(rows, _KINDS, as_json=as_json)


@app.command("show")
def show_task(task_id: str, as_json: AsJson = False) -> None:
    """Show one task."""
    show_one(Client().get(f"/api/jobs/{segment(task_id)}"), as_json=as_json)


@app.command()
def log(task_id: str, as_json: AsJson = False) -> None:
    """Print a task's log."""
    lines = Client().every(f"/api/jobs/{segment(task_id)}/log")
    if as_json:
        show(lines, (), as_json=True)
        return
    for line in lines:
        colour = {"warning": "yellow", "error": "red", "critical": "red"}.get(line["level"], "dim")
        console.print(
            Text.assemble(
                (str(line["at"])[:19], "dim"),
                " ",
                (f"{line['level']:<8}", colour),
                f" {line['source']:<7} {clean(str(line['message']))}",
            ),
            soft_wrap=True,
        )


@app.command()
def cancel(task_id: str, follow: Follow = True, as_json: AsJson = False) -> None:
    """Cancel a task; a running borg is stopped."""
    client = Client()
    job = client.post(f"/api/jobs/{segment(task_id)}/cancel")
    finish(client, job, follow=follow, as_json=as_json)


@app.command()
def retry(task_id: str, follow: Follow = True, as_json: AsJson = False) -> None:
    """Queue a failed or cancelled task again."""
    client = Client()
    finish(client, client.post(f"/api/jobs/{segment(task_id)}/retry"), follow=follow, as_json=as_json)


@app.command()
def undo(
    task_id: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    follow: Follow = True,
    as_json: AsJson = False,
) -> None:
    """Undo a restore that swapped: what was there comes back, what was restored is set aside beside it."""
    client = Client()
    path = f"/api/jobs/{segment(task_id)}"
    found = client.get(path)["result"]
    if found.get("undo") and not yes:
        typer.echo(f"{clean(str(found['server']))}:{clean(str(found['target']))}: what was there comes back", err=True)
        if not confirmed("Go on?"):
            raise typer.Exit(1)
    finish(client, client.post(f"{path}/undo"), follow=follow, as_json=as_json)


@app.command()
def watch(task_id: str) -> None:
    """Follow a task to its end."""
    client = Client()
    finish(client, client.get(f"/api/jobs/{segment(task_id)}"), follow=True, as_json=False)
