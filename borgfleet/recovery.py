"""The recovery kit: what plain borg needs to open every repository without Borgfleet."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sqlalchemy import select

from borgfleet.master_key import proven_database
from borgfleet.people import console
from shared.db.stores.audit import Deed
from shared.db.stores.secrets import repository_key, repository_passphrase
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository, StoragePool
from shared.errors import AppError, Permanent
from shared.secrets.borg_key import opens

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.db.unit_of_work import UnitOfWork

_HOW = """To restore without Borgfleet, on the node:
  BORG_PASSPHRASE=... borg list PATH
  BORG_PASSPHRASE=... borg extract PATH::ARCHIVE
If the passphrase opens nothing, or `config` in PATH lacks its key: write the lines below "key:" without their leading
spaces to a file, then
  borg key import PATH FILE"""


async def kit(settings: Settings) -> list[dict[str, str]]:
    """Return id, server, node, path, passphrase and key of every repository that was used; a key may be empty."""
    db = await proven_database(settings)
    try:
        found = await db.run(_read)
        with contextlib.suppress(AppError):  # a kit is printed from a database that can only be read, too
            await db.run(lambda tx: tx.audit.add(console(), Deed("recovery_kit", "repositories")), retry_for=0)
        return found
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
    query = (
        select(Repository, Server.name, StoragePool.node)
        .join(Server, Server.id == Repository.server_id)
        .join(StoragePool, StoragePool.id == Repository.pool_id)
        .order_by(Repository.path)
    )
    entries: list[dict[str, str]] = []
    for repository, server, node in await tx.session.execute(query):
        problems: list[str] = []
        passphrase = await _opened(tx, repository_passphrase(repository.id), problems)
        key = await _opened(tx, repository_key(repository.id), problems)
        if passphrase is None and not problems:
            continue
        if passphrase is not None and key and opens(passphrase, key) is False:
            problems.append(
                "the recorded passphrase does not open the recorded key"
            )  # as after a database was restored
        entry = {
            "id": str(repository.id),
            "server": server,
            "repository": repository.name,
            "node": node,
            "path": repository.path,
            "passphrase": passphrase or "",
            "key": key or "",
        }
        entries.append(entry | ({"problem": "; ".join(problems)} if problems else {}))
    return entries


async def _opened(tx: UnitOfWork, name: str, problems: list[str]) -> str | None:
    """Open a secret; one that is damaged is told beside the others: they are needed all the more."""
    try:
        return await tx.secrets.find(name)
    except Permanent as error:
        problems.append(error.message)
        return None
