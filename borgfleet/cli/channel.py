"""`borgfleet channel`: who is told of alerts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from borgfleet.cli.ask import secret
from borgfleet.cli.client import Client, fail
from borgfleet.cli.output import AsJson, console, show, show_one
from borgfleet.cli.schedule import day_numbers

app = typer.Typer(no_args_is_help=True)
_PATH = "/api/notification-channels"
_COLUMNS = (
    ("NAME", "name"), ("KIND", "kind"), ("TO", "label"), ("FROM LEVEL", "least_level"), ("TAGS", "tags"),
    ("DIGEST SECONDS", "digest_seconds"), ("ENABLED", "enabled"),
)  # fmt: skip
_LOG = (
    ("AT", "happened_at"), ("WHAT", "what"), ("LEVEL", "level"), ("KIND", "kind"), ("WITH", "about"),
    ("STATE", "state"), ("ATTEMPTS", "attempts"), ("ERROR", "error"),
)  # fmt: skip
_TEST_SECONDS = 60.0


@app.command()
def add(
    name: str,
    kind: Annotated[str, typer.Argument(help="webhook or apprise")],
    url_file: Annotated[Path | None, typer.Option(help="Read the URL from a file; asked for without.")] = None,
    critical_only: Annotated[bool, typer.Option(help="Leave warnings out.")] = False,
    tag: Annotated[list[str] | None, typer.Option(help="Only servers with this tag; may be repeated.")] = None,
    digest_seconds: Annotated[int, typer.Option(help="Gather for so long and tell it in one message.")] = 0,
    zone: Annotated[str | None, typer.Option(help="Only within hours of this time zone.")] = None,
    begins: Annotated[str, typer.Option(help="Those hours begin.")] = "00:00",
    ends: Annotated[str, typer.Option(help="And end.")] = "00:00",
    days: Annotated[str, typer.Option(help="On these days; 1 is Monday.")] = "1,2,3,4,5,6,7",
    as_json: AsJson = False,
) -> None:
    """Add a channel; its URL is a secret, so it is asked for or read from a file."""
    url = url_file.read_text().strip() if url_file else secret("URL")
    body: dict[str, Any] = {"name": name, "kind": kind, "url": url, "tags": tag or [], "digest_seconds": digest_seconds}
    if critical_only:
        body["least_level"] = "critical"
    if zone is not None:
        body["hours"] = {"zone": zone, "days": day_numbers(days), "begins": begins, "ends": ends}
    show_one(Client().post(_PATH, body), as_json=as_json)


@app.command("list")
def list_channels(as_json: AsJson = False) -> None:
    """List the channels."""
    show(Client().every(_PATH), _COLUMNS, as_json=as_json)


@app.command("show")
def show_channel(name: str, as_json: AsJson = False) -> None:
    """Show one channel; its URL is never shown."""
    show_one(Client().named(_PATH, name, "channel"), as_json=as_json)


@app.command()
def test(name: str) -> None:
    """Send a test message, and say what became of it."""
    client = Client()
    sent = client.post(f"{_PATH}/{client.named(_PATH, name, 'channel')['id']}/test")
    deadline = time.monotonic() + _TEST_SECONDS
    while time.monotonic() < deadline:
        sent = client.get(f"/api/notifications/{sent['id']}")
        if sent["state"] == "sent":
            console.print(f"delivered to {name}")
            return
        if sent["error"]:
            break
        time.sleep(0.5)
    fail(sent["error"] or "not taken up within a minute", "see the log of the stats service")


@app.command()
def log(name: Annotated[str | None, typer.Argument()] = None, as_json: AsJson = False) -> None:
    """Show what was told, to one channel or to all, and what became of it."""
    client = Client()
    channel = client.named(_PATH, name, "channel")["id"] if name else None
    show(client.every("/api/notifications", channel_id=channel), _LOG, as_json=as_json)


@app.command()
def remove(name: str) -> None:
    """Forget a channel, with its log."""
    client = Client()
    client.delete(f"{_PATH}/{client.named(_PATH, name, 'channel')['id']}")
    console.print(f"forgotten: {name}")
