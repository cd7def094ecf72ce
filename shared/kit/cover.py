"""Which repositories are in a recovery kit that somebody has: as they are now, and not as they once were.

A fingerprint is of what lies in the database, sealed. Where a passphrase, a key or the master key is another one than
the kit has, so is the fingerprint, and nothing has to be opened to see it.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from shared.db.tables.kernel import Secret
from shared.db.tables.recovery import KitEntry
from shared.db.tables.storage import Repository
from shared.kit.own import own_places

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

_PREFIX, _PARTS = "repository:", ("passphrase", "key")


@dataclass(frozen=True, slots=True)
class Cover:
    """How much of the fleet the kits cover."""

    exported_at: datetime | None
    """When the last kit was made that holds a repository; None: never."""
    repositories: int
    """That were used, so that a kit is needed for them."""
    covered: int
    missing: tuple[uuid.UUID, ...]
    """Those that no kit has as they are now."""


async def fingerprints(session: AsyncSession) -> dict[str, str]:
    """Return the fingerprint of each repository that has a passphrase, by the text of its id."""
    digests: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
    query = select(Secret.name, Secret.wrapped_key, Secret.sealed).where(Secret.name.like(f"{_PREFIX}%"))
    for name, wrapped, sealed in await session.execute(query):
        of, _, part = str(name).removeprefix(_PREFIX).partition(":")
        if part in _PARTS:
            digests[of][part] = hashlib.sha256(wrapped + sealed).digest()
    return {
        str(uuid.UUID(hex=of)): hashlib.sha256(b"".join(parts.get(part, b"") for part in _PARTS)).hexdigest()
        for of, parts in digests.items()
        if "passphrase" in parts
    }


async def record_export(session: AsyncSession, held: Mapping[str, str]) -> None:
    """Keep that a kit holds these repositories, by id with the fingerprint of what was read."""
    ids = [uuid.UUID(one) for one in held]
    await session.execute(delete(KitEntry).where(KitEntry.id.in_(ids)))
    session.add_all(KitEntry(id=uuid.UUID(one), fingerprint=mark) for one, mark in held.items())
    await session.flush()


async def kit_cover(session: AsyncSession) -> Cover:
    """Say how much of the fleet the kits cover."""
    kept = {str(one.id): (one.fingerprint, one.exported_at) for one in await session.scalars(select(KitEntry))}
    on_record = {str(one) for one in await session.scalars(select(Repository.id))}
    on_record |= {str(one.id) for one in await own_places(session)}
    wanted = {of: mark for of, mark in (await fingerprints(session)).items() if of in on_record}
    missing = tuple(uuid.UUID(of) for of, mark in wanted.items() if kept.get(of, ("", None))[0] != mark)
    newest = max((at for _, at in kept.values()), default=None)
    return Cover(newest, len(wanted), len(wanted) - len(missing), missing)
