"""`borgfleet user`: people and services, their roles; and the way back in, where the database can be reached."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from borgfleet.cli import ask
from borgfleet.cli.client import Client, fail
from borgfleet.cli.operate import BreakGlass, DataDir, execute, local_settings
from borgfleet.cli.output import AsJson, console, show, show_one

app = typer.Typer(no_args_is_help=True)
_PATH = "/api/users"
_COLUMNS = (
    ("NAME", "name"), ("KIND", "kind"), ("STATE", "state"), ("ROLES", "roles"), ("2ND FACTOR", "second_factor"),
    ("LAST LOGIN", "last_login_at"),
)  # fmt: skip
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", help="viewer, auditor, restore_operator, operator or admin; operator:TAG for some servers."),
]


@app.command("list")
def list_users(as_json: AsJson = False) -> None:
    """List the users and their roles."""
    rows = [user | {"roles": _shown(user["grants"])} for user in Client().every(_PATH)]
    show(rows, _COLUMNS, as_json=as_json)


@app.command("show")
def show_user(name: str, as_json: AsJson = False) -> None:
    """Show one user."""
    show_one(Client().named(_PATH, name, "user"), as_json=as_json)


@app.command()
def add(
    name: str,
    role: Roles = None,
    display_name: Annotated[str, typer.Option(help="The name for people.")] = "",
    email: Annotated[str, typer.Option(help="An address.")] = "",
    service: Annotated[bool, typer.Option(help="A program: it has tokens, and no password.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a user; for a person it prints the link to choose a password with, this once."""
    body = {
        "name": name, "display_name": display_name, "email": email, "kind": "service" if service else "person",
        "grants": _grants(role),
    }  # fmt: skip
    made = Client().post(_PATH, body)
    if as_json:
        show_one(made, as_json=True)
        return
    console.print(f"made: {name}", soft_wrap=True)
    if made["invitation"]:
        _print_link(made["invitation"])


@app.command()
def grant(name: str, role: Roles = None) -> None:
    """Give a user these roles instead of those there are; without any, none."""
    client = Client()
    user = client.named(_PATH, name, "user")
    grants = client.put(f"{_PATH}/{user['id']}/grants", {"grants": _grants(role)})
    console.print(f"{name}: {_shown(grants) or 'no role'}", soft_wrap=True)


@app.command()
def disable(name: str) -> None:
    """Log a user out and let nobody in under this name; tokens stop too."""
    _change(name, {"state": "disabled"})


@app.command()
def enable(name: str) -> None:
    """Let a disabled user in again."""
    _change(name, {"state": "active"})


@app.command()
def remove(name: str) -> None:
    """Forget a user with all sessions, tokens and roles."""
    client = Client()
    client.delete(f"{_PATH}/{client.named(_PATH, name, 'user')['id']}")
    console.print(f"forgotten: {name}", soft_wrap=True)


@app.command()
def invite(name: str) -> None:
    """Print a link with which a person chooses a password; earlier links work no longer."""
    client = Client()
    _print_link(client.post(f"{_PATH}/{client.named(_PATH, name, 'user')['id']}/invite"))


@app.command("reset-password")
def reset_password(
    name: str,
    link: Annotated[bool, typer.Option("--link", help="Print a link instead of asking for a password.")] = False,
    break_glass: BreakGlass = "",
    data_dir: DataDir = None,
) -> None:
    """Set a password without the API, on a machine with the database's settings; all sessions end."""
    from borgfleet.people import reset_password as reset  # noqa: PLC0415 - loads only where it runs

    settings = local_settings(data_dir)
    password = None if link else ask.secret(f"new password of {name}")
    made = execute(reset(settings, name, password, break_glass))
    console.print(made or f"{name} has a new password", soft_wrap=True)


@app.command("reset-factors")
def reset_factors(name: str, break_glass: BreakGlass = "", data_dir: DataDir = None) -> None:
    """Take second factors away without the API, as after a lost phone; all sessions end."""
    from borgfleet.people import reset_second_factors  # noqa: PLC0415 - loads only where it runs

    execute(reset_second_factors(local_settings(data_dir), name, break_glass))
    console.print(f"{name} logs in with the password alone", soft_wrap=True)


def _change(name: str, body: dict[str, Any]) -> None:
    client = Client()
    changed = client.patch(f"{_PATH}/{client.named(_PATH, name, 'user')['id']}", body)
    console.print(f"{name} is {changed['state']}", soft_wrap=True)


def _print_link(link: dict[str, Any]) -> None:
    console.print(f"  {link['link']}", soft_wrap=True)
    console.print(f"  works once, until {link['expires_at']}", soft_wrap=True)


def _grants(given: list[str] | None) -> list[dict[str, str | None]]:
    pairs = [one.partition(":") for one in given or ()]
    if any(not role or (colon and not tag) for role, colon, tag in pairs):
        fail("a role is given as NAME or NAME:TAG", "as --role operator:production")
    return [{"role": role, "tag": tag or None} for role, _, tag in pairs]


def _shown(grants: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['role']}:{one['tag']}" if one["tag"] else str(one["role"]) for one in grants)
