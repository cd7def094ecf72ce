"""How the command line shows things: tables, JSON, a live progress bar."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from borgfleet.cli.failing import EXIT_FAILED, EXIT_WARNING
from borgfleet.cli.streams import is_utf8
from borgfleet.cli.terminal import Plain
from shared.domain.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from borgfleet.cli.client import Client

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Follow = Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for the task and show its progress.")]

console = Plain()
_POLL_SECONDS = 0.4
_ENDED = ("succeeded", "warning", "failed", "cancelled")
_COLOURS = {
    "succeeded": "green", "ready": "green", "up": "green", "down": "red",
    "warning": "yellow", "failed": "red", "host_key": "yellow", "critical": "red", "firing": "red",
    "cancelled": "dim", "running": "cyan", "queued": "blue",
}  # fmt: skip
_KIB = 1024
_TOO_MUCH = 2**63


def show(items: Iterable[dict[str, Any]], columns: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    """Print items as a table of (title, key) columns, or as JSON."""
    rows = list(items)
    if as_json:
        _print_json(rows)
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
        _print_json(item)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for key, value in item.items():
        if value not in (None, "", [], {}):
            table.add_row(Text(clean(key), "dim"), _cell(key, value))
    console.print(table)


def finish(client: Client, job: dict[str, Any], *, follow: bool, as_json: bool) -> None:
    """Follow a task to its end and exit by its state; or just say that it is queued."""
    if not follow:
        show_one(job, as_json=as_json) if as_json else console.print(f"queued: task {job['id']}")
        return
    job = watch(client, job["id"], quiet=as_json)
    if as_json:
        _print_json(job)
    else:
        _show_end(job)
    _exit(job)


def watch(client: Client, job_id: str, *, quiet: bool = False) -> dict[str, Any]:
    """Show a live progress bar until the task ends; return it."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        line = bar.add_task("queued", total=None)
        while True:
            job = client.get(f"/api/jobs/{job_id}")
            if job["state"] not in _COLOURS:
                client.not_ours(f"it knows a state {job['state']!r} of a task")
            if job["state"] in _ENDED:
                return job
            done, total = _amount(job)
            bar.update(line, description=_describe(job), completed=done, total=total)
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


def _print_json(value: object) -> None:
    console.print_json(json.dumps(value), ensure_ascii=not is_utf8())


def _cell(key: str, value: object) -> Text:
    if key in ("state", "level"):
        return Text(clean(str(value)), _COLOURS.get(str(value), "default"))
    if key.endswith(("_size", "_bytes")) and isinstance(value, int):
        return Text(size(value))
    if value is None:
        return Text(size(None)) if key.endswith("_size") else Text("-", "dim")
    if (key == "at" or key.endswith("_at")) and isinstance(value, str):
        return Text(_moment(value))
    if isinstance(value, (list, dict)):
        return Text(json.dumps(value))
    return Text(f"{value:.1f}" if isinstance(value, float) else clean(str(value)))


def _moment(value: str) -> str:
    try:
        return f"{datetime.fromisoformat(value).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):  # a year that this machine's zone moves out of all years
        return clean(value)


def _progress(job: dict[str, Any]) -> tuple[str, dict[str, float]]:
    """Return what a task does and its figures; what is none, whoever published it, is left out."""
    found = job.get("progress")
    progress = cast("dict[str, object]", found) if isinstance(found, dict) else {}
    figures = {
        name: float(value)
        for name, value in progress.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _TOO_MUCH
    }
    phase = progress.get("phase")
    return clean(phase, 60) if isinstance(phase, str) and phase else "starting", figures


def _amount(job: dict[str, Any]) -> tuple[float, float | None]:
    _, figures = _progress(job)
    if figures.get("steps"):
        return max(0.0, figures.get("step", 1) - 1), figures["steps"]
    total = figures.get("estimated_size")
    done = figures.get("original_size", 0.0)
    return done, max(total, done) if total else None


def _describe(job: dict[str, Any]) -> str:
    if job["state"] == "queued":
        waiting = job.get("waiting_for")
        return f"{job['title']}: waiting for {waiting}" if waiting else f"{job['title']}: queued"
    phase, figures = _progress(job)
    parts = [f"{job['title']}: {phase}"]
    if "files" in figures:
        parts.append(f"{figures['files']:.0f} files, {size(figures.get('original_size'))}")
    if figures.get("rate"):
        parts.append(f"{size(figures['rate'])}/s")
    return ", ".join(parts)


def _show_end(job: dict[str, Any]) -> None:
    colour = _COLOURS[job["state"]]
    title = f" {clean(str(job['title']))}  "
    console.print(Text.assemble((job["state"], colour), title, (f"task {job['id']}", "dim")), soft_wrap=True)
    told: list[Any] = job.get("warning_messages") or []
    for number, warning in enumerate(job["warnings"]):
        console.print(Text.assemble("  ", ("!", "yellow"), " ", clean(str(warning))), soft_wrap=True)
        if number < len(told) and told[number] and told[number]["remedy"]:
            console.print(Text.assemble("    ", ("→", "dim"), " ", clean(str(told[number]["remedy"]))), soft_wrap=True)
    if job["reason"]:
        console.print(f"  {job['reason']}", soft_wrap=True)
    if job["remedy"] and job["state"] == "failed":
        console.print(Text.assemble("  ", ("→", "dim"), " ", clean(str(job["remedy"]))), soft_wrap=True)
    _show_result(job["result"])
    undo: dict[str, Any] = job["result"].get("undo") or {}
    if undo.get("possible"):
        console.print(f"  to undo it: borgfleet task undo {job['id']}", soft_wrap=True)


def _show_result(result: dict[str, Any]) -> None:
    if result.get("target") is not None:
        restored, hashed = size(result["original_size"]), result["verified"]["hashed"]
        where = f"{clean(str(result['server']))}:{clean(str(result['target']))}"
        console.print(f"  {result['files']} files, {restored}, {hashed} files compared: {where}", soft_wrap=True)
    elif result.get("set_aside") is not None:
        where = f"{clean(str(result['server']))}:{clean(str(result['place']))}"
        console.print(f"  {result['put_back']} put back, {result['set_aside']} set aside: {where}", soft_wrap=True)
    elif result.get("files") is not None:
        new, whole = size(result["deduplicated_size"]), size(result["original_size"])
        console.print(f"  {result['files']} files, {whole}, of it new: {new}")
    if result.get("unreachable") is not None:
        alone = f", {result['left_alone']} left alone until their next try" if result["left_alone"] else ""
        console.print(f"  {result['collected']} answered, {result['unreachable']} did not{alone}")
    if result.get("changed") is not None:
        console.print(f"  changed: {', '.join(result['changed']) or 'nothing'}")


def _exit(job: dict[str, Any]) -> NoReturn:
    raise typer.Exit({"succeeded": 0, "warning": EXIT_WARNING}.get(job["state"], EXIT_FAILED))
