"""Reads what a recovery kit holds out of the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from sqlalchemy import select

from shared.db.stores.secrets import repository_key, repository_passphrase
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository, StoragePool
from shared.errors import Permanent
from shared.kit.contents import Kit, KitRepository
from shared.kit.cover import fingerprints
from shared.kit.own import DIRECTORY, ENCRYPTION, NAME, own_places
from shared.secret_files import read_secret
from shared.secrets.borg_key import opens

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncGenerator

    from shared.config.settings import Settings
    from shared.db.unit_of_work import UnitOfWork

_HEAD = "BORG_KEY "
_MISMATCH = "the recorded passphrase does not open the recorded key"
"""As after a database was restored."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a repository is, as the database has it."""

    id: uuid.UUID
    server: str
    name: str
    node: str
    path: str
    borg_id: str | None
    encryption: str
    own: bool = False


async def gather(tx: UnitOfWork, settings: Settings) -> Kit:
    """Return a kit of all repositories that were used; one whose secret is damaged is in it, with its problem."""
    marks = await fingerprints(tx.session)
    found = [one async for one in repositories(tx)]
    return Kit(
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        version=version("borgfleet"),
        repositories=tuple(one for one in found if one.borg_id),
        master_key=read_secret(settings.master_key_path, "master key file", code="master_key").decode(),
        settings=settings.redacted(),
        fingerprints={one.id: marks[one.id] for one in found if one.id in marks and one.borg_id and not one.problem},
    )


async def repositories(tx: UnitOfWork) -> AsyncGenerator[KitRepository]:
    """Return what opens each repository that was used, by its path."""
    for place in await _places(tx):
        problems: list[str] = []
        passphrase = await _opened(tx, repository_passphrase(place.id), problems)
        key = await _opened(tx, repository_key(place.id), problems)
        if passphrase is None and not problems:
            continue
        if passphrase is not None and key and opens(passphrase, key) is False:
            problems.append(_MISMATCH)
        yield KitRepository(
            id=str(place.id),
            server=place.server,
            name=place.name,
            node=place.node,
            path=place.path,
            borg_id=place.borg_id or _named_by(key),
            encryption=place.encryption,
            passphrase=passphrase or "",
            key=key or "",
            problem="; ".join(problems),
            own=place.own,
        )


async def _places(tx: UnitOfWork) -> list[Place]:
    query = (
        select(Repository, Server.name, StoragePool.node)
        .join(Server, Server.id == Repository.server_id)
        .join(StoragePool, StoragePool.id == Repository.pool_id)
        .order_by(Repository.path)
    )
    own = [
        Place(one.id, DIRECTORY, NAME, one.node, one.path, None, ENCRYPTION, own=True)
        for one in await own_places(tx.session)
    ]
    return own + [
        Place(one.id, server, one.name, node, one.path, one.borg_id, one.encryption)
        for one, server, node in await tx.session.execute(query)
    ]


def _named_by(key: str | None) -> str:
    """Return which repository a key is for."""
    first = (key or "").split("\n", 1)[0]
    return first.removeprefix(_HEAD).strip() if first.startswith(_HEAD) else ""


async def _opened(tx: UnitOfWork, name: str, problems: list[str]) -> str | None:
    """Open a secret; one that is damaged is told beside the others: they are needed all the more."""
    try:
        return await tx.secrets.find(name)
    except Permanent as error:
        problems.append(error.message)
        return None
