"""Accounts from the machine itself, without the API: the first link, and the way back for who is locked out."""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
from typing import TYPE_CHECKING

from sqlalchemy import select

from borgfleet.master_key import proven_database
from shared.db.stores.accounts import (
    RESET_HOURS,
    SETUP_HOURS,
    end_sessions,
    has_admin,
    make_link,
    reset_factors,
    set_password,
)
from shared.db.stores.approvals import four_eyes
from shared.db.stores.audit import Actor, Deed
from shared.db.tables.account import User
from shared.domain.messages.accounts import NO_LOGIN_SERVICE, USER_UNKNOWN
from shared.domain.messages.approvals import FOUR_EYES_PASSED_BY
from shared.domain.names import shown_address
from shared.errors import Conflict, NotFound
from shared.secrets.passwords import check_password, hash_password

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import TypeVar

    from shared.config.settings import Settings
    from shared.db.unit_of_work import UnitOfWork

    T = TypeVar("T")

CLI_TOKEN = "cli.token"  # noqa: S105 - the name of a file
_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - where it listens; told to people as this machine


def base_url(settings: Settings) -> str:
    """Return the URL that people write to come to the gateway."""
    host = "127.0.0.1" if settings.api.host in _ANY else settings.api.host
    return settings.api.public_url or f"http://{shown_address(host, settings.api.port)}"


def setup_url(settings: Settings, secret: str) -> str:
    """Return the link for the first administrator; what stands after # is sent to no server, so no log has it."""
    return f"{base_url(settings)}/setup#{secret}"


def keep_cli_token(data_dir: Path, token: str) -> None:
    """Keep the first token where the command line on this machine finds it by itself; only its owner reads it."""
    temporary = data_dir / f".{CLI_TOKEN}.{secrets.token_hex(4)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{token}\n")
    temporary.replace(data_dir / CLI_TOKEN)


async def first_link(tx: UnitOfWork) -> str | None:
    """Return the secret of a new set-up link; None once a person administers the fleet."""
    return None if await has_admin(tx.session) else await make_link(tx.session, "setup", SETUP_HOURS)


async def new_setup_link(settings: Settings) -> str | None:
    """Return a new link for the first administrator; earlier ones work no longer. None if there is one already."""

    async def make(tx: UnitOfWork) -> str | None:
        secret = await first_link(tx)
        if secret is not None:
            await tx.audit.add(console(), Deed("setup_link", "auth"))
        return secret

    secret = await _run(settings, make)
    return setup_url(settings, secret) if secret else None


async def reset_password(settings: Settings, name: str, password: str | None, reason: str = "") -> str:
    """Set a user's password, or return a link to choose one with; all sessions end.

    `reason`: why the second person is passed by, where four eyes are on.
    """
    kept = None
    if password is not None:
        kept = await asyncio.to_thread(hash_password, check_password(password, name))

    async def reset(tx: UnitOfWork) -> str:
        await require_glass(tx, reason)
        user = await _user(tx, name)
        if user.kind != "person":
            raise Conflict(NO_LOGIN_SERVICE(name=name))
        await end_sessions(tx.session, user.id)
        await tx.audit.add(console(), Deed("reset_password", "users", str(user.id), user.name))
        if kept is None:
            secret = await make_link(tx.session, "reset", RESET_HOURS, user.id)
            return f"{base_url(settings)}/accept#{secret}"
        await set_password(tx.session, user.id, kept)
        return ""

    return await _run(settings, reset)


async def reset_second_factors(settings: Settings, name: str, reason: str = "") -> None:
    """Take a user's second factors away; all sessions end. `reason`: see `reset_password`."""

    async def reset(tx: UnitOfWork) -> None:
        await require_glass(tx, reason)
        user = await _user(tx, name)
        await tx.audit.add(console(), Deed("reset_factors", "users", str(user.id), user.name))
        await reset_factors(tx.session, tx.secrets, user.id)
        await end_sessions(tx.session, user.id)

    await _run(settings, reset)


async def switch_off_four_eyes(settings: Settings, reason: str) -> bool:
    """Let guarded actions need no second person any more; False if they needed none."""

    async def switch_off(tx: UnitOfWork) -> bool:
        row = await four_eyes(tx.session, locked=True)
        if not row.enabled:
            return False
        await require_glass(tx, reason)
        row.enabled = False
        return True

    return await _run(settings, switch_off)


async def require_glass(tx: UnitOfWork, reason: str) -> None:
    """Conflict where four eyes are on and nobody says why they are passed by; who says it is on record."""
    if not (await four_eyes(tx.session)).enabled:
        return
    if not reason.strip():
        raise Conflict(FOUR_EYES_PASSED_BY())
    await tx.audit.add(console(), Deed("break_glass", "settings", "", "four eyes", after={"reason": reason.strip()}))


def console() -> Actor:
    """Return who works on this machine itself, as the audit log names him."""
    try:
        login = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        login = str(os.getuid())
    return Actor("console", f"console:{login}")


async def _user(tx: UnitOfWork, name: str) -> User:
    user = await tx.session.scalar(select(User).where(User.name == name).with_for_update())
    if user is None:
        raise NotFound(USER_UNKNOWN(name=name))
    return user


async def _run(settings: Settings, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
    db = await proven_database(settings)
    try:
        return await db.run(work)
    finally:
        await db.close()
