"""The recovery kit on this machine: printed for paper, or exported as one encrypted file."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from borgfleet.master_key import proven_database
from borgfleet.people import console, require_glass
from shared.db.stores.audit import Deed
from shared.errors import AppError, Conflict
from shared.kit.cover import record_export
from shared.kit.gather import gather, repositories

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.config.settings import Settings
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork
    from shared.kit.contents import Kit, KitRepository

_HOW = """To restore without Borgfleet, on the node:
  BORG_PASSPHRASE=... borg list PATH
  BORG_PASSPHRASE=... borg extract PATH::ARCHIVE
If the passphrase opens nothing, or `config` in PATH lacks its key: write the lines below "key:" without their leading
spaces to a file, then
  borg key import PATH FILE"""


async def kit(settings: Settings, reason: str = "") -> list[dict[str, str]]:
    """Return id, server, node, path, passphrase and key of every repository that was used; a key may be empty.

    `reason`: why the second person is passed by, where four eyes are on.
    """
    db = await proven_database(settings)
    try:
        await _require_glass(db, reason)
        found = await db.run(_read)
        await _audit(db, "recovery_kit")
        return found
    finally:
        await db.close()


async def export(settings: Settings, write: Callable[[Kit], None], reason: str = "") -> Kit:
    """Write a kit, and once it is written keep what it covers; return it.

    It is made from a database that can only be read, too: then nobody knows afterwards that there is one. `reason`:
    see `kit`.
    """
    db = await proven_database(settings)
    try:
        await _require_glass(db, reason)
        made = await db.run(lambda tx: gather(tx, settings))
        write(made)
        with contextlib.suppress(AppError):
            await db.run(lambda tx: record_export(tx.session, made.fingerprints), retry_for=0)
        await _audit(db, "export_recovery_kit")
        return replace(made, master_key="")
    finally:
        await db.close()


def kit_as_text(repositories: list[dict[str, str]]) -> str:
    """Return the kit for paper."""
    parts = [_entry_as_text(entry) for entry in repositories]
    return "\n\n".join([*parts, _HOW]) if parts else "no repository has been used yet"


def _entry_as_text(entry: dict[str, str]) -> str:
    lines = [
        f"{entry['server']} - {entry['repository']}",
        f"  on node {entry['node']}: {entry['path']}",
        f"  passphrase: {entry['passphrase']}",
    ]
    if "problem" in entry:
        lines.append(f"  PROBLEM: {entry['problem']}: take it from an older recovery kit")
    if entry["key"]:
        lines += ["  key:", *(f"    {line}" for line in entry["key"].splitlines())]
    return "\n".join(lines)


async def _read(tx: UnitOfWork) -> list[dict[str, str]]:
    return [_as_entry(one) async for one in repositories(tx)]


def _as_entry(one: KitRepository) -> dict[str, str]:
    entry = {
        "id": one.id,
        "server": one.server,
        "repository": one.name,
        "node": one.node,
        "path": one.path,
        "passphrase": one.passphrase,
        "key": one.key,
    }
    return entry | ({"problem": one.problem} if one.problem else {})


async def _audit(db: Database, action: str) -> None:
    with contextlib.suppress(AppError):  # a kit is made from a database that can only be read, too
        await db.run(lambda tx: tx.audit.add(console(), Deed(action, "repositories")), retry_for=0)


async def _require_glass(db: Database, reason: str) -> None:
    try:
        await db.run(lambda tx: require_glass(tx, reason), retry_for=0)
    except Conflict:
        raise
    except AppError:  # of a database that can only be read
        return
