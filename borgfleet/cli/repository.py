"""`borgfleet repo`."""

from __future__ import annotations

import typer

from borgfleet.cli.client import Client
from borgfleet.cli.output import AsJson, show, show_one

app = typer.Typer(no_args_is_help=True)


@app.command()
def add(server: str, name: str, pool: str, as_json: AsJson = False) -> None:
    """Add a repository for a server in a storage pool."""
    client = Client()
    body = {
        "name": name,
        "server_id": client.named("/api/servers", server, "server")["id"],
        "pool_id": client.named("/api/storage-pools", pool, "pool")["id"],
    }
    show_one(client.post("/api/repositories", body), as_json=as_json)


@app.command("list")
def list_repositories(as_json: AsJson = False) -> None:
    """List the repositories."""
    columns = (
        ("SERVER", "server"), ("NAME", "name"), ("ARCHIVES", "archive_count"), ("ORIGINAL", "original_size"),
        ("ON DISK", "deduplicated_size"), ("PATH", "path"),
    )  # fmt: skip
    show(Client().every("/api/repositories"), columns, as_json=as_json)
