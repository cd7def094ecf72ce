"""Takes passphrases back from a recovery kit, after a database was restored that is older than the repositories.

A passphrase replaces another one only where it opens the repository's key and the recorded one does not.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from borgfleet.master_key import proven_database
from shared.db.stores.secrets import repository_key, repository_passphrase
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository
from shared.domain.messages.installation import KIT_UNREADABLE
from shared.errors import Invalid, Permanent
from shared.kit.own import own_places
from shared.secrets.borg_key import opens

if TYPE_CHECKING:
    import uuid

    from shared.config.settings import Settings
    from shared.db.unit_of_work import UnitOfWork

_HEAD = re.compile(r"(?P<server>\S+) - (?P<repository>\S+)")
_PLACE = re.compile(r" {2}on node (?P<node>\S+): (?P<path>/.*)")
_OPENS = "  passphrase: "
_LINE = "    "
_NOT_ON_RECORD = "not on record: add server, pool and repository under these names again, then import it once more"


@dataclass(frozen=True, slots=True)
class KitEntry:
    """What a recovery kit says of one repository."""

    server: str
    repository: str
    path: str
    passphrase: str = field(repr=False)
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one entry."""

    entry: KitEntry
    done: bool
    """The database has a passphrase that nothing speaks against: this one, or one that it had already."""
    text: str


def read_kit(text: str) -> list[KitEntry]:
    """Return what a kit holds, printed by `borgfleet recovery-kit` with --json or without; Invalid if it is none."""
    entries = _from_json(text) if text.lstrip().startswith(("[", "{")) else _from_paper(text)
    entries = [entry for entry in entries if entry.passphrase]
    if not entries:
        raise Invalid(KIT_UNREADABLE())
    return entries


async def take_back(settings: Settings, entries: list[KitEntry]) -> list[Taken]:
    """Take the kit's passphrases where the database has none, or one that does not open the repository's key."""
    db = await proven_database(settings)
    try:
        return [await db.run(lambda tx, one=entry: take(tx, one)) for entry in entries]
    finally:
        await db.close()


async def take(tx: UnitOfWork, entry: KitEntry) -> Taken:
    """Take one passphrase, if nothing speaks against it; say what became of it."""
    repository = await _on_record(tx, entry)
    if repository is None:
        return Taken(entry, done=False, text=_NOT_ON_RECORD)
    name = repository_passphrase(repository)
    recorded, damaged = await _opened(tx, name)
    key = (await _opened(tx, repository_key(repository)))[0] or entry.key
    if recorded == entry.passphrase:
        return Taken(entry, done=True, text="the database has this passphrase")
    fits = opens(entry.passphrase, key) if key else None
    if fits is False:
        return Taken(entry, done=False, text="this passphrase does not open the repository's key: nothing was changed")
    if recorded is not None and fits is None:
        told = "the database has another passphrase, and no key that tells which is right: nothing was changed"
        return Taken(
            entry, done=False, text=f"{told}. Run a backup of it, which records the key, and import this again"
        )
    if recorded is not None and opens(recorded, key):
        return Taken(entry, done=True, text="the database's own passphrase opens the repository too: it was left")
    await tx.secrets.put(name, entry.passphrase)
    before = "was damaged" if damaged else "did not open it" if recorded is not None else "was none"
    return Taken(entry, done=True, text=f"taken from the kit; the recorded one {before}")


async def _on_record(tx: UnitOfWork, entry: KitEntry) -> uuid.UUID | None:
    """Find a repository by where it lies; by its names where the pool's path is another one now."""
    query = select(Repository.id).join(Server, Server.id == Repository.server_id)
    by_path = await tx.session.scalar(query.where(Repository.path == entry.path))
    named = query.where(Server.name == entry.server, Repository.name == entry.repository)
    own = next((one.id for one in await own_places(tx.session) if one.path == entry.path), None)
    return by_path or own or await tx.session.scalar(named)


async def _opened(tx: UnitOfWork, name: str) -> tuple[str | None, bool]:
    """Open a secret; one that is damaged is as good as none."""
    try:
        return await tx.secrets.find(name), False
    except Permanent:
        return None, True


def _from_json(text: str) -> list[KitEntry]:
    try:
        listed: Any = json.loads(text)
        return [
            KitEntry(
                server=str(one["server"]),
                repository=str(one["repository"]),
                path=str(one["path"]),
                passphrase=str(one["passphrase"]),
                key=str(one.get("key", "")),
            )
            for one in listed
        ]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []


def _from_paper(text: str) -> list[KitEntry]:
    found: list[dict[str, str]] = []
    for line in text.splitlines():
        if head := _HEAD.fullmatch(line.rstrip()):
            found.append(head.groupdict() | {"key": ""})
        elif not found:
            continue
        elif place := _PLACE.fullmatch(line.rstrip()):
            found[-1]["path"] = place["path"]
        elif line.startswith(_OPENS):
            found[-1]["passphrase"] = line.removeprefix(_OPENS).rstrip()
        elif line.startswith(_LINE):
            found[-1]["key"] += f"{line.strip()}\n"
    return [
        KitEntry(one["server"], one["repository"], one["path"], one["passphrase"], one["key"])
        for one in found
        if "path" in one and "passphrase" in one
    ]
