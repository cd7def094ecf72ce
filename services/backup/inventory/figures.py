"""How much a repository holds, as its row says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive, Repository

if TYPE_CHECKING:
    import uuid

    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.archive import RepositoryFigures


async def refresh_figures(tx: UnitOfWork, repository_id: uuid.UUID, figures: RepositoryFigures | None) -> Repository:
    """Keep a repository's sizes, and how many archives it has."""
    repository = await tx.session.get_one(Repository, repository_id)
    count = (
        select(func.count())
        .select_from(Archive)
        .where(Archive.repository_id == repository_id, Archive.missing.is_(False))
    )
    repository.archive_count = await tx.session.scalar(count) or 0
    if figures is not None:
        repository.original_size = figures.original_size
        repository.compressed_size = figures.compressed_size
        repository.deduplicated_size = figures.deduplicated_size
        repository.refreshed_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - a SQL expression is assignable
    return repository
