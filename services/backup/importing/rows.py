"""The rows of what plain borg made: archives are added and forgotten as its repository lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from services.backup.inventory.figures import refresh_figures
from shared.db.clock import read_now
from shared.db.tables.storage import Archive, Repository
from shared.domain.backup_state import doubt
from shared.domain.messages import importing as say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from shared.borg.importing import FoundArchive, FoundRepository
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.message import Said

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Taken:
    """What a look changed on record."""

    archives: int
    added: int
    gone: int


async def take_in(tx: UnitOfWork, repository: Repository, found: FoundRepository) -> Taken:
    """Bring the rows of imported archives up to what the repository lists: what its owner deleted is no loss."""
    rows = await tx.session.execute(
        select(Archive.borg_id, Archive.id).where(Archive.repository_id == repository.id, Archive.imported.is_(True))
    )
    recorded = {row[0]: row[1] for row in rows}
    listed = {one.figures.borg_id: one for one in found.archives}  # one that has two names is one archive
    gone = [row_id for borg_id, row_id in recorded.items() if borg_id not in listed]
    if gone:
        await tx.session.execute(delete(Archive).where(Archive.id.in_(gone)))
    now = await read_now(tx.session)
    known = await _of_ours(tx, repository) | recorded.keys()
    added = [_row(repository, one, now) for borg_id, one in listed.items() if borg_id not in known]
    tx.session.add_all(added)
    await tx.session.flush()
    await refresh_figures(tx, repository.id, None)
    return Taken(len(listed), len(added), len(gone))


async def _of_ours(tx: UnitOfWork, repository: Repository) -> set[str | None]:
    query = select(Archive.borg_id).where(Archive.repository_id == repository.id, Archive.imported.is_(False))
    return set(await tx.session.scalars(query))


def _row(repository: Repository, one: FoundArchive, now: datetime) -> Archive:
    return Archive(
        repository_id=repository.id,
        server_id=repository.server_id,
        imported=True,
        reasons=[doubt(say.ARCHIVE_IMPORTED()).to_json()],
        damage=say.ARCHIVE_FORGED().text if one.signed is None else "",
        # Nobody of ours observed the run: its own time is all there is, and never one that is to come.
        created_at=min(one.figures.started_at, now),
        **one.figures.model_dump(),
    )


def told_of(found: FoundRepository, added: int) -> Iterator[Said]:
    """Yield what people should know of what was found; of archives only where any is new."""
    if found.lost:
        yield say.ARCHIVES_LOST(count=found.lost)
    forged = sorted(one.figures.name for one in found.archives if one.signed is None)
    if forged:
        more = max(0, len(forged) - _NAMED) or None
        yield say.ARCHIVES_FORGED(count=len(forged), names=forged[:_NAMED], more=more)
    unsigned = sum(one.signed is False for one in found.archives)
    if unsigned and added == len(found.archives):
        yield say.ARCHIVES_UNSIGNED(count=unsigned, of=len(found.archives))
