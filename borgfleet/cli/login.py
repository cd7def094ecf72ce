"""`borgfleet login`, `logout`, `whoami`: with whose token the command line asks."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from borgfleet.cli import ask


def register(app: typer.Typer) -> None:
    """Add these verbs at the top level."""
    for command in (login, logout, whoami):
        app.command()(command)


def login() -> None:
    """Keep an API token for this user of this machine; it is asked for, or read from a pipe."""
    from borgfleet.cli.client import Client, check_token, token_file  # noqa: PLC0415 - --help needs no HTTP client
    from borgfleet.cli.output import console  # noqa: PLC0415 - nor what only a terminal needs

    token = check_token(ask.secret("API token").strip(), "what was given")
    me = Client(token).get("/api/auth/me")
    keep(token_file(), token)
    console.print(f"logged in as {me['name']}", soft_wrap=True)


def logout() -> None:
    """Forget the token that `login` kept; it stays valid until it is revoked."""
    from borgfleet.cli.client import token_file  # noqa: PLC0415 - as above
    from borgfleet.cli.output import console  # noqa: PLC0415 - as above

    token_file().unlink(missing_ok=True)
    console.print("forgotten; `borgfleet token revoke NAME` ends the token itself", soft_wrap=True)


def whoami(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    permissions: Annotated[bool, typer.Option(help="Show also what one may.")] = False,
) -> None:
    """Show as whom the command line asks."""
    from borgfleet.cli.client import Client  # noqa: PLC0415 - as above
    from borgfleet.cli.output import console, show_one  # noqa: PLC0415 - as above

    me = Client().get("/api/auth/me")
    if as_json or permissions:
        show_one(me, as_json=as_json)
        return
    of = f", a token of {me['user']}" if me["kind"] == "token" and me["user"] else ""
    console.print(f"{me['name']}{of}", soft_wrap=True)


def keep(file: Path, token: str) -> None:
    """Write a token so that only its owner ever reads it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(f"{token}\n")
    temporary.replace(file)
