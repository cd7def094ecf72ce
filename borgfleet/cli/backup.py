"""`borgfleet backup`: archives."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from borgfleet.cli.client import Client, fail
from borgfleet.cli.output import AsJson, Follow, console, finish, show, show_one
from shared.domain.text import clean

app = typer.Typer(no_args_is_help=True)
_COLUMNS = (
    ("ID", "id"), ("BACKUP", "title"), ("STATE", "state"), ("TRUST", "trust"), ("STARTED", "started_at"),
    ("FILES", "files"), ("ORIGINAL", "original_size"), ("NEW", "deduplicated_size"), ("HELD", "held_reason"),
)  # fmt: skip


@app.command("list")
def list_backups(
    server: Annotated[str | None, typer.Option(help="Only this server's.")] = None,
    doubtful: Annotated[bool, typer.Option("--doubtful", help="Only those that wait for your word.")] = False,
    good: Annotated[bool, typer.Option("--good", help="Only those that can be relied on.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the backups, newest first."""
    client = Client()
    server_id = client.named("/api/servers", server, "server")["id"] if server else None
    if doubtful and good:
        fail("no backup is good and doubtful", "give one of --good and --doubtful")
    trust = "doubtful" if doubtful else "good" if good else None
    backups = client.every("/api/backups", server_id=server_id, trust=trust)
    show(({**backup, "trust": _trust(backup)} for backup in backups), _COLUMNS, as_json=as_json)


@app.command("show")
def show_backup(backup_id: str, as_json: AsJson = False) -> None:
    """Show a backup, what its run found, and who accepted it."""
    backup = _find(Client(), backup_id)
    show_one(backup if as_json else backup | {"reasons": []}, as_json=as_json)
    if as_json:
        return
    for reason in backup["reasons"]:
        text = f" {clean(str(reason['text']))}  "
        console.print(Text.assemble((reason["weight"], "bold"), text, (reason["code"], "dim")), soft_wrap=True)
    if backup["doubtful"]:
        console.print(
            f"It does not count as good. If it is as it should be: borgfleet backup accept {backup['id']} REASON",
            soft_wrap=True,
        )


@app.command()
def accept(backup_id: str, reason: str) -> None:
    """Accept a doubtful backup, with the reason why it is as it should be: it counts as good from now on."""
    client = Client()
    backup = client.post(f"/api/backups/{_find(client, backup_id)['id']}/accept", {"reason": reason})
    console.print(f"accepted: {backup['title']} of {backup['started_at']}", soft_wrap=True)


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


def _trust(backup: dict[str, Any]) -> str:
    if backup["good"]:
        return "accepted" if backup["accepted_at"] else "good"
    return "doubtful" if backup["doubtful"] else "no"


def _find(client: Client, backup_id: str) -> dict[str, Any]:
    """Find a backup by its id or by the end of it that is unique."""
    matches = [backup for backup in client.every("/api/backups") if backup["id"].endswith(backup_id)]
    if len(matches) != 1:
        fail(f"{len(matches)} backups have this id", "`borgfleet backup list` shows the ids")
    return matches[0]
