"""`borgfleet pool`."""

from __future__ import annotations

from typing import Annotated

import typer

from borgfleet.cli.client import Client
from borgfleet.cli.output import AsJson, show, show_one

app = typer.Typer(no_args_is_help=True)


@app.command()
def add(
    name: str,
    path: str,
    node: Annotated[str, typer.Option(help="The backup node it is on.")] = "node1",
    as_json: AsJson = False,
) -> None:
    """Add a storage pool: an existing directory on a backup node."""
    show_one(Client().post("/api/storage-pools", {"name": name, "path": path, "node": node}), as_json=as_json)


@app.command("list")
def list_pools(as_json: AsJson = False) -> None:
    """List the storage pools."""
    show(
        Client().every("/api/storage-pools"),
        (("NAME", "name"), ("NODE", "node"), ("RESTORED", "restored_at"), ("PATH", "path")),
        as_json=as_json,
    )
