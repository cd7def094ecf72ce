"""`borgfleet server`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from borgfleet.cli.ask import confirmed, secret
from borgfleet.cli.client import Client
from borgfleet.cli.output import AsJson, Follow, console, finish, show, show_one, watch

app = typer.Typer(no_args_is_help=True)
_COLUMNS = (
    ("NAME", "name"), ("HOST", "host"), ("PORT", "port"), ("USER", "username"), ("STATE", "state"),
    ("TAGS", "tags"), ("REASON", "state_reason"), ("LAST SEEN", "last_seen_at"),
)  # fmt: skip

_STATS = (
    ("NAME", "name"), ("STATE", "state"), ("CPU %", "cpu_usage_percent"), ("MEMORY %", "memory_percent"),
    ("SWAP %", "swap_percent"), ("DISK %", "disk_percent"), ("LOAD", "cpu_load_1"), ("UPTIME", "uptime_human"),
    ("SYSTEM", "os_distribution"), ("AT", "collected_at"), ("REASON", "reason"),
)  # fmt: skip


@app.command()
def add(
    name: str,
    host: str,
    port: Annotated[int, typer.Option()] = 22,
    user: Annotated[str, typer.Option()] = "root",
    ask_password: Annotated[bool, typer.Option(help="Ask for a password; used once, by set-up.")] = False,
    password_file: Annotated[Path | None, typer.Option(help="Read that password from a file.")] = None,
    fingerprint: Annotated[str | None, typer.Option(help="The host key's fingerprint, if you know it.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    setup: Annotated[bool, typer.Option(help="Set the server up at once.")] = True,
    as_json: AsJson = False,
) -> None:
    """Add a server and set it up; its host key is shown and has to be approved."""
    client = Client()
    body: dict[str, Any] = {"name": name, "host": host, "port": port, "username": user, "tags": tag or []}
    if password_file is not None:
        body["password"] = password_file.read_text().strip("\n")
    elif ask_password:
        body["password"] = secret("Password")
    if fingerprint is not None:
        body["approved_fingerprint"] = fingerprint
    server = client.post("/api/servers", body)
    if setup:
        _set_up(client, server["id"], as_json=as_json)
    else:
        show_one(server, as_json=as_json)


@app.command("list")
def list_servers(
    tag: Annotated[list[str] | None, typer.Option(help="Those with this tag; repeated, those with all.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the servers."""
    show(Client().every("/api/servers", tag=tag or None), _COLUMNS, as_json=as_json)


@app.command("tag")
def tag_server(name: str, tags: Annotated[list[str] | None, typer.Argument(help="None: no tags.")] = None) -> None:
    """Give a server these tags instead of the ones it has; the first weighs most."""
    client = Client()
    server = client.named("/api/servers", name, "server")
    body = {key: server[key] for key in ("host", "port", "username")} | {"tags": tags or []}
    changed = client.put(f"/api/servers/{server['id']}", body, server["version"])
    console.print(f"{name}: {', '.join(changed['tags']) or 'no tags'}", soft_wrap=True)


@app.command("show")
def show_server(name: str, as_json: AsJson = False) -> None:
    """Show one server."""
    show_one(Client().named("/api/servers", name, "server"), as_json=as_json)


@app.command()
def setup(name: str, follow: Follow = True, as_json: AsJson = False) -> None:
    """Make a server ready, or check that it still is; running it twice changes nothing."""
    client = Client()
    server = client.named("/api/servers", name, "server")
    if follow:
        _set_up(client, server["id"], as_json=as_json)
    else:
        finish(client, client.post(f"/api/servers/{server['id']}/setup"), follow=False, as_json=as_json)


@app.command()
def collect(names: Annotated[list[str] | None, typer.Argument()] = None, as_json: AsJson = False) -> None:
    """Look at how servers fare, now: those named, or all of them."""
    client = Client()
    if names and len(names) == 1:
        server = client.named("/api/servers", names[0], "server")
        job = client.post(f"/api/servers/{server['id']}/collect-stats")
    else:
        servers = [client.named("/api/servers", name, "server")["id"] for name in names or []]
        job = client.post("/api/collect-stats", {"servers": servers or None})
    finish(client, job, follow=True, as_json=as_json)


@app.command()
def stats(as_json: AsJson = False) -> None:
    """Show how all servers fare, as of the latest look at each."""
    servers = list(Client().every("/api/servers"))
    if as_json:
        show(servers, (), as_json=True)
        return
    show([_summary(server) for server in servers], _STATS, as_json=False)


def _summary(server: dict[str, Any]) -> dict[str, Any]:
    status: dict[str, Any] = server["status"] or {}
    sample: dict[str, Any] = status.get("sample") or {}
    up = {None: "unknown", True: "up", False: "down"}[status.get("up")]
    return sample | {"name": server["name"], "state": up, "reason": status.get("reason", "")}


@app.command()
def approve(name: str, fingerprint: str, as_json: AsJson = False) -> None:
    """Approve the host key a server showed, by its fingerprint."""
    client = Client()
    server = client.named("/api/servers", name, "server")
    approved = client.post(f"/api/servers/{server['id']}/host-key", {"fingerprint": fingerprint})
    show_one(approved, as_json=as_json)


@app.command()
def key() -> None:
    """Print the fleet's public key, to put into a server's authorized_keys by hand."""
    console.print(Client().get("/api/fleet-key")["public_key"], soft_wrap=True)


@app.command()
def remove(name: str) -> None:
    """Forget a server that has no repositories."""
    client = Client()
    client.delete(f"/api/servers/{client.named('/api/servers', name, 'server')['id']}")
    console.print(f"forgotten: {name}")


def _set_up(client: Client, server_id: str, *, as_json: bool) -> None:
    job = client.post(f"/api/servers/{server_id}/setup")
    if not as_json and console.is_terminal:
        ended = watch(client, job["id"])
        if ended["code"] in ("host_key_unknown", "host_key_changed") and _approved(client, server_id, ended):
            job = client.post(f"/api/servers/{server_id}/setup")
    finish(client, job, follow=True, as_json=as_json)


def _approved(client: Client, server_id: str, job: dict[str, Any]) -> bool:
    server = client.get(f"/api/servers/{server_id}")
    console.print(job["reason"], soft_wrap=True)
    if not confirmed(f"Approve {server['offered_fingerprint']}?"):
        return False
    client.post(f"/api/servers/{server_id}/host-key", {"fingerprint": server["offered_fingerprint"]})
    return True
