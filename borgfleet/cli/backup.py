"""`borgfleet backup`: archives."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from borgfleet.cli.client import Client, fail
from borgfleet.cli.output import AsJson, Follow, console, finish, show

app = typer.Typer(no_args_is_help=True)
_COLUMNS = (
    ("ID", "id"), ("BACKUP", "title"), ("STATE", "state"), ("STARTED", "started_at"), ("FILES", "files"),
    ("ORIGINAL", "original_size"), ("NEW", "deduplicated_size"), ("HELD", "held_reason"),
)  # fmt: skip


@app.command("list")
def list_backups(
    server: Annotated[str | None, typer.Option(help="Only this server's.")] = None, as_json: AsJson = False
) -> None:
    """List the backups, newest first."""
    client = Client()
    server_id = client.named("/api/servers", server, "server")["id"] if server else None
    show(client.every("/api/backups", server_id=server_id), _COLUMNS, as_json=as_json)


@app.command()
def delete(
    backup_id: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    follow: Follow = True,
    as_json: AsJson = False,
) -> None:
    """Delete a backup for good."""
    client = Client()
    backup = _find(client, backup_id)
    if not yes:
        console.print(f"{backup['title']}, {backup['started_at']}, {backup['files']} files")
        typer.confirm("Delete this backup? It cannot be undone.", abort=True)
    finish(client, client.delete(f"/api/backups/{backup['id']}"), follow=follow, as_json=as_json)


@app.command()
def hold(backup_id: str, reason: str) -> None:
    """Hold a backup: nothing deletes it until it is released."""
    client = Client()
    client.put(f"/api/backups/{_find(client, backup_id)['id']}/hold", {"reason": reason})
    console.print("held")


@app.command()
def release(backup_id: str) -> None:
    """Release a held backup."""
    client = Client()
    client.delete(f"/api/backups/{_find(client, backup_id)['id']}/hold")
    console.print("released")


def _find(client: Client, backup_id: str) -> dict[str, Any]:
    """Find a backup by its id or by the end of it that is unique."""
    matches = [backup for backup in client.every("/api/backups") if backup["id"].endswith(backup_id)]
    if len(matches) != 1:
        fail(f"{len(matches)} backups have this id", "`borgfleet backup list` shows the ids")
    return matches[0]
