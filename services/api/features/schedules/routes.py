"""`/api/schedules`, `/api/pauses`, `/api/missed-runs`, `/api/tonight` and `/api/compliance`."""

from __future__ import annotations

import csv
import io
import uuid
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlalchemy import select

from services.api.features.schedules.forecast import MOST_RUNS, forecast_runs
from services.api.features.schedules.schemas import (
    ComplianceOut,
    ExpectedRun,
    MissedRunOut,
    PauseIn,
    PauseOut,
    PreviewOut,
)
from services.api.kernel.dependencies import Asking, Bounds, ManyBounds, PageBounds, Parts
from services.api.kernel.etag import IfMatch, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.pages import INCOMPLETE, MOST, by_text, newest_first, require, told
from services.api.kernel.schedules import ScheduleIn
from services.api.kernel.scheduling import next_runs
from services.api.kernel.schemas import Out, Page
from services.api.kernel.scope import require_permission
from services.api.kernel.versions import require_seen
from shared.db.clock import read_now
from shared.db.queries.proofs import backup_jobs_proven
from shared.db.queries.retention import last_good
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.schedule import MissedRun, Pause, Schedule
from shared.db.tables.server import Server
from shared.domain.names import Name
from shared.domain.permissions import Permission
from shared.domain.rpo import breaks_at, state_of, target_seconds
from shared.domain.schedule import in_words

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["schedules"], route_class=GuardedRoute)
OfServer = Annotated[Name | None, Query(description="On this server alone.")]


@router.post("/api/schedules/preview", dependencies=[Allow(Permission.SCHEDULES_READ)])
async def preview(body: ScheduleIn) -> PreviewOut:
    """Say a schedule in words, with its next five runs, without saving it."""
    return PreviewOut(words=in_words(body.when), next_runs=next_runs(body.when, timedelta(0)))


@router.get("/api/pauses", dependencies=[Allow(Permission.SCHEDULES_READ)])
async def list_pauses(parts: Parts, response: Response) -> list[PauseOut]:
    """List what is paused, the first 1,000; the header `Borgfleet-Incomplete` says that there is more."""
    async with parts.db.read() as session:
        rows = (await session.scalars(select(Pause).order_by(Pause.server).limit(MOST + 1))).all()
    return [PauseOut.model_validate(row) for row in told(response, rows, MOST)]


@router.put("/api/pauses", dependencies=[Allow(Permission.SCHEDULES_WRITE)])
async def pause(
    body: PauseIn, parts: Parts, asking: Asking, if_match: IfMatch, response: Response, server: OfServer = None
) -> PauseOut:
    """Let nothing scheduled run, on one server or anywhere; what runs goes on, and what is asked for is done."""
    if server is None:
        require_permission(asking, Permission.SCHEDULES_WRITE)

    async def put(tx: UnitOfWork) -> Pause:
        server_id = None
        if server is not None:
            server_id = require(await tx.session.scalar(select(Server.id).where(Server.name == server)), "server")
        row = await tx.session.scalar(select(Pause).where(Pause.server == (server or "")).with_for_update())
        await require_seen(tx.session, row, if_match, "")
        if row is None:
            row = Pause(server=server or "")
            tx.session.add(row)
        row.server_id, row.until, row.reason, row.who = server_id, body.until, body.reason, asking.name
        await tx.session.flush()
        await tx.session.refresh(row)
        return row

    return tagged(response, PauseOut.model_validate(await parts.db.run(put)))


@router.delete("/api/pauses", dependencies=[Allow(Permission.SCHEDULES_WRITE)], status_code=204)
async def resume(parts: Parts, asking: Asking, if_match: IfMatch, server: OfServer = None) -> None:
    """Take a pause back; what came due meanwhile is not made up for."""
    if server is None:
        require_permission(asking, Permission.SCHEDULES_WRITE)

    async def end(tx: UnitOfWork) -> None:
        row = await tx.session.scalar(select(Pause).where(Pause.server == (server or "")).with_for_update())
        await require_seen(tx.session, row, if_match, "")
        if row is not None:
            await tx.session.delete(row)

    await parts.db.run(end)


@router.get("/api/missed-runs", dependencies=[Allow(Permission.SCHEDULES_READ)])
async def list_missed(
    parts: Parts, bounds: PageBounds, backup_job_id: Annotated[uuid.UUID | None, Query()] = None
) -> Page[MissedRunOut]:
    """List the runs that were due and were not made, newest first."""
    query = select(MissedRun)
    if backup_job_id is not None:
        query = query.where(MissedRun.backup_job_id == backup_job_id)
    async with parts.db.read() as session:
        cut = await newest_first(session, query, (MissedRun.due_at, MissedRun.id), bounds)
    return cut.page([MissedRunOut.model_validate(row[0]) for row in cut.rows])


@router.get("/api/forecast", dependencies=[Allow(Permission.SCHEDULES_READ)])
@router.get("/api/tonight", deprecated=True, dependencies=[Allow(Permission.SCHEDULES_READ)])
async def forecast(
    parts: Parts, response: Response, hours: Annotated[int, Query(ge=1, le=168)] = 24
) -> list[ExpectedRun]:
    """Forecast the fleet's runs of the next hours, how long they should take, and which collide; the first 500.

    The header `Borgfleet-Incomplete` says that there are more.
    """
    async with parts.db.read() as session:
        return list(told(response, await forecast_runs(session, timedelta(hours=hours)), MOST_RUNS))


@router.get(
    "/api/compliance",
    dependencies=[Allow(Permission.SCHEDULES_READ)],
    responses={200: {"content": {"text/csv": {}}}},
    response_model=list[ComplianceOut],
)
async def compliance(
    parts: Parts, response: Response, bounds: ManyBounds, csv_text: Annotated[bool, Query(alias="csv")] = False
) -> Any:
    """Say of each backup job whether its last good backup is as young as it has to be; as CSV with `csv=true`.

    By name, 2,000 at once. The header `Borgfleet-Incomplete` says that there are more, `Link` where.
    """
    async with parts.db.read() as session:
        rows, following = await _compliance(session, bounds)
    if following is not None:
        response.headers[INCOMPLETE] = f"only {bounds.limit}"
    if not csv_text:
        return rows
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(row.model_dump(mode="json") for row in rows)
    headers = {name: response.headers[name] for name in (INCOMPLETE, "Link") if name in response.headers}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


_COLUMNS = [name for name in ComplianceOut.model_fields if name not in Out.model_fields]


async def _compliance(session: AsyncSession, bounds: Bounds) -> tuple[list[ComplianceOut], str | None]:
    now = await read_now(session)
    query = select(BackupJob, Server.name).join(Server, Server.id == BackupJob.server_id)
    cut = await by_text(session, query, BackupJob.name, bounds)
    ids = [row[0].id for row in cut.rows]
    last, proven = await last_good(session, ids), await backup_jobs_proven(session, ids)
    periods: defaultdict[uuid.UUID, list[int]] = defaultdict(list)
    of_these = select(Schedule.backup_job_id, Schedule.period_seconds).where(Schedule.backup_job_id.in_(ids))
    for backup_job_id, period in await session.execute(of_these):
        if backup_job_id is not None:
            periods[backup_job_id].append(period)
    shown: list[ComplianceOut] = []
    for definition, server in cut.rows:
        target = target_seconds(definition.rpo_seconds, periods[definition.id])
        made_at = last.get(definition.id)
        state = state_of(target, made_at, definition.created_at, now) if definition.enabled else "off"
        shown.append(
            ComplianceOut(
                backup_job_id=definition.id, backup_job=definition.name, server=server, state=state,
                target_seconds=target, last_good_at=made_at,
                age_seconds=(now - made_at).total_seconds() if made_at else None,
                breaks_at=breaks_at(target, made_at, definition.created_at),
                restore_proven_at=proven[definition.id][0] if definition.id in proven else None,
            )
        )  # fmt: skip
    return shown, cut.next
