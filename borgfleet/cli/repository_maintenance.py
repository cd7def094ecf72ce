"""`borgfleet repo maintenance`: when repositories are pruned, compacted, checked and tested by themselves."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from borgfleet.cli.client import Client, fail
from borgfleet.cli.output import AsJson, console, show
from borgfleet.cli.repository import change, named
from borgfleet.cli.schedule import (
    At,
    Cron,
    Days,
    Hours,
    Jitter,
    Monthdays,
    Weekdays,
    Zone,
    given,
    next_of,
    show_runs,
    when_of,
)
from shared.domain.job_kinds import MAINTENANCE

app = typer.Typer(no_args_is_help=True)
_TASKS = ", ".join(MAINTENANCE)
_COLUMNS = (("REPOSITORY", "repository"), ("TASK", "task"), ("WHEN", "words"), ("NEXT", "next"), ("DEPTH", "depth"))
Task = Annotated[str, typer.Argument(help=f"One of {_TASKS}.")]


@app.command("set")
def set_schedule(
    server: str, name: str, task: Task, cron: Cron = None, hours: Hours = None, days: Days = 1,
    weekdays: Weekdays = None, monthdays: Monthdays = None, at: At = None, zone: Zone = "UTC", jitter: Jitter = 0,
    kind: Annotated[str | None, typer.Option(help="Of a restore test: sample, named or all.")] = None,
    files: Annotated[int | None, typer.Option(min=1, help="How many files a restore test's sample holds.")] = None,
    max_bytes: Annotated[int | None, typer.Option(min=1, help="How many bytes a restore test reads at most.")] = None,
    paths: Annotated[list[str] | None, typer.Option("--path", help="What a restore test reads, if named.")] = None,
    source: Annotated[bool, typer.Option("--source/--no-source", help="It compares with the server's files.")] = True,
    depth: Annotated[str | None, typer.Option(help="Of a check: segments, archives or data.")] = None,
    budget: Annotated[int | None, typer.Option(help="Seconds a check may take; the next one goes on.")] = None,
) -> None:  # fmt: skip
    """Let a repository be pruned, compacted, checked or tested by itself, and show when."""
    client = Client()
    repository = named(client, server, name)
    wanted: dict[str, Any] = {
        "task": _known(task), "jitter_seconds": jitter,
        "when": when_of(cron, hours, days, weekdays, monthdays, at, zone),
    }  # fmt: skip
    if depth or budget:
        wanted["check"] = {"depth": depth or "archives", "budget_seconds": budget}
    if task == "restore_test":
        wanted["restore_test"] = {
            "kind": kind or ("named" if paths else "sample"), "files": files, "max_bytes": max_bytes,
            "paths": paths or [], "compare_source": source,
        }  # fmt: skip
    changed = change(client, repository, schedules=[*_others(repository, task), wanted])
    show_runs([one for one in changed["schedules"] if one["task"] == task])


@app.command()
def never(server: str, name: str, task: Task) -> None:
    """Take a repository's schedules of a task away."""
    client = Client()
    repository = named(client, server, name)
    change(client, repository, schedules=_others(repository, _known(task)))
    console.print(f"{server}/{name}: {task} when it is asked for")


@app.command("list")
def list_schedules(as_json: AsJson = False) -> None:
    """List the schedules of all repositories' maintenance."""
    rows = [
        one
        | {
            "repository": f"{repository['server']}/{repository['name']}",
            "next": next_of(one)["next"],
            "depth": one["check"]["depth"] if one["check"] else None,
        }
        for repository in Client().every("/api/repositories")
        for one in repository["schedules"]
    ]
    show(rows, _COLUMNS, as_json=as_json)


def _known(task: str) -> str:
    return task if task in MAINTENANCE else fail(f"no such task: {task}", f"give one of {_TASKS}")


def _others(repository: dict[str, Any], task: str) -> list[dict[str, Any]]:
    """Return the schedules of the other tasks, as they were given."""
    kept = [one for one in repository["schedules"] if one["task"] != task]
    return [
        given(one) | {"task": one["task"], "check": one["check"], "restore_test": one["restore_test"]} for one in kept
    ]
