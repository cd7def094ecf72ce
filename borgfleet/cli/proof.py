"""`borgfleet proof`: whether backups can be restored, tried out."""

from __future__ import annotations

import base64
import os
from typing import Annotated, Any

import typer

from borgfleet.cli.client import Client
from borgfleet.cli.output import AsJson, Follow, console, finish, show, size, watch
from borgfleet.cli.repository import named

app = typer.Typer(no_args_is_help=True)
_COLUMNS = (
    ("ENDED", "ended_at"), ("SERVER", "server"), ("REPOSITORY", "repository"), ("BACKUP JOB", "backup_job"),
    ("KIND", "kind"), ("STATE", "state"), ("FILES", "files"), ("OF", "chosen"), ("READ", "bytes_size"),
    ("FROM SOURCE", "source_compared"), ("FULL RESTORE", "full_restore"),
)  # fmt: skip


@app.command()
def run(
    server: str, name: Annotated[str, typer.Argument(help="The repository.")],
    paths: Annotated[list[str] | None, typer.Argument(help="Of the newest backup; nothing: a sample.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Read all of the newest backup.")] = False,
    files: Annotated[int | None, typer.Option(min=1, help="How many files a sample holds; 50, without.")] = None,
    max_bytes: Annotated[int | None, typer.Option(min=1, help="Read no more; 2 GiB for a sample, without.")] = None,
    job: Annotated[str | None, typer.Option(help="Of this backup job's backups alone.")] = None,
    backup: Annotated[str | None, typer.Option(help="Of this backup alone.")] = None,
    source: Annotated[bool, typer.Option("--source/--no-source", help="Compare with the server's own files.")] = True,
    follow: Follow = True, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Test whether files of a repository's backups can be restored: they are read, compared, and thrown away."""
    client = Client()
    repository = named(client, server, name)
    body: dict[str, Any] = {
        "kind": "all" if everything else "named" if paths else "sample", "compare_source": source, "files": files,
        "max_bytes": max_bytes, "archive_id": backup,
        "paths_b64": [base64.b64encode(os.fsencode(path)).decode() for path in paths or ()],
        "backup_job_id": client.named("/api/backup-jobs", job, "backup job")["id"] if job else None,
    }  # fmt: skip
    task = client.post(f"/api/repositories/{repository['id']}/restore-tests", body)
    if follow and not as_json:
        task = watch(client, task["id"])
        if task["result"]:
            console.print(said(task["result"]), soft_wrap=True)
    finish(client, task, follow=follow, as_json=as_json)


@app.command("list")
def list_proofs(
    server: Annotated[str | None, typer.Option(help="Only this server's.")] = None,
    state: Annotated[str | None, typer.Option(help="good, source_differs, nothing, failed or damaged.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what restore tests and restores have shown, newest first."""
    client = Client()
    server_id = client.named("/api/servers", server, "server")["id"] if server else None
    rows = client.every("/api/proofs", server_id=server_id, state=state)
    if not as_json:
        rows = (row | {"bytes_size": row["bytes"], "full_restore": about(row["full_restore_seconds"])} for row in rows)
    show(rows, _COLUMNS, as_json=as_json)


def said(result: dict[str, Any]) -> str:
    """Return in words what a restore test came to."""
    text = f"{result['proof']}: {result['files']} of {result['chosen']} files, {size(result['original_size'])}"
    source = result["source"]
    if source["compared"]:
        text += f"; {source['compared']} compared with the server"
    if source["problem"]:
        text += f"; not compared with the server: {source['problem']}"
    full = result["full_restore_seconds"]
    return f"{text}; a full restore takes about {about(full)}" if full is not None else text


def about(seconds: float | None) -> str | None:
    """Return a time as people estimate it."""
    if seconds is None:
        return None
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(1, round(seconds))} seconds"
