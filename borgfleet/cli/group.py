"""`borgfleet group`: named selections of servers by their tags."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from borgfleet.cli.client import Client, fail
from borgfleet.cli.output import AsJson, console, show, show_one

app = typer.Typer(no_args_is_help=True)
_PATH = "/api/groups"
_COLUMNS = (("NAME", "name"), ("ALL OF", "all"), ("ANY OF", "any"), ("NONE OF", "none"), ("DESCRIPTION", "description"))
_MEMBERS = (("NAME", "name"), ("HOST", "host"), ("STATE", "state"))
All = Annotated[list[str] | None, typer.Option("--all", help="A server has this tag; may be repeated.")]
Any_ = Annotated[list[str] | None, typer.Option("--any", help="It has one of these; may be repeated.")]
None_ = Annotated[list[str] | None, typer.Option("--none", help="It has none of these; may be repeated.")]
Description = Annotated[str | None, typer.Option(help="What it stands for.")]


@app.command("list")
def list_groups(as_json: AsJson = False) -> None:
    """List the groups."""
    show(Client().every(_PATH), _COLUMNS, as_json=as_json)


@app.command()
def add(
    name: str, every: All = None, one_of: Any_ = None, none_of: None_ = None, description: Description = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make a group of all servers with these tags, now and later."""
    show_one(Client().post(_PATH, {"name": name} | _given(every, one_of, none_of, description)), as_json=as_json)


@app.command("show")
def show_group(name: str, as_json: AsJson = False) -> None:
    """Show one group."""
    show_one(Client().named(_PATH, name, "group"), as_json=as_json)


@app.command()
def servers(name: str, as_json: AsJson = False) -> None:
    """List a group's servers, as their tags are now."""
    client = Client()
    show(client.every(f"{_PATH}/{client.named(_PATH, name, 'group')['id']}/servers"), _MEMBERS, as_json=as_json)


@app.command()
def change(
    name: str, rename: Annotated[str | None, typer.Option(help="Its new name.")] = None, every: All = None,
    one_of: Any_ = None, none_of: None_ = None, description: Description = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Change a group; the tags given replace those of their kind."""
    body = _given(every, one_of, none_of, description) | ({} if rename is None else {"name": rename})
    if not body:
        fail("this says no change", "give --rename, --description, --all, --any or --none")
    client = Client()
    show_one(client.patch(f"{_PATH}/{client.named(_PATH, name, 'group')['id']}", body), as_json=as_json)


@app.command()
def remove(name: str) -> None:
    """Forget a group; its servers and their tags stay."""
    client = Client()
    client.delete(f"{_PATH}/{client.named(_PATH, name, 'group')['id']}")
    console.print(f"forgotten: {name}", soft_wrap=True)


def _given(
    every: list[str] | None, one_of: list[str] | None, none_of: list[str] | None, description: str | None
) -> dict[str, Any]:
    given = {"all": every, "any": one_of, "none": none_of, "description": description}
    return {key: value for key, value in given.items() if value is not None}
