"""`borgfleet job`: backup jobs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from borgfleet.cli.client import Client, fail
from borgfleet.cli.output import AsJson, Follow, console, finish, show, show_one

app = typer.Typer(no_args_is_help=True)
JOBS = "/api/backup-jobs"


@app.command()
def add(
    name: str,
    server: str,
    sources: Annotated[list[str], typer.Argument(help="Absolute paths on the server.")],
    repository: Annotated[str, typer.Option(help="Made in --pool if the server has none of this name.")] = "system",
    pool: Annotated[str | None, typer.Option(help="Storage pool for a new repository.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A borg pattern; may be given again.")] = None,
    compression: Annotated[str, typer.Option()] = "zstd,3",
    transport: Annotated[str, typer.Option(help="tunnel or direct")] = "tunnel",
    one_file_system: Annotated[bool, typer.Option()] = False,
    upload_limit: Annotated[int | None, typer.Option(help="KiB a second.")] = None,
    pre_hook: Annotated[str | None, typer.Option()] = None,
    post_hook: Annotated[str | None, typer.Option()] = None,
    priority: Annotated[int, typer.Option(help="Where runs wait for a free slot, the higher first.")] = 0,
    max_failures: Annotated[int | None, typer.Option(help="After so many failures a run has failed for good.")] = None,
    retry_seconds: Annotated[int | None, typer.Option(help="Wait after a failure, doubled after each further.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a backup job."""
    client = Client()
    found = client.named("/api/servers", server, "server")
    body: dict[str, Any] = {
        "name": name,
        "server_id": found["id"],
        "repository_id": _repository(client, found, repository, pool),
        "sources": sources,
        "excludes": exclude or [],
        "compression": compression,
        "transport": transport,
        "one_file_system": one_file_system,
        "upload_limit_kib": upload_limit,
        "pre_hook": pre_hook,
        "post_hook": post_hook,
        "priority": priority,
        "max_failures": max_failures,
        "retry_seconds": retry_seconds,
    }
    show_one(client.post(JOBS, body), as_json=as_json)


@app.command("list")
def list_jobs(as_json: AsJson = False) -> None:
    """List the backup jobs."""
    columns = (
        ("NAME", "name"), ("SERVER", "server"), ("REPOSITORY", "repository"), ("ENABLED", "enabled"),
        ("TRANSPORT", "transport"), ("SOURCES", "sources"), ("LAST GOOD", "last_good_at"), ("CHECKED", "checked_at"),
        ("COMPACTED", "compacted_at"),
    )  # fmt: skip
    show(Client().every(JOBS), columns, as_json=as_json)


@app.command()
def run(name: str, follow: Follow = True, as_json: AsJson = False) -> None:
    """Run a backup job now."""
    client = Client()
    job = client.post(f"{JOBS}/{client.named(JOBS, name, 'job')['id']}/run")
    finish(client, job, follow=follow, as_json=as_json)


@app.command()
def toggle(name: str) -> None:
    """Switch a backup job off or on."""
    client = Client()
    job = client.post(f"{JOBS}/{client.named(JOBS, name, 'job')['id']}/toggle")
    console.print(f"{name} is {'on' if job['enabled'] else 'off'}")


@app.command()
def remove(name: str) -> None:
    """Delete a backup job; its backups stay."""
    client = Client()
    client.delete(f"{JOBS}/{client.named(JOBS, name, 'job')['id']}")
    console.print(f"deleted: {name}")


def change_job(client: Client, definition: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Change some of a backup job's definition, and leave the rest as it is."""
    changed: dict[str, Any] = client.patch(f"{JOBS}/{definition['id']}", changes, definition["version"])
    return changed


def _repository(client: Client, server: dict[str, Any], name: str, pool: str | None) -> str:
    for repository in client.every("/api/repositories"):
        if repository["server_id"] == server["id"] and repository["name"] == name:
            return repository["id"]
    if pool is None:
        fail(
            f"{server['name']} has no repository named {name}",
            "name a --pool to make it in, or use `borgfleet repo add`",
        )
    pool_id = client.named("/api/storage-pools", pool, "pool")["id"]
    return client.post("/api/repositories", {"name": name, "server_id": server["id"], "pool_id": pool_id})["id"]
