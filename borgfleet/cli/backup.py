"""`borgfleet backup`: archives."""

from __future__ import annotations

import base64
import os
from typing import Annotated, Any

import typer
from rich.text import Text

from borgfleet.cli.ask import confirmed
from borgfleet.cli.client import Client, fail
from borgfleet.cli.download import bring
from borgfleet.cli.output import AsJson, Follow, console, finish, show, show_one, size
from borgfleet.cli.terminal import Plain
from shared.domain.text import clean

app = typer.Typer(no_args_is_help=True)
_COLUMNS = (
    ("ID", "id"), ("BACKUP", "title"), ("STATE", "state"), ("TRUST", "trust"), ("STARTED", "started_at"),
    ("FILES", "files"), ("ORIGINAL", "original_size"), ("NEW", "deduplicated_size"), ("HELD", "held_reason"),
)  # fmt: skip
_FILE_COLUMNS = (
    ("TYPE", "type"), ("OWNER", "user"), ("GROUP", "group"), ("SIZE", "size"), ("MODIFIED", "modified_at"),
    ("NAME", "name"), ("TARGET", "target"),
)  # fmt: skip


_HIT_COLUMNS = (
    ("SERVER", "server"), ("REPOSITORY", "repository"), ("TYPE", "type"), ("SIZE", "size"), ("MODIFIED", "modified_at"),
    ("LAST SEEN", "last_at"), ("GONE SINCE", "gone_since"), ("BACKUP", "backup_id"), ("PATH", "path"),
)  # fmt: skip
_VERSION_COLUMNS = (
    ("TYPE", "type"), ("SIZE", "size"), ("MODIFIED", "modified_at"), ("BACKUPS", "backups"), ("FROM", "first_at"),
    ("TO", "last_at"), ("NEWEST", "backup_id"),
)  # fmt: skip
_DIFF_COLUMNS = (
    ("CHANGE", "change"), ("TYPE", "type"), ("BEFORE", "size_before"), ("AFTER", "size_after"), ("PATH", "path"),
)  # fmt: skip
_USAGE_COLUMNS = (("SIZE", "total_size"), ("FILES", "files"), ("NAME", "name"))
_CHANGES = ("added", "removed", "changed")
errors = Plain(stderr=True)
Limit = Annotated[int, typer.Option(min=1, max=500, help="How many rows at most.")]


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
    backup = find(Client(), backup_id)
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


@app.command("ls")
def list_files(backup_id: str, path: str = "/", as_json: AsJson = False) -> None:
    """List a directory inside a backup. Names are shown with escapes where they hold what a terminal would obey."""
    client = Client()
    backup = find(client, backup_id)
    files = client.every(f"/api/backups/{backup['id']}/files", path_b64=_base64(path))
    show(files, _FILE_COLUMNS, as_json=as_json)


@app.command()
def download(
    backup_id: str,
    paths: Annotated[list[str] | None, typer.Argument(help="What of it; nothing: all.")] = None,
    form: Annotated[str, typer.Option("--format", help="tar.zst, tar, zip, or file: one file as it is.")] = "tar.zst",
    output: Annotated[str | None, typer.Option("--output", "-o", help="A new file; - is standard output.")] = None,
) -> None:
    """Download a backup, or files and directories of it, to this machine."""
    client = Client()
    name, count = bring(client, find(client, backup_id)["id"], paths or [], form, output)
    errors.print(f"{name}: {size(count)}", soft_wrap=True)


@app.command("find")
def find_files(
    words: Annotated[
        list[str], typer.Argument(help="Parts of the name; `ext:pdf in:/srv size>10M size<1G deleted:yes` narrow.")
    ],
    server: Annotated[str | None, typer.Option(help="Only in this server's backups.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """Search the names of the files in all backups."""
    client = Client()
    server_id = client.named("/api/servers", server, "server")["id"] if server else None
    found = client.get("/api/files/search", q=" ".join(words), server_id=server_id, limit=limit)
    show(found["items"], _HIT_COLUMNS, as_json=as_json)
    for node in found["incomplete"]:
        errors.print(f"{node['node']} gave no answer ({node['code']}): its backups are not among these", soft_wrap=True)
    if found["not_indexed"]:
        errors.print(f"{len(found['not_indexed'])} repositories are not indexed yet: theirs are not among these")
    if found["more"]:
        errors.print("there are more: narrow the search, or raise --limit")


@app.command("versions")
def list_versions(backup_id: str, path: str, as_json: AsJson = False) -> None:
    """List what a path was in all backups of this backup's repository."""
    client = Client()
    repository = find(client, backup_id)["repository_id"]
    found = client.get(f"/api/repositories/{repository}/files/versions", path_b64=_base64(path))
    show(found["items"], _VERSION_COLUMNS, as_json=as_json)


@app.command("diff")
def compare(backup_id: str, other_id: str, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Say what is different in another backup of the same repository, the largest first."""
    client = Client()
    one, other = find(client, backup_id)["id"], find(client, other_id)["id"]
    found = client.get(f"/api/backups/{one}/diff/{other}", limit=limit)
    show(found["items"], _DIFF_COLUMNS, as_json=as_json)
    if not as_json:
        sums = ", ".join(f"{found[what]} {what} ({size(found[f'{what}_bytes'])})" for what in _CHANGES)
        errors.print(sums + ("; not all are shown" if found["more"] else ""), soft_wrap=True)


@app.command("usage")
def show_usage(backup_id: str, path: str = "/", limit: Limit = 100, as_json: AsJson = False) -> None:
    """Say how much stands below each name of a directory of a backup, the largest first."""
    client = Client()
    backup = find(client, backup_id)
    found = client.get(f"/api/backups/{backup['id']}/usage", path_b64=_base64(path), limit=limit)
    rows = [{"total_size": row["size"], "files": row["files"], "name": row["name"]} for row in found["items"]]
    show(found["items"] if as_json else rows, _USAGE_COLUMNS, as_json=as_json)
    if found["partial"]:
        errors.print("not all was added up in time: ask for a smaller directory")


@app.command()
def accept(backup_id: str, reason: str) -> None:
    """Accept a doubtful backup, with the reason why it is as it should be: it counts as good from now on."""
    client = Client()
    backup = client.post(f"/api/backups/{find(client, backup_id)['id']}/accept", {"reason": reason})
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
    backup = find(client, backup_id)
    if not yes:
        console.print(f"{backup['title']}, {backup['started_at']}, {backup['files']} files")
        if not confirmed("Delete this backup? It cannot be undone."):
            fail("the backup was not deleted: the answer was no")
    finish(client, client.delete(f"/api/backups/{backup['id']}"), follow=follow, as_json=as_json)


@app.command()
def hold(backup_id: str, reason: str) -> None:
    """Hold a backup: nothing deletes it until it is released."""
    client = Client()
    client.put(f"/api/backups/{find(client, backup_id)['id']}/hold", {"reason": reason})
    console.print("held")


@app.command()
def release(backup_id: str) -> None:
    """Release a held backup."""
    client = Client()
    client.delete(f"/api/backups/{find(client, backup_id)['id']}/hold")
    console.print("released")


def _base64(path: str) -> str:
    return base64.urlsafe_b64encode(os.fsencode(path)).decode()


def _trust(backup: dict[str, Any]) -> str:
    if backup["good"]:
        return "accepted" if backup["accepted_at"] else "good"
    return "doubtful" if backup["doubtful"] else "no"


def find(client: Client, backup_id: str) -> dict[str, Any]:
    """Find a backup by its id or by the end of it that is unique."""
    matches = [backup for backup in client.every("/api/backups") if backup["id"].endswith(backup_id)]
    if len(matches) != 1:
        fail(f"{len(matches)} backups have this id", "`borgfleet backup list` shows the ids")
    return matches[0]
