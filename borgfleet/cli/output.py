"""How the command line shows things: tables, JSON, a live progress bar."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from borgfleet.cli.client import EXIT_FAILED, EXIT_WARNING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from borgfleet.cli.client import Client

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Follow = Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for the task and show its progress.")]

# Into a pipe or a file no table is squeezed into 80 columns.
console = Console(width=None if sys.stdout.isatty() else 240)
_POLL_SECONDS = 0.4
_ENDED = ("succeeded", "warning", "failed", "cancelled")
_COLOURS = {
    "succeeded": "green", "ready": "green", "up": "green", "down": "red",
    "warning": "yellow", "failed": "red", "host_key": "yellow", "critical": "red", "firing": "red",
    "cancelled": "dim", "running": "cyan", "queued": "blue",
}  # fmt: skip
_KIB = 1024


def show(items: Iterable[dict[str, Any]], columns: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    """Print items as a table of (title, key) columns, or as JSON."""
    rows = list(items)
    if as_json:
        console.print_json(json.dumps(rows))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title, key in columns:
        table.add_column(title, justify="right" if key.endswith(("_size", "files", "duration")) else "left")
    for row in rows:
        table.add_row(*(_cell(key, row.get(key)) for _, key in columns))
    console.print(table)


def show_one(item: dict[str, Any], *, as_json: bool) -> None:
    """Print one item, key by key, or as JSON."""
    if as_json:
        console.print_json(json.dumps(item))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for key, value in item.items():
        if value not in (None, "", [], {}):
            table.add_row(f"[dim]{key}[/]", _cell(key, value))
    console.print(table)


def finish(client: Client, job: dict[str, Any], *, follow: bool, as_json: bool) -> None:
    """Follow a task to its end and exit by its state; or just say that it is queued."""
    if not follow:
        show_one(job, as_json=as_json) if as_json else console.print(f"queued: task {job['id']}")
        return
    job = watch(client, job["id"], quiet=as_json)
    if as_json:
        console.print_json(json.dumps(job))
    else:
        _show_end(job)
    _exit(job)


def watch(client: Client, job_id: str, *, quiet: bool = False) -> dict[str, Any]:
    """Show a live progress bar until the task ends; return it."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        line = bar.add_task("queued", total=None)
        while True:
            job = client.get(f"/api/jobs/{job_id}")
            if job["state"] in _ENDED:
                return job
            done, total = _amount(job)
            bar.update(line, description=escape(_describe(job)), completed=done, total=total)
            time.sleep(_POLL_SECONDS)


def size(value: float | None) -> str:
    """Return bytes for people; unknown is unknown."""
    if value is None:
        return "unknown"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < _KIB or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIB
    return ""


def _cell(key: str, value: object) -> str:
    if key in ("state", "level"):
        colour = _COLOURS.get(str(value), "default")
        return f"[{colour}]{escape(str(value))}[/]"
    if key.endswith(("_size", "_bytes")) and isinstance(value, int):
        return size(value)
    if value is None:
        return size(None) if key.endswith("_size") else "[dim]-[/]"
    if (key == "at" or key.endswith("_at")) and isinstance(value, str):
        return f"{datetime.fromisoformat(value).astimezone():%Y-%m-%d %H:%M:%S}"
    if isinstance(value, (list, dict)):
        return escape(json.dumps(value))
    return escape(f"{value:.1f}" if isinstance(value, float) else str(value))


def _amount(job: dict[str, Any]) -> tuple[float, float | None]:
    progress: dict[str, Any] = job.get("progress") or {}
    if progress.get("steps"):
        return progress["step"] - 1, progress["steps"]
    total = progress.get("estimated_size")
    done = progress.get("original_size") or 0
    return done, max(total, done) if total else None


def _describe(job: dict[str, Any]) -> str:
    if job["state"] == "queued":
        waiting = job.get("waiting_for")
        return f"{job['title']}: waiting for {waiting}" if waiting else f"{job['title']}: queued"
    progress: dict[str, Any] = job.get("progress") or {}
    parts = [f"{job['title']}: {progress.get('phase', 'starting')}"]
    if progress.get("files") is not None:
        parts.append(f"{progress['files']} files, {size(progress.get('original_size'))}")
    if progress.get("rate"):
        parts.append(f"{size(progress['rate'])}/s")
    return ", ".join(parts)


def _show_end(job: dict[str, Any]) -> None:
    colour = _COLOURS[job["state"]]
    console.print(f"[{colour}]{job['state']}[/] {escape(job['title'])}  [dim]task {job['id']}[/]", soft_wrap=True)
    for warning in job["warnings"]:
        console.print(f"  [yellow]![/] {escape(warning)}", soft_wrap=True)
    if job["reason"]:
        console.print(f"  {escape(job['reason'])}", soft_wrap=True)
    if job["remedy"] and job["state"] == "failed":
        console.print(f"  [dim]→[/] {escape(job['remedy'])}", soft_wrap=True)
    result = job["result"]
    if result.get("files") is not None:
        new, whole = size(result["deduplicated_size"]), size(result["original_size"])
        console.print(f"  {result['files']} files, {whole}, of it new: {new}")
    if result.get("unreachable") is not None:
        alone = f", {result['left_alone']} left alone until their next try" if result["left_alone"] else ""
        console.print(f"  {result['collected']} answered, {result['unreachable']} did not{alone}")
    if result.get("changed") is not None:
        console.print(f"  changed: {', '.join(result['changed']) or 'nothing'}")


def _exit(job: dict[str, Any]) -> NoReturn:
    raise typer.Exit({"succeeded": 0, "warning": EXIT_WARNING}.get(job["state"], EXIT_FAILED))
