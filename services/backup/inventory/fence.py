"""Judges what a server asked for in its sessions: what no honest client does fails the run and stops maintenance."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from services.backup.inventory.reconcile import HOSTILE, quarantine
from shared.borg.journal import Entry, Made
from shared.borg.sessions import Garbage
from shared.domain.backup_state import doubt
from shared.domain.job import JobState
from shared.domain.messages import frozen as say
from shared.domain.messages.counts import OBJECTS, number
from shared.domain.messages.run_reasons import FOUND_HOSTILE
from shared.errors import AppError, Incident, LeaseLost
from shared.runtime.context import Abort

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from services.backup.ports import RepositoryPlace, Storage
    from shared.borg.node import Grant
    from shared.borg.sessions import SessionReport
    from shared.domain.message import Said
    from shared.runtime.context import Context

__all__ = ["HOSTILE", "judged", "shut_out_at_last"]


@contextlib.asynccontextmanager
async def judged(ctx: Context, storage: Storage, place: RepositoryPlace, grant: Grant) -> AsyncGenerator[None]:
    """Judge the reports of this lease's sessions at its end, however it comes; and those that an earlier one left.

    A worker that was killed reads no report: whoever takes the repository next does, and tells of it.
    """
    before = await _left_behind(ctx, storage, place, grant)
    try:
        yield
    finally:
        if ctx.abort is not Abort.LEASE_LOST:  # then the repository is another's, and so are the reports
            await _judge(ctx, storage, place, grant, before)


@contextlib.asynccontextmanager
async def shut_out_at_last(storage: Storage, place: RepositoryPlace, grant: Grant) -> AsyncGenerator[None]:
    """Let no session of the server outlive the run, so that what is looked at afterwards stays as it is."""
    try:
        yield
    finally:
        await storage.shut_out(place, grant)


async def _left_behind(ctx: Context, storage: Storage, place: RepositoryPlace, grant: Grant) -> list[Said]:
    try:
        return await _hostile(ctx, storage, place, grant)
    except AppError as error:
        # It stays for the next lease: a repository that cannot be read must not keep its own recovery from running.
        ctx.log("warning", "kernel", f"a session's report is not judged yet: {error.message}", code=error.code)
        return []


async def _judge(ctx: Context, storage: Storage, place: RepositoryPlace, grant: Grant, before: list[Said]) -> None:
    hostile = [*before, *await _hostile(ctx, storage, place, grant)] if place.to_server else []
    if hostile:
        reason = say.all_of(hostile)
        await _doubt_made(ctx, storage, place, reason)
        raise Incident(say.HOSTILE_CLIENT(reason=reason))


async def _doubt_made(ctx: Context, storage: Storage, place: RepositoryPlace, reason: Said) -> None:
    """Let the node remember as doubtful what this run made: it was noted as good before its session was judged.

    The run fails, so that no row says so; a database that is restored would take the node's word.
    """
    job_id = ctx.job.id.hex if ctx.job is not None else None
    added = doubt(FOUND_HOSTILE(why=reason.text)).to_json()
    try:
        made = [one for _, one in (await storage.past(place)).archives() if one.job_id == job_id and one.trusted]
        untrusted = {"state": JobState.WARNING.value, "trusted": False}
        noted = (one.model_copy(update=untrusted | Made.reasons_of([*one.told, added])) for one in made)
        await storage.remember(place, *(Entry(made=one) for one in noted))
    except LeaseLost:
        raise
    except AppError as error:  # it is hostile all the same
        ctx.log("warning", "kernel", f"the node's journal of {place.label} is behind: {error.message}")


async def _hostile(ctx: Context, storage: Storage, place: RepositoryPlace, grant: Grant) -> list[Said]:
    """Return why the server is hostile, by what its sessions left; freeze the repository before a report is removed."""
    found: list[Said] = []
    for report in await storage.session_reports(place):
        reason = await _reason(ctx, storage, place, grant, report)
        if reason:
            await _freeze(ctx, place, reason)
            found.append(reason)
        await storage.forget_session(report)
    return found


async def _reason(
    ctx: Context, storage: Storage, place: RepositoryPlace, grant: Grant, report: SessionReport
) -> Said | None:
    """Say what no honest client does; None if all that was left out is what it should be.

    An honest client sends what is there already where its cache was lost and a former run was cut short.
    """
    label = place.label
    reasons = [say.SESSION_REFUSED(repository=label, summary=report.summary)] if report.refused else []
    if report.left_out:
        size = f"{len(report.left_out)} objects, {report.left_out_bytes} bytes"
        ctx.log("info", "borg", f"the server sent what was there already: {size}; what was there first stays")
        garbage = await _examined(ctx, storage, place, grant, report)
        if garbage.lying:
            reasons.append(say.OTHER_CONTENT_HELD(repository=label, objects=number(len(garbage.lying), OBJECTS)))
        if garbage.sent:
            reasons.append(say.OTHER_CONTENT_SENT(repository=label, objects=number(len(garbage.sent), OBJECTS)))
    if report.unkept:
        ctx.log("warning", "kernel", f"{report.unkept} objects sent again were too many to look at", code="unkept")
    return say.all_of(reasons) if reasons else None


async def _examined(
    ctx: Context, storage: Storage, place: RepositoryPlace, grant: Grant, report: SessionReport
) -> Garbage:
    """Return what of the objects is garbage; that this cannot be found out hides nothing that was refused."""
    try:
        return await storage.garbage(place, grant, report)
    except LeaseLost:
        raise
    except AppError as error:
        if not report.refused:
            raise
        ctx.log("warning", "kernel", f"what was left out is not examined: {error.message}", code=error.code)
        return Garbage()


async def _freeze(ctx: Context, place: RepositoryPlace, reason: Said) -> None:
    ctx.warn(HOSTILE, reason)
    job = ctx.job
    if job is not None:
        # Not fenced by the lease: whoever learns of an attack keeps it, and twice is no harm.
        await ctx.run(lambda tx: quarantine(tx, job, place.id, reason, code=HOSTILE))
