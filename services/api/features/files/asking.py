"""Asks backup nodes what is inside backups."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pydantic import BaseModel
from sqlalchemy import select

from services.api.kernel.errors import Refused
from services.api.kernel.pages import require
from shared.db.tables.storage import Archive, Repository, StoragePool
from shared.domain.downloads import MOST_TRANSFERS
from shared.domain.files import LONGEST_PATH, subject
from shared.domain.messages.downloads import TRANSFERS_BUSY
from shared.domain.messages.files import BAD_PATH, NODE_AWAY, NODE_SLOW
from shared.errors import Invalid, Transient

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.dependencies import Gateway
    from shared.bus.port import Bus

_RETRY_AFTER = 30
Answer = TypeVar("Answer", bound=BaseModel)


class OfArchive(NamedTuple):
    """Where a backup is."""

    node: str
    repository_id: uuid.UUID
    borg_id: str


async def ask(parts: Gateway, verb: str, node: str, asked: BaseModel, model: type[Answer], seconds: float) -> Answer:
    """Ask one node; Transient `node_away` and `node_slow` where it does not answer."""
    payload = await ask_node(parts.bus, node, subject(verb, node), asked.model_dump_json().encode(), seconds)
    return model.model_validate_json(payload)


async def ask_node(bus: Bus, node: str, about: str, payload: bytes, seconds: float) -> bytes:
    """Ask a node; Transient `node_away` and `node_slow` where it does not answer, `Refused` where it is busy."""
    try:
        return await bus.request(about, payload, seconds)
    except Transient as error:
        if error.code == "bus_nobody":
            raise Transient(NODE_AWAY(node=node)) from error
        if error.code == "bus_timeout":
            raise Transient(NODE_SLOW(node=node, seconds=seconds)) from error
        if error.code == TRANSFERS_BUSY.code:
            raise Refused(TRANSFERS_BUSY(node=node, most=MOST_TRANSFERS), retry_after=_RETRY_AFTER) from error
        raise


async def archive_at(session: AsyncSession, backup_id: uuid.UUID) -> OfArchive:
    """Find a backup's node, repository and borg id."""
    query = (
        select(StoragePool.node, Repository.id, Archive.borg_id)
        .join(Repository, Repository.pool_id == StoragePool.id)
        .join(Archive, Archive.repository_id == Repository.id)
        .where(Archive.id == backup_id)
    )
    row = require((await session.execute(query)).one_or_none(), "backup")
    return OfArchive(row[0], row[1], row[2] or "")


async def node_of(session: AsyncSession, repository_id: uuid.UUID) -> str:
    """Find a repository's node."""
    query = select(StoragePool.node).join(Repository, Repository.pool_id == StoragePool.id)
    return require(await session.scalar(query.where(Repository.id == repository_id)), "repository")


async def backups_by_borg_id(
    session: AsyncSession, repository_ids: Collection[uuid.UUID], borg_ids: Collection[str]
) -> dict[tuple[uuid.UUID, str], uuid.UUID]:
    """Find the backups that archives are."""
    query = select(Archive.repository_id, Archive.borg_id, Archive.id).where(
        Archive.repository_id.in_(repository_ids), Archive.borg_id.in_(borg_ids)
    )
    return {(row[0], row[1] or ""): row[2] for row in await session.execute(query)}


def path_of(path: str, path_b64: str | None) -> bytes:
    """Return the bytes of a path that was asked for; Invalid if they cannot be read."""
    raw = path.encode() if path_b64 is None else from_base64(path_b64)
    if raw is None:
        raise Invalid(BAD_PATH(most=LONGEST_PATH))
    return raw


def from_base64(text: str) -> bytes | None:
    """Decode base64 in either alphabet; None if it is none."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None
