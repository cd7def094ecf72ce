"""Reads what a run is held against. What can be restored and what is a measure are two questions.

An archive that is damaged, lost or about to be deleted cannot be restored, but what it held is known as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, or_, select

from services.backup.reference import Good
from shared.db.repositories.retention import is_past
from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive
from shared.domain.backup_state import MADE

if TYPE_CHECKING:
    import uuid

    from sqlalchemy import ColumnElement

    from shared.db.unit_of_work import UnitOfWork

_RECENT_SECONDS = 30 * 24 * 3600
_AT_LEAST = 10
_NEWEST = 500
"""Evidence is large: of a job that runs each minute not all of a month is read, but none that is the most of it."""
_LARGEST = 50
"""Of those that hold the most files, and of those that hold the most bytes."""


async def read_measures(tx: UnitOfWork, backup_job_id: uuid.UUID) -> tuple[list[Good], bool]:
    """Return the archives of the last 30 days or the last ten, whichever is more, the latest first; are they trusted?

    Those that the gate or a person trusted. A job without any is held against its doubtful ones: or the first run after
    the cause of the doubts was removed would be held against nothing.
    """
    mine = and_(Archive.backup_job_id == backup_job_id, Archive.state.in_([state.value for state in MADE]))
    good = await _read(tx, and_(mine, or_(Archive.trusted.is_(True), Archive.accepted_at.is_not(None))))
    return (good, True) if good else (await _read(tx, mine), False)


async def _read(tx: UnitOfWork, mine: ColumnElement[bool]) -> list[Good]:
    newest_first = Archive.created_at.desc()
    last_ten = select(Archive.created_at).where(mine, is_past()).order_by(newest_first).limit(_AT_LEAST)
    tenth = min((await tx.session.scalars(last_ten)).all(), default=None)
    recent = Archive.created_at >= db_now(-_RECENT_SECONDS)
    if tenth is not None:
        recent = or_(recent, Archive.created_at >= tenth)
    columns = (
        Archive.id, Archive.created_at, Archive.accepted_at, Archive.files, Archive.original_size, Archive.evidence
    )  # fmt: skip
    found: dict[uuid.UUID, Good] = {}
    for first, limit in (
        (newest_first, _NEWEST),
        (Archive.files.desc(), _LARGEST),
        (Archive.original_size.desc(), _LARGEST),
    ):
        rows = await tx.session.execute(select(*columns).where(mine, recent).order_by(first).limit(limit))
        found.update({row[0]: Good(*row[1:]) for row in rows.all()})
    return sorted(found.values(), key=lambda one: one.created_at, reverse=True)
