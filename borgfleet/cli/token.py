"""`borgfleet token`: API tokens of programs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from borgfleet.cli.client import Client
from borgfleet.cli.output import AsJson, console, show, show_one

app = typer.Typer(no_args_is_help=True)
_PATH = "/api/tokens"
_COLUMNS = (
    ("NAME", "name"), ("USER", "user"), ("BEGINS", "prefix"), ("EXPIRES", "expires_at"), ("USED", "last_used_at"),
    ("FROM", "last_used_from"),
)  # fmt: skip


@app.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """List the tokens that one may see; a token itself is never shown again."""
    show(Client().every(_PATH), _COLUMNS, as_json=as_json)


@app.command()
def add(
    name: str,
    user: Annotated[str | None, typer.Option(help="Whose it is; default: one's own.")] = None,
    permission: Annotated[
        list[str] | None, typer.Option(help="As servers:read; default: all that its user may.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only for servers with one of these tags.")] = None,
    days: Annotated[int, typer.Option(min=0, help="Until it expires; 0: never.")] = 90,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, this once."""
    body: dict[str, Any] = {
        "name": name, "user": user, "permissions": permission, "tags": tag, "expires_in_days": days or None,
    }  # fmt: skip
    made = Client().post(_PATH, body)
    if as_json:
        show_one(made, as_json=True)
        return
    console.print("The token, shown this once; keep it safe:")
    console.print(f"  {made['secret']}", soft_wrap=True)


@app.command()
def revoke(name: str) -> None:
    """Let a token do nothing more."""
    client = Client()
    client.delete(f"{_PATH}/{client.named(_PATH, name, 'token')['id']}")
    console.print(f"revoked: {name}", soft_wrap=True)
