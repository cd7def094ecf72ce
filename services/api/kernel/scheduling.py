"""From what the API is given to a schedule's row, and back."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, or_, select

from services.api.kernel.schedules import MaintenanceScheduleIn, MaintenanceScheduleOut, ScheduleIn, ScheduleOut
from shared.db.tables.base import db_now
from shared.db.tables.schedule import Schedule
from shared.domain.job import JobType
from shared.domain.job_kinds import MAINTENANCE, task_of
from shared.domain.schedule import SPEC, in_words, jitter, longest_gap, maintenance_name, next_run, runs_after

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.schedule import Spec

_SHOWN = 5
_UNREADABLE = "this version of Borgfleet cannot read this schedule: give it anew"


@dataclass(frozen=True, slots=True)
class Owner:
    """What schedules belong to: a backup job, or a repository on a server."""

    backup_job_id: uuid.UUID | None = None
    repository_id: uuid.UUID | None = None
    name: str = ""
    """The backup job's; empty for a repository."""
    server: str = ""
    repository: str = ""

    def called(self, task: str) -> str:
        """Return what the jitter of a schedule comes from."""
        return self.name or maintenance_name(self.server, self.repository, task)

    @property
    def rows(self) -> ColumnElement[bool]:
        """Select its schedules."""
        if self.backup_job_id is not None:
            return Schedule.backup_job_id == self.backup_job_id
        return Schedule.repository_id == self.repository_id


def next_runs(spec: Spec, offset: timedelta) -> list[datetime]:
    """Return the next five runs, in the schedule's zone."""
    zone = ZoneInfo(spec.zone)
    runs = runs_after(spec, datetime.now(UTC) - offset)
    return [(run + offset).astimezone(zone) for run in islice(runs, _SHOWN)]


async def replace_schedules(tx: UnitOfWork, owner: Owner, wanted: Sequence[ScheduleIn]) -> None:
    """Give a backup job or repository these schedules instead of its own; one that stays keeps its next time."""
    kept = {_text(to_schema(row, owner)): row for row in await tx.session.scalars(select(Schedule).where(owner.rows))}
    new = {_text(one): one for one in wanted}
    for text, row in kept.items():
        if text not in new:
            await tx.session.delete(row)  # row by row: they are a part of their owner's version
    now = await tx.session.scalar(select(db_now())) or datetime.now(UTC)
    tx.session.add_all(_row(owner, one, now) for text, one in new.items() if text not in kept)
    await tx.session.flush()


def to_schema(row: Schedule, owner: Owner) -> ScheduleOut | MaintenanceScheduleOut:
    """Return a schedule for people; one that this version cannot read is shown too, without times."""
    values: dict[str, Any] = {
        "id": row.id, "when": row.spec, "jitter_seconds": row.jitter_seconds, "catch_up": row.catch_up,
        "overlap": row.overlap, "window": row.window, "blackout": row.blackout, "stop_at_end": row.stop_at_end,
        "words": _UNREADABLE, "next_run_at": None, "next_runs": [],
    }  # fmt: skip
    with contextlib.suppress(ValueError, TypeError, LookupError, ArithmeticError):
        spec = SPEC.validate_python(row.spec)
        runs = next_runs(spec, jitter(owner.called(row.task), row.jitter_seconds))
        values |= {"words": in_words(spec), "next_run_at": row.next_run_at, "next_runs": runs}
    if row.backup_job_id is not None:
        out = ScheduleOut.model_validate(values)
    else:
        task, options = task_of(row.task), row.params or None
        tested = row.task == JobType.RESTORE_TEST.value
        maintenance = {
            "task": task, "check": None if tested else options, "restore_test": options if tested else None,
        }  # fmt: skip
        out = MaintenanceScheduleOut.model_validate(values | maintenance)
    if out.unreadable:  # of its hours: the scheduler sets it aside, and the row says when it tries again
        return out.model_copy(update={"next_run_at": None, "next_runs": []})
    return out


async def schedules_of(session: AsyncSession, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[Schedule]]:
    """Return the schedules of backup jobs, or of repositories."""
    found: dict[uuid.UUID, list[Schedule]] = {owner: [] for owner in ids}
    theirs = or_(Schedule.backup_job_id.in_(ids), Schedule.repository_id.in_(ids))
    for row in await session.scalars(select(Schedule).where(theirs).order_by(Schedule.created_at, Schedule.id)):
        if owner := row.backup_job_id or row.repository_id:
            found[owner].append(row)
    return found


_GIVEN = set(MaintenanceScheduleIn.model_fields)


def _text(one: ScheduleIn | ScheduleOut) -> str:
    """Return what tells one schedule from another; one that cannot be read is like none that is given."""
    if isinstance(one, ScheduleOut) and one.unreadable:
        return str(one.id)
    return one.model_dump_json(include=_GIVEN)


def _row(owner: Owner, one: ScheduleIn, now: datetime) -> Schedule:
    task, params = JobType.BACKUP_CREATE.value, None
    if isinstance(one, MaintenanceScheduleIn):
        task, params = MAINTENANCE[one.task].type.value, one.params
    offset = jitter(owner.called(task), one.jitter_seconds)
    due_at = next_run(one.when, now - offset) + offset
    return Schedule(
        backup_job_id=owner.backup_job_id,
        repository_id=owner.repository_id,
        task=task,
        params=params,
        spec=one.when.model_dump(mode="json"),
        jitter_seconds=one.jitter_seconds,
        catch_up=one.catch_up,
        overlap=one.overlap,
        window=one.window.model_dump(mode="json") if one.window else None,
        blackout=one.blackout.model_dump(mode="json") if one.blackout else None,
        stop_at_end=one.stop_at_end,
        period_seconds=int(longest_gap(one.when, now).total_seconds()),
        due_at=due_at,
        next_run_at=due_at,
    )
