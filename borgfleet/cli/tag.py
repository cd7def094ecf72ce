"""`borgfleet tag`: the tags of servers."""

from __future__ import annotations

from typing import Annotated

import typer

from borgfleet.cli.client import Client, fail
from borgfleet.cli.output import AsJson, console, show, show_one

app = typer.Typer(no_args_is_help=True)
_PATH = "/api/tags"
_COLUMNS = (
    ("NAME", "name"), ("SERVERS", "servers"), ("CHANNELS", "channels"), ("THRESHOLDS", "thresholds"),
    ("WINDOWS", "windows"), ("GROUPS", "groups"), ("DESCRIPTION", "description"),
)  # fmt: skip
Colour = Annotated[str | None, typer.Option(help="As #1f77b4; '' for none.")]
Description = Annotated[str | None, typer.Option(help="What it stands for.")]


@app.command("list")
def list_tags(as_json: AsJson = False) -> None:
    """List the tags, and how many of each refer to them."""
    show(Client().every(_PATH), _COLUMNS, as_json=as_json)


@app.command()
def add(name: str, colour: Colour = None, description: Description = None, as_json: AsJson = False) -> None:
    """Make a tag, as production or env=production; `server tag` makes those that are not there by itself."""
    show_one(
        Client().post(_PATH, {"name": name, "colour": colour or "", "description": description or ""}), as_json=as_json
    )


@app.command("show")
def show_tag(name: str, as_json: AsJson = False) -> None:
    """Show one tag, and by how much it is used."""
    show_one(Client().named(_PATH, name, "tag"), as_json=as_json)


@app.command()
def change(
    name: str,
    rename: Annotated[str | None, typer.Option(help="Its new name; all that refers to it goes on.")] = None,
    colour: Colour = None,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Rename a tag, or change its colour or description."""
    given = {"name": rename, "colour": colour, "description": description}
    body = {key: value for key, value in given.items() if value is not None}
    if not body:
        fail("this says no change", "give --rename, --colour or --description")
    client = Client()
    show_one(client.patch(f"{_PATH}/{client.named(_PATH, name, 'tag')['id']}", body), as_json=as_json)


@app.command()
def remove(
    name: str, from_servers: Annotated[bool, typer.Option(help="Take it from the servers that have it.")] = False
) -> None:
    """Forget a tag; one that channels, thresholds, windows or groups refer to stays."""
    client = Client()
    tag = client.named(_PATH, name, "tag")
    client.delete(f"{_PATH}/{tag['id']}" + ("?from_servers=true" if from_servers else ""))
    servers = f", and taken from {tag['servers']} servers" if tag["servers"] else ""
    console.print(f"forgotten: {name}{servers}", soft_wrap=True)
