"""`borgfleet restore`: what is in a backup goes back to a server."""

from __future__ import annotations

import base64
import os
from typing import Annotated, Any

import typer


def restore(
    backup_id: str,
    paths: Annotated[list[str] | None, typer.Argument(help="What of it; nothing: all.")] = None,
    to: Annotated[str | None, typer.Option(help="A directory that is empty or does not exist yet.")] = None,
    mode: Annotated[
        str,
        typer.Option(help="directory: a new one. To where it was: beside, under a new name; swap: in place; merge."),
    ] = "directory",
    replace: Annotated[bool, typer.Option("--replace", help="A merge sets aside the files that are there.")] = False,
    server: Annotated[str | None, typer.Option(help="Another server than the backup's own.")] = None,
    owner: Annotated[str, typer.Option(help="Owners by number (numeric), by name (names), or root.")] = "numeric",
    whole_paths: Annotated[bool, typer.Option("--whole-paths", help="Keep the directories above.")] = False,
    basic: Annotated[
        bool, typer.Option("--basic", help="Accept the loss of attributes, access lists and nanoseconds.")
    ] = False,
    verify: Annotated[str, typer.Option(help="Compare a sample of the files, all of them, or only count.")] = "sample",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a swap or a merge.")] = False,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for it and show its progress.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Restore a backup, or files and directories of it: into a new directory of a server, or to where it was."""
    from borgfleet.cli.ask import confirmed  # noqa: PLC0415 - what asks a gateway is loaded only by who asks one
    from borgfleet.cli.backup import find  # noqa: PLC0415 - the same
    from borgfleet.cli.client import Client  # noqa: PLC0415 - the same
    from borgfleet.cli.output import finish, watch  # noqa: PLC0415 - the same

    client = Client()
    body: dict[str, Any] = {
        "items": [{"path_b64": base64.b64encode(os.fsencode(path)).decode()} for path in paths or ()],
        "mode": mode, "existing": "replace" if replace else "keep", "target_path": to, "owner": owner, "verify": verify,
        "layout": "full" if whole_paths else "short", "metadata": "basic" if basic else "full",
        "target_server_id": client.named("/api/servers", server, "server")["id"] if server else None,
    }  # fmt: skip
    path = f"/api/backups/{find(client, backup_id)['id']}/restores"
    if mode in ("swap", "merge"):
        preview = watch(client, client.post(f"{path}/preview", body)["id"], quiet=as_json)
        if preview["state"] != "succeeded":
            finish(client, preview, follow=True, as_json=as_json)
        found = preview["result"]
        there = found["existing"]["count"]
        lines = [f"{found['files']} files to {found['target']} on {found['server']}; already there: {there}"]
        lines += [f"  {one['path']}" for one in found["existing"]["first"][:20]]
        typer.echo("\n".join(lines), err=True)
        if not yes and not confirmed("Go on?"):
            raise typer.Exit(1)
        body["confirm"] = preview["id"]
    job = client.post(path, body)
    finish(client, job, follow=follow, as_json=as_json)
