"""What runs are held against: read, and kept when archives go. What can be restored is another question.

An archive that is damaged, lost, about to be deleted or pruned cannot be restored, but what it held is known as before.
Without that a slow fall would pass wherever retention keeps few archives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import and_, delete, insert, or_, select

from services.backup.truth.evidence import ArchiveEvidence
from services.backup.truth.reference import Good
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.base import db_now
from shared.db.tables.evidence import PastMeasure
from shared.db.tables.storage import Archive
from shared.domain.archive import CLOCK_TOLERANCE
from shared.domain.backup_state import MADE

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement

    from shared.db.unit_of_work import UnitOfWork

_Table: TypeAlias = "type[Archive | PastMeasure]"

_RECENT_SECONDS = 30 * 24 * 3600
_AT_LEAST = 10
_NEWEST = 500
"""Evidence is large: of a job that runs each minute not all of a month is read, but none that is the most of it."""
_LARGEST = 50
"""Of those that hold the most files, and of those that hold the most bytes."""
_MANY = 100
"""Of archives that are gone: of more, those go that say no more than newer ones."""


async def read_measures(tx: UnitOfWork, backup_job_id: uuid.UUID) -> tuple[list[Good], bool]:
    """Return the archives of the last 30 days or the last ten, whichever is more, the latest first; are they trusted?

    Those that the gate or a person trusted. A job without any is held against its doubtful ones: or the first run after
    the cause of the doubts was removed would be held against nothing.
    """
    mine = and_(Archive.backup_job_id == backup_job_id, _made())
    past = PastMeasure.backup_job_id == backup_job_id
    good = await _read(tx, {Archive: and_(mine, _trusted()), PastMeasure: past})
    return (good, True) if good else (await _read(tx, {Archive: mine}), False)


async def keep_measures(tx: UnitOfWork, archive_ids: Sequence[uuid.UUID]) -> None:
    """Keep what trusted archives held, before they are taken off the record."""
    columns = ("id", "backup_job_id", "created_at", "accepted_at", "files", "original_size", "evidence")
    going = (
        select(*(getattr(Archive, name) for name in columns))
        .join(BackupJob, BackupJob.id == Archive.backup_job_id)
        .where(Archive.id.in_(archive_ids), _made(), _trusted())
    )
    await tx.session.execute(insert(PastMeasure).from_select(["archive_id", *columns[1:]], going))
    jobs = select(Archive.backup_job_id).where(Archive.id.in_(archive_ids)).distinct()
    for backup_job_id in (await tx.session.scalars(jobs)).all():
        if backup_job_id is not None:
            await _thin_out(tx, backup_job_id)


def _made() -> ColumnElement[bool]:
    return Archive.state.in_([state.value for state in MADE])


def _trusted() -> ColumnElement[bool]:
    return or_(Archive.trusted.is_(True), Archive.accepted_at.is_not(None))


async def _read(tx: UnitOfWork, tables: dict[_Table, ColumnElement[bool]]) -> list[Good]:
    last: list[Any] = []
    for table, mine in tables.items():
        past = table.created_at <= db_now(CLOCK_TOLERANCE.total_seconds())
        query = select(table.created_at).where(mine, past).order_by(table.created_at.desc()).limit(_AT_LEAST)
        last += (await tx.session.scalars(query)).all()
    tenth = min(sorted(last, reverse=True)[:_AT_LEAST], default=None)
    found: list[Good] = []
    for table, mine in tables.items():
        recent = table.created_at >= db_now(-_RECENT_SECONDS)
        window = recent if tenth is None else or_(recent, table.created_at >= tenth)
        found += await _read_from(tx, table, and_(mine, window))
    return sorted(found, key=lambda one: one.created_at, reverse=True)


async def _read_from(tx: UnitOfWork, table: _Table, wanted: ColumnElement[bool]) -> list[Good]:
    key = Archive.id if table is Archive else PastMeasure.archive_id
    columns = (key, table.created_at, table.accepted_at, table.files, table.original_size, table.evidence)
    found: dict[uuid.UUID, Good] = {}
    for first, limit in ((table.created_at, _NEWEST), (table.files, _LARGEST), (table.original_size, _LARGEST)):
        rows = await tx.session.execute(select(*columns).where(wanted).order_by(first.desc()).limit(limit))
        found.update({row[0]: Good(*row[1:]) for row in rows.all()})
    return list(found.values())


async def _thin_out(tx: UnitOfWork, backup_job_id: uuid.UUID) -> None:
    """Drop of many measures the old ones that newer ones exceed in everything."""
    mine = PastMeasure.backup_job_id == backup_job_id
    rows = (await tx.session.scalars(select(PastMeasure).where(mine).order_by(PastMeasure.created_at.desc()))).all()
    if len(rows) <= _MANY:
        return
    most: dict[tuple[str, str], int] = {}
    useless: list[uuid.UUID] = []
    for number, row in enumerate(rows):
        held = _amounts(row)
        more = any(amount > most.get(what, -1) for what, amount in held.items())
        most |= {what: max(amount, most.get(what, -1)) for what, amount in held.items()}
        if number >= _AT_LEAST and row.accepted_at is None and not more:
            useless.append(row.archive_id)
    await tx.session.execute(delete(PastMeasure).where(PastMeasure.archive_id.in_(useless)))


def _amounts(row: PastMeasure) -> dict[tuple[str, str], int]:
    """Return all that a measure says at most, in numbers."""
    amounts = {("files", ""): row.files, ("bytes", ""): row.original_size}
    evidence = ArchiveEvidence.read(row.evidence)
    for one in evidence.sources if evidence else ():
        amounts |= {("files", one.source.path): one.files or 0, ("bytes", one.source.path): one.size or 0}
    for one in evidence.mounts if evidence else ():
        amounts |= {("mount files", one.path): one.files, ("mount bytes", one.path): one.size}
    return amounts
