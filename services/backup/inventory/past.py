"""A database that was restored from a backup: what happened since is read from the node's own journal.

Without it our own deletions look like an attack, and a recovery would bring back what was pruned.
"""

from __future__ import annotations

import contextlib
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from services.backup.inventory.figures import refresh_figures
from services.backup.truth.measures import keep_measures
from shared.borg.journal import Entry, Standing
from shared.db.clock import read_now
from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive, Repository
from shared.errors import AppError, LeaseLost
from shared.runtime.context import Abort

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from services.backup.ports import RepositoryPlace, Storage
    from shared.borg.journal import Made, Past
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context

DATABASE_OLDER = "database_older"
_LATELY = timedelta(days=1)


async def catch_up(ctx: Context, storage: Storage, place: RepositoryPlace) -> bool:
    """Bring a repository's records up to what the node's journal says; tell whether the journal says all.

    The journal is written after the row: it is ahead of the row only where the database was restored, or lost what it
    had committed. All is done in one transaction, and before anything is held against the records.
    """
    past = await storage.past(place)
    known, told = await ctx.run(lambda tx: _catch_up(tx, ctx, place, past))
    if told:
        ctx.warn(DATABASE_OLDER, told)
    return known


@contextlib.asynccontextmanager
async def journaled(ctx: Context, storage: Storage, place: RepositoryPlace) -> AsyncGenerator[None]:
    """Keep how a repository stands when work on it ends, however it ends."""
    try:
        yield
    finally:
        if ctx.abort is not Abort.LEASE_LOST:  # then it is another's
            await remember_standing(ctx, storage, place)


async def remember_standing(ctx: Context, storage: Storage, place: RepositoryPlace) -> None:
    """Keep how a repository stands; that it cannot be kept ends no run: the row is newer, and is believed."""

    async def read(tx: UnitOfWork) -> Standing:
        await ctx.fence(tx)
        row = await tx.session.get_one(Repository, place.id, with_for_update=True)
        row.journal_number += 1
        return Standing(
            number=row.journal_number,
            transaction=row.proven_transaction,
            session=row.session,
            compacted=row.compacted_segment,
            verified=row.verified_segment,
            rewritten_after=row.rewritten_after,
            frozen_for=row.frozen_for,
            segments_damage=row.segments_damage,
            archives_damage=row.archives_damage,
        )

    try:
        await storage.remember(place, Entry(standing=await ctx.run(read)))
    except LeaseLost:
        raise
    except AppError as error:
        ctx.log("warning", "kernel", f"the node's journal of {place.label} is behind: {error.message}")


async def record_deletions(ctx: Context, storage: Storage, place: RepositoryPlace, there: frozenset[str]) -> None:
    """Keep, of what we meant to delete, what is gone and what is there still: if that goes, it was another's hand."""
    try:
        past = await storage.past(place)
        gone = past.deleting.keys() - there
        kept = (past.deleting.keys() | past.gone.keys()) & there
        if gone or kept:
            await storage.remember(place, Entry(gone=tuple(sorted(gone)), kept=tuple(sorted(kept))))
    except LeaseLost:
        raise
    except AppError as error:
        ctx.log("warning", "kernel", f"the node's journal of {place.label} is behind: {error.message}")


async def restored_lately(tx: UnitOfWork, repository: Repository) -> bool:
    """Tell whether the database was found restored within a day: holds set since that backup have to be set again."""
    at = repository.restored_at
    return at is not None and repository.restored_pending and await read_now(tx.session) - at < _LATELY


async def _catch_up(tx: UnitOfWork, ctx: Context, place: RepositoryPlace, past: Past) -> tuple[bool, str]:
    repository = await tx.session.get_one(Repository, place.id, with_for_update=True)
    standing = past.standing
    if standing is None or standing.number <= repository.journal_number:
        return standing is not None and standing.number == repository.journal_number, ""
    await ctx.fence(tx)
    was_frozen = bool(repository.frozen_reason)
    _put(repository, standing)
    rows = list(await tx.session.scalars(select(Archive).where(Archive.repository_id == place.id)))
    on_record = {row.borg_id for row in rows}
    gone = [row for row in rows if row.borg_id in past.gone]
    for row in rows:
        row.deleting = row.deleting or row.borg_id in past.deleting
    await tx.session.flush()
    await keep_measures(tx, [row.id for row in gone])
    if gone:
        await tx.session.execute(delete(Archive).where(Archive.id.in_([row.id for row in gone])))
    made = [one for borg_id, one in past.archives() if borg_id not in on_record]
    tx.session.add_all(_row(place, standing, one, deleting=one.figures.borg_id in past.deleting) for one in made)
    if repository.frozen_for and not was_frozen:
        repository.frozen_at = await tx.session.scalar(select(db_now()))
    repository.restored_at = await tx.session.scalar(select(db_now()))
    repository.restored_accepted_at = None  # what was accepted was another restore
    await tx.session.flush()
    await refresh_figures(tx, place.id, None)
    return True, _told(place, len(gone), len(made))


def _put(repository: Repository, standing: Standing) -> None:
    repository.journal_number = standing.number
    repository.proven_transaction, repository.session = standing.transaction, standing.session
    repository.compacted_segment, repository.verified_segment = standing.compacted, standing.verified
    repository.rewritten_after = standing.rewritten_after
    repository.segments_damage, repository.archives_damage = standing.segments_damage, standing.archives_damage
    repository.frozen_for = standing.frozen_for
    repository.frozen_reason = "; then ".join(one["reason"] for one in standing.frozen_for)
    repository.frozen_at = repository.frozen_at if standing.frozen_for else None
    repository.verified_complete_at = repository.verified_complete_segment = None  # a compaction may have come since
    repository.session_job = repository.session_began = None


def _row(place: RepositoryPlace, standing: Standing, made: Made, *, deleting: bool) -> Archive:
    """Return the record of an archive as it was; where its run ended is not known: it is proven with the last one."""
    return Archive(
        repository_id=place.id,
        server_id=place.server_id,
        job_id=uuid.UUID(made.job_id) if made.job_id else None,
        backup_job_id=uuid.UUID(made.backup_job_id) if made.backup_job_id else None,
        state=made.state,
        trusted=made.trusted,
        reasons=made.told,
        evidence=made.evidence,
        created_at=made.created_at,
        segment=standing.transaction,
        deleting=deleting,
        **made.figures.model_dump(),
    )


def _told(place: RepositoryPlace, gone: int, made: int) -> str:
    return (
        f"the database is older than the repository {place.label}: it was restored from a backup, or lost what it "
        f"had written. By the node's own journal {gone} archives that Borgfleet deleted since were taken off the "
        f"record, and {made} that it made since put on it. Holds, accepted backups and settings of that time are not "
        "known: set them again, then `borgfleet repo accept-restored`; see docs/operations/running.md"
    )
