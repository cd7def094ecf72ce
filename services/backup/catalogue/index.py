"""Brings a repository's catalogue up to date: what was deleted goes, what is missing is read from a view and merged.

No backup waits for it. It may be broken off anywhere: each archive is merged as a whole, and the next job goes on.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from services.backup.catalogue.child import drop_in_child, merge_in_child
from services.backup.catalogue.store import file_of, indexed, put_in_place, remove
from services.backup.node.apart import apart
from services.backup.node.views import through_view
from services.backup.plan import load_repository
from shared.db.tables.storage import Archive, Repository
from shared.domain.job import JobState
from shared.domain.messages.files import CATALOGUE_MISMATCH, CATALOGUE_UNWRITABLE, REPOSITORY_FORGOTTEN
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import ColumnElement

    from services.backup.node.views import View
    from services.backup.ports import RepositoryPlace, Storage
    from shared.borg.node import OnAnswer
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.message import Said
    from shared.runtime.context import Context

_A_VIEW = 20
"""Archives read from one view: compaction frees nothing of what a view links."""
_DISK_SECONDS = 60.0
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ToIndex:
    """An archive on record."""

    borg_id: str
    name: str
    chain: bytes
    """Its backup job, or its repository where none made it: what it shares with the one before costs nothing."""
    started_at: int
    files: int
    by_id: bool = False
    """Plain borg made it: its name may be any, and its figures are what its author says."""


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """A repository and what its catalogue has to hold, the oldest archive first."""

    repository: RepositoryPlace
    archives: tuple[ToIndex, ...]
    rebuild: bool


@dataclass(slots=True)
class Indexed:
    """What was done."""

    merged: int = 0
    entries: int = 0
    removed: int = 0
    warnings: list[Said] = field(default_factory=list["Said"])


def readable() -> ColumnElement[bool]:
    """Say which archives a catalogue holds: those on record that are not known to be gone."""
    return and_(Archive.borg_id.is_not(None), Archive.missing.is_(False), Archive.deleting.is_(False))


async def place_to_index(tx: UnitOfWork, job: Job) -> RepositoryPlace:
    """Return where the repository lies."""
    if await tx.session.get(Repository, job.repository_id) is None or job.repository_id is None:
        raise Permanent(REPOSITORY_FORGOTTEN())
    return replace(await load_repository(tx, job.repository_id), to_server=False)


async def load_index(tx: UnitOfWork, job: Job, place: RepositoryPlace) -> IndexPlan:
    """Read which archives there are."""
    query = select(Archive).where(Archive.repository_id == place.id, readable())
    rows = await tx.session.scalars(query.order_by(Archive.started_at, Archive.id))
    return IndexPlan(place, tuple(map(_to_index, rows)), rebuild=bool(job.params.get("rebuild")))


async def run_index(plan: IndexPlan, _grant: object, ctx: Context, storage: Storage, *, directory: Path) -> Indexed:
    """Compare, drop, merge; a rebuild is made beside the catalogue that is read, and takes its place at the end."""
    file = file_of(directory, plan.repository.id)
    lease = f"catalogue:{plan.repository.id.hex}"
    await ctx.hold(lease, plan.repository.label, on_beat=_nothing)
    try:
        if not plan.rebuild:
            return await _up_to_date(plan, file, ctx, storage)
        beside = file.with_suffix(".new")
        await _disk(lambda: remove(beside))
        done = await _up_to_date(plan, beside, ctx, storage)
        await _disk(lambda: put_in_place(beside, file))
        return done
    finally:
        await ctx.let_go(lease)


async def record_index(tx: UnitOfWork, ctx: Context, _plan: IndexPlan, done: Indexed) -> None:
    """End the job."""
    state = JobState.WARNING if done.warnings else JobState.SUCCEEDED
    result = {"archives": done.merged, "entries": done.entries, "removed": done.removed}
    await ctx.finish(tx, state, warnings=done.warnings, result=result)


async def _up_to_date(plan: IndexPlan, file: Path, ctx: Context, storage: Storage) -> Indexed:
    done = Indexed()
    held = await _disk(lambda: indexed(file))
    recorded = {archive.borg_id for archive in plan.archives}
    if gone := sorted(held - recorded):
        ctx.progress("removing what was deleted")
        await drop_in_child(file, gone)
        done.removed = len(gone)
    waiting = [archive for archive in plan.archives if archive.borg_id not in held]
    for start in range(0, len(waiting), _A_VIEW):
        ctx.progress("making the view")

        async def work(view: View, start: int = start) -> None:
            for archive in waiting[start : start + _A_VIEW]:
                number = done.merged + len(done.warnings) + 1
                words = f"reading archive {number} of {len(waiting)}"
                ctx.progress(words, step=number, steps=len(waiting), current_path=archive.name)
                await _merge(archive, file, view, done, storage)

        await through_view(ctx, storage, plan.repository, work)
    return done


async def _merge(archive: ToIndex, file: Path, view: View, done: Indexed, storage: Storage) -> None:
    async def feed(write: OnAnswer) -> None:
        meant = archive.borg_id if archive.by_id else ""
        await storage.entries(view.place, view.grant, archive.name, write, borg_id=meant)

    asked: dict[str, Any] = {
        "borg_id": archive.borg_id, "chain": archive.chain.hex(), "started_at": archive.started_at,
        "files": None if archive.by_id else archive.files,
    }  # fmt: skip
    try:
        answer = await merge_in_child(file, asked, feed)
    except Permanent as error:
        if error.code != "archive_missing":
            raise
        return  # deleted since the plan was made: whoever did that asks for the next job
    if "code" in answer:
        told = CATALOGUE_MISMATCH(archive=archive.name, listed=answer["files"], recorded=archive.files)
        done.warnings.append(told)
    else:
        done.merged, done.entries = done.merged + 1, done.entries + answer["entries"]


def _to_index(row: Archive) -> ToIndex:
    chain = row.backup_job_id or row.repository_id
    at = (row.started_at - _EPOCH) // _MICROSECOND
    return ToIndex(row.borg_id or "", row.name, chain.bytes, at, row.files, row.imported)


async def _disk(work: Callable[[], Any]) -> Any:
    """Work on the state directory's disk, which may hang or be full."""
    try:
        return await apart(work, _DISK_SECONDS, "catalogue")
    except (OSError, sqlite3.DatabaseError) as error:
        raise Permanent(CATALOGUE_UNWRITABLE(reason=str(error) or "the disk gave no answer")) from error


def _nothing(_epoch: int) -> None:
    """Renew nothing outside: only the child works under this lease, and it ends with this process's pipe."""
