"""What the stats service reads of the servers, and what it leaves: samples, mounts, and whether they answer."""

from __future__ import annotations

import uuid
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, or_, select

from services.stats.ports import Subject, Sweep
from shared.db.stores.secrets import FLEET_KEY
from shared.db.tables.base import db_now, or_ignore
from shared.db.tables.server import Server
from shared.db.tables.stats import ServerMount, ServerStats, ServerStatus
from shared.domain.messages import stored
from shared.errors import Permanent
from shared.events.server import ServerUnreachable
from shared.events.stats import ServerReachable
from shared.ssh.port import Credentials, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.stats.ports import ProbeResult
    from shared.config.settings import StatsSettings
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.stats import Sample
    from shared.runtime.context import Context

BUCKET = 300
_RATES = {
    "network_received_bytes": "network_received_rate",
    "network_sent_bytes": "network_sent_rate",
    "disk_read_bytes": "disk_read_rate",
    "disk_written_bytes": "disk_written_rate",
}
_BACKOFF_CAP = 3600.0
_UNASKED = 600.0
_CLOCKS_AGREE = timedelta(seconds=2)
_INSERT_SAMPLES = or_ignore(insert(ServerStats))
_INSERT_MOUNTS = or_ignore(insert(ServerMount))


async def load_sweep(tx: UnitOfWork, job: Job) -> Sweep:
    """Return the job's servers whose host key is pinned, the living first.

    Left out: those this job looked at before its worker died; in a sweep of all, also dead ones not due yet.
    """
    wanted = _wanted(job)
    now = await tx.session.scalar(select(db_now()))
    query = select(Server, ServerStatus).outerjoin(ServerStatus, ServerStatus.server_id == Server.id)
    query = query.where(or_(ServerStatus.checked_at.is_(None), ServerStatus.checked_at < job.created_at))
    if wanted is not None:
        query = query.where(Server.id.in_(wanted))
    rows: list[tuple[Server, ServerStatus | None]] = [
        (server, status) for server, status in await tx.session.execute(query.order_by(Server.name))
    ]
    if wanted is not None and len(wanted) == 1 and rows and rows[0][0].host_key is None:
        message = f"{rows[0][0].name} has no approved host key yet"
        raise Permanent(message, code="host_key_unknown", remedy="set the server up first")
    found = [(server, status) for server, status in rows if server.host_key is not None]
    due = [pair for pair in found if wanted is not None or _is_due(pair[1], now)]
    due.sort(key=lambda pair: pair[1] is not None and not pair[1].up)
    credentials = Credentials(private_key=await tx.secrets.get(FLEET_KEY))
    return Sweep(tuple(_subject(*pair) for pair in due), credentials, len(found) - len(due))


async def count_results(tx: UnitOfWork, job: Job) -> dict[str, int]:
    """Count what came of a job's servers since it was asked for, by whichever worker."""
    wanted = _wanted(job)
    query = select(ServerStatus.up, func.count()).where(ServerStatus.checked_at >= job.created_at)
    query = query if wanted is None else query.where(ServerStatus.server_id.in_(wanted))
    found = {row[0]: row[1] for row in await tx.session.execute(query.group_by(ServerStatus.up))}
    return {"collected": found.get(True, 0), "unreachable": found.get(False, 0)}


async def record_results(tx: UnitOfWork, ctx: Context, results: Sequence[ProbeResult], settings: StatsSettings) -> None:
    """Store a batch of results; say on the bus who went and who came back. LeaseLost if another has the sweep now."""
    await ctx.fence(tx)
    off = await _clock_off(tx)
    results = [_by_the_databases_clock(result, off) for result in results]
    samples: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    ids = [result.subject.server_id for result in results]
    there = set(await tx.session.scalars(select(Server.id).where(Server.id.in_(ids))))
    for result in results:
        if result.subject.server_id not in there:
            continue  # deleted meanwhile
        row = None
        if result.sample is not None:
            row, of_mounts = _rows(result.subject, result.sample)
            samples.append(row)
            mounts += of_mounts
        await _record_status(tx, ctx, result, row, settings)
    if samples:
        await tx.session.execute(_INSERT_SAMPLES, samples)
    if mounts:
        await tx.session.execute(_INSERT_MOUNTS, mounts)


async def _clock_off(tx: UnitOfWork) -> timedelta:
    """Return by how much our clock is off the database's; a moment is what asking takes."""
    now = await tx.session.scalar(select(db_now()))
    off = datetime.now(UTC) - now if now else timedelta(0)
    return off if abs(off) > _CLOCKS_AGREE else timedelta(0)


def _by_the_databases_clock(result: ProbeResult, off: timedelta) -> ProbeResult:
    """Return a result as it would be if our own clock were right: a wrong one spoils no history."""
    sample = result.sample
    if sample is None or not off:
        return result
    offset = sample.clock_offset_seconds
    right = replace(
        sample,
        collected_at=sample.collected_at - off,
        boot_time=sample.boot_time - off if sample.boot_time else None,
        clock_offset_seconds=None if offset is None else round(offset + off.total_seconds(), 3),
    )
    return replace(result, sample=right)


def _wanted(job: Job) -> list[uuid.UUID] | None:
    if job.server_id is not None:
        return [job.server_id]
    named: list[str] | None = job.params.get("servers")
    return None if named is None else [uuid.UUID(one) for one in named]


def _is_due(status: ServerStatus | None, now: datetime | None) -> bool:
    return status is None or status.retry_at is None or now is None or status.retry_at <= now


def _subject(server: Server, status: ServerStatus | None) -> Subject:
    target = Target(server.name, server.host, server.port, server.username, server.host_key or "")
    if status is None:
        return Subject(server.id, target)
    return Subject(server.id, target, status.up, status.failures, status.sample)


async def _record_status(
    tx: UnitOfWork, ctx: Context, result: ProbeResult, row: dict[str, Any] | None, settings: StatsSettings
) -> None:
    subject, error = result.subject, result.error
    failures = subject.failures + 1 if error else 0
    up = error is None
    values: dict[str, Any] = {
        "up": up,
        "code": error.code if error else "",
        "reason": error.message if error else "",
        "message": stored(error.said) if error else None,
        "checked_at": db_now(),
        "failures": failures,
        "retry_at": db_now(_retry_in(failures, settings.every or _UNASKED)) if error else None,
    }
    if row is not None and result.sample is not None:
        values["sample"] = _shown(row, result.sample)
        server = await tx.session.get_one(Server, subject.server_id)
        server.last_seen_at = result.sample.collected_at
    if up is not subject.up:
        values["changed_at"] = db_now()
        _announce(tx, ctx, result)
    status = await tx.session.get(ServerStatus, subject.server_id)
    if status is None:
        tx.session.add(ServerStatus(server_id=subject.server_id, **values))
        return
    for name, value in values.items():
        setattr(status, name, value)


def _retry_in(failures: int, every: float) -> float:
    """Return how long a dead server is left alone: nearly one sweep at first, then twice as long each time."""
    return min(_BACKOFF_CAP, every * 0.9 * 2.0 ** min(failures - 1, 10))


def _announce(tx: UnitOfWork, ctx: Context, result: ProbeResult) -> None:
    if ctx.job is None or (result.error is None and result.subject.up is None):
        return  # the first look at a living server is no news
    ids: dict[str, Any] = {
        "job_id": ctx.job.id,
        "correlation_id": ctx.correlation_id,
        "server_id": result.subject.server_id,
    }
    if result.error is None:
        tx.emit(ServerReachable(**ids))
    else:
        tx.emit(ServerUnreachable(code=result.error.code, reason=result.error.message, **ids))


def _rows(subject: Subject, sample: Sample) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    key = {"server_id": subject.server_id, "collected_at": sample.collected_at}
    mounts = [asdict(mount) | key | {"position": number} for number, mount in enumerate(sample.mounts)]
    row: dict[str, Any] = asdict(sample) | key
    del row["mounts"]
    row["bucket"] = int(sample.collected_at.timestamp()) // BUCKET * BUCKET
    return row | _rates(subject.previous, sample), mounts


def _rates(previous: dict[str, Any] | None, sample: Sample) -> dict[str, float | None]:
    """Return bytes a second since the sample before; unknown after a reboot, when counters began anew."""
    unknown: dict[str, float | None] = dict.fromkeys(_RATES.values())
    if previous is None or not previous.get("collected_at"):
        return unknown
    elapsed = (sample.collected_at - datetime.fromisoformat(previous["collected_at"])) / timedelta(seconds=1)
    rebooted = sample.uptime_seconds is None or sample.uptime_seconds < elapsed
    if elapsed <= 0 or rebooted:
        return unknown
    rates = unknown
    for counter, rate in _RATES.items():
        before, now = previous.get(counter), getattr(sample, counter)
        if before is not None and now is not None and now >= before:
            rates[rate] = round((now - before) / elapsed, 1)
    return rates


def _shown(row: dict[str, Any], sample: Sample) -> dict[str, Any]:
    """Return a sample as the API shows it: plain JSON, mounts included."""
    hidden = ("server_id", "bucket")
    shown = {name: value for name, value in row.items() if name not in hidden}
    for name in ("collected_at", "boot_time"):
        shown[name] = shown[name].isoformat() if shown[name] else None
    return shown | {"mounts": [asdict(mount) for mount in sample.mounts]}
