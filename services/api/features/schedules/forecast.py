"""The fleet's runs of the next hours, as the scheduler would make them: foreseen, not made."""

from __future__ import annotations

import statistics
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select

from services.api.features.schedules.schemas import ExpectedRun
from shared.db.clock import read_now
from shared.db.queries.retention import latest_good
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.base import db_now
from shared.db.tables.job import Job
from shared.db.tables.schedule import Pause, Schedule
from shared.db.tables.server import Server
from shared.db.tables.storage import Archive, Repository
from shared.domain.hours import Hours, may_begin
from shared.domain.job import JobType
from shared.domain.job_kinds import MAINTENANCE_TYPES
from shared.domain.schedule import SPEC, jitter, maintenance_name, runs_after

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

_log = structlog.get_logger()
_DONE = ("succeeded", "warning")
_LAST_GOOD = latest_good((Archive.duration,), 10)
_LOOKED_BACK = 14 * 86_400.0
MOST_RUNS = 500
"""What one answer foresees at most."""
_FOR_EVER = datetime.max.replace(tzinfo=UTC)


async def forecast_runs(session: AsyncSession, span: timedelta) -> list[ExpectedRun]:
    """Return the runs of the time to come by their beginning: 500, and one more if there are more."""
    rows, paused = await _enabled(session), await _paused(session)
    typical = await _typical_seconds(session, list({row[0].backup_job_id for row in rows if row[0].backup_job_id}))
    now = await read_now(session)
    runs = [
        ExpectedRun(
            task=schedule.task, name=name, backup_job_id=schedule.backup_job_id, server=server, repository=repository,
            starts_at=starts_at, expected_seconds=typical.get((schedule.task, key)), collides_with=[],
        )
        for schedule, name, key, server, repository in rows
        for starts_at in _foreseen(schedule, name, max(now, paused.get("", now), paused.get(server, now)), now + span)
    ]  # fmt: skip
    runs = sorted(runs, key=lambda run: (run.starts_at, run.name))[: MOST_RUNS + 1]
    _mark_collisions(runs)
    return runs


async def _enabled(session: AsyncSession) -> list[tuple[Schedule, str, uuid.UUID, str, str]]:
    """Return each schedule that makes runs, what these are called, whose they are, their server and repository."""
    backups = (
        select(Schedule, BackupJob.name, BackupJob.id, Server.name, Repository.name)
        .join(BackupJob, BackupJob.id == Schedule.backup_job_id)
        .join(Server, Server.id == BackupJob.server_id)
        .join(Repository, Repository.id == BackupJob.repository_id)
        .where(BackupJob.enabled.is_(True))
    )
    maintenance = (
        select(Schedule, Repository.id, Server.name, Repository.name)
        .join(Repository, Repository.id == Schedule.repository_id)
        .join(Server, Server.id == Repository.server_id)
    )
    rows = [(row[0], row[1], row[2], row[3], row[4]) for row in await session.execute(backups)]
    for schedule, key, server, repository in await session.execute(maintenance):
        rows.append((schedule, maintenance_name(server, repository, schedule.task), key, server, repository))
    return rows


def _foreseen(schedule: Schedule, name: str, since: datetime, end: datetime) -> list[datetime]:
    """Return when a schedule's runs begin; of one that makes no sense none do: the scheduler sets it aside."""
    try:
        return list(_begins(schedule, name, since, end))
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        _log.error("schedule_unreadable", name=name, reason=str(error)[:500])
        return []


def _begins(schedule: Schedule, name: str, since: datetime, end: datetime) -> Iterator[datetime]:
    """Yield when a schedule's runs begin: outside its hours one waits, and is missed if the next one is due by then."""
    if since >= end:
        return
    window = Hours.of(schedule.window) if schedule.window else None
    blackout = Hours.of(schedule.blackout) if schedule.blackout else None
    offset = jitter(name, schedule.jitter_seconds)
    later = (
        run + offset for run in runs_after(SPEC.validate_python(schedule.spec), max(since, schedule.due_at) - offset)
    )
    waits = [schedule.next_run_at] if schedule.next_run_at >= since else []
    for due, following in pairwise(chain(waits, later)):
        begins = may_begin(due, window, blackout)
        if due >= end:
            return
        if begins < min(following, end):
            yield begins


async def _paused(session: AsyncSession) -> Mapping[str, datetime]:
    """Return until when nothing scheduled runs: on a server by its name, and by an empty name anywhere."""
    return {row.server: row.until or _FOR_EVER for row in await session.scalars(select(Pause))}


async def _typical_seconds(
    session: AsyncSession, backup_jobs: Sequence[uuid.UUID]
) -> dict[tuple[str, uuid.UUID | None], float]:
    """Return the median duration of the last good runs, by type, and backup job or repository."""
    seen: defaultdict[tuple[str, uuid.UUID | None], list[float]] = defaultdict(list)
    for backup_job_id, archives in (await _LAST_GOOD.of(session, backup_jobs)).items():
        seen[JobType.BACKUP_CREATE.value, backup_job_id] = [archive.duration for archive in archives]
    maintenance = select(Job.type, Job.repository_id, Job.started_at, Job.finished_at).where(
        Job.type.in_(MAINTENANCE_TYPES), Job.state.in_(_DONE), Job.created_at > db_now(-_LOOKED_BACK)
    )
    for kind, repository_id, started_at, finished_at in await session.execute(maintenance):
        if started_at is not None and finished_at is not None:
            seen[kind, repository_id].append((finished_at - started_at).total_seconds())
    return {key: statistics.median(durations) for key, durations in seen.items()}


def _mark_collisions(runs: list[ExpectedRun]) -> None:
    """Name to each run those on its server or repository that are expected to be under way when it begins."""
    for number, run in enumerate(runs):
        ends_at = run.starts_at + timedelta(seconds=run.expected_seconds or 0)
        for other in runs[number + 1 :]:
            if other.starts_at > ends_at:
                break
            if other.server == run.server and other.name != run.name:
                run.collides_with.append(other.name)
                other.collides_with.append(run.name)
