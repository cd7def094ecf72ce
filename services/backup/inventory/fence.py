"""Judges what a server asked for in its sessions: what no honest client does fails the run and stops maintenance."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from services.backup.inventory.reconcile import HOSTILE, quarantine
from shared.borg.sessions import Garbage
from shared.errors import AppError, LeaseLost, Permanent
from shared.runtime.context import Abort

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from services.backup.ports import RepositoryPlace, Storage
    from shared.borg.node import Grant
    from shared.borg.sessions import SessionReport
    from shared.runtime.context import Context

__all__ = ["HOSTILE", "judged", "shut_out_at_last"]

_REMEDY = (
    "treat the server as taken over: docs/operations/security.md says what it could do and what to do now; "
    "all archives that were made before are intact"
)


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


async def _left_behind(ctx: Context, storage: Storage, place: RepositoryPlace, grant: Grant) -> list[str]:
    try:
        return await _hostile(ctx, storage, place, grant)
    except AppError as error:
        # It stays for the next lease: a repository that cannot be read must not keep its own recovery from running.
        ctx.log("warning", "kernel", f"a session's report is not judged yet: {error.message}", code=error.code)
        return []


async def _judge(ctx: Context, storage: Storage, place: RepositoryPlace, grant: Grant, before: list[str]) -> None:
    hostile = [*before, *await _hostile(ctx, storage, place, grant)] if place.to_server else []
    if hostile:
        raise Permanent("; ".join(hostile), code=HOSTILE, remedy=_REMEDY)


async def _hostile(ctx: Context, storage: Storage, place: RepositoryPlace, grant: Grant) -> list[str]:
    """Return why the server is hostile, by what its sessions left; freeze the repository before a report is removed."""
    found: list[str] = []
    for report in await storage.session_reports(place):
        reason = await _reason(ctx, storage, place, grant, report)
        if reason:
            await _freeze(ctx, place, reason)
            found.append(reason)
        await storage.forget_session(report)
    return found


async def _reason(
    ctx: Context, storage: Storage, place: RepositoryPlace, grant: Grant, report: SessionReport
) -> str | None:
    """Say what no honest client does; None if all that was left out is what it should be.

    An honest client sends what is there already where its cache was lost and a former run was cut short.
    """
    who = f"a session on {place.label}"
    reasons = [f"{who} asked for what no honest client does: {report.summary}"] if report.refused else []
    if report.left_out:
        size = f"{len(report.left_out)} objects, {report.left_out_bytes} bytes"
        ctx.log("info", "borg", f"the server sent what was there already: {size}; what was there first stays")
        garbage = await _examined(ctx, storage, place, grant, report)
        if garbage.lying:
            reasons.append(f"{place.label} holds other content under the ids of {len(garbage.lying)} objects")
        if garbage.sent:
            reasons.append(f"{who} sent other content under the ids of {len(garbage.sent)} objects")
    if report.unkept:
        ctx.log("warning", "kernel", f"{report.unkept} objects sent again were too many to look at", code="unkept")
    return "; ".join(reasons) or None


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


async def _freeze(ctx: Context, place: RepositoryPlace, reason: str) -> None:
    ctx.warn(HOSTILE, reason)
    job = ctx.job
    if job is not None:
        # Not fenced by the lease: whoever learns of an attack keeps it, and twice is no harm.
        await ctx.run(lambda tx: quarantine(tx, job, place.id, reason, code=HOSTILE))
