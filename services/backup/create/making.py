"""One attempt to make an archive: the hooks, a look at the sources, borg; each finding is written down at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from services.backup.create.hooks import HookRunner
from services.backup.create.reporter import Reporter
from services.backup.create.shielded import to_its_end
from services.backup.truth.evidence import Kind, LeftOut
from shared.domain.archive import archive_name
from shared.errors import AppError, LeaseLost, Permanent, Transient
from shared.runtime.context import Abort

if TYPE_CHECKING:
    from services.backup.create.ledger import Ledger
    from services.backup.create.own_places import OwnPlace
    from services.backup.ports import BackupPlan, Made, Servers, ServerSession
    from services.backup.truth.evidence import Ended, Source
    from shared.borg.node import Grant
    from shared.runtime.context import Context


async def make(plan: BackupPlan, grant: Grant, ctx: Context, servers: Servers, ledger: Ledger) -> Made:
    """Make an archive on the server; once borg has reported one, nothing that follows takes it back."""
    plan.window.refuse_late()
    attempt = Attempt(plan, grant, ctx, servers, ledger)
    ctx.progress("connecting")
    limit = asyncio.timeout(plan.time_limit)
    try:
        async with limit, servers.session(plan, gentle=lambda: ctx.abort is Abort.SHUTDOWN) as server:
            await attempt.run(server)
    except TimeoutError as error:
        if not limit.expired():  # somebody else's limit within the run
            raise
        if attempt.made is None:
            message = f"the run was stopped at its time limit of {plan.time_limit} seconds"
            remedy = "raise the limit, or find out what became slow; the next run goes on from the checkpoint"
            raise Permanent(message, code="time_limit", remedy=remedy) from error
    except asyncio.CancelledError:
        if attempt.made is None or ctx.abort is not Abort.CANCELLED:
            raise
        attempt.cancelled = True
    made = attempt.made
    if made is None:
        message = "the attempt ended without a word of borg's"
        raise Transient(message, code="borg_silent", remedy="it is tried again")
    if made.error is not None:
        raise made.error
    if limit.expired():
        await ledger.note(cut=(*ledger.evidence.cut, "time_limit"))
    elif attempt.cancelled:
        await cut_by_cancel(ctx, ledger)
    else:
        await ledger.write_pending()
    return made


async def cut_by_cancel(ctx: Context, ledger: Ledger) -> None:
    """Write down that the run was cancelled when its archive was made; what else stops a run goes on elsewhere."""
    if ctx.abort is not Abort.CANCELLED:
        raise asyncio.CancelledError
    if "cancelled" not in ledger.evidence.cut:
        await ledger.note(cut=(*ledger.evidence.cut, "cancelled"))


def result_of(ended: Ended | None, *, failed: bool = False) -> str:
    """Return what the post-hook is told of a borg that came to its end: `succeeded`, `warning` or `failed`."""
    if failed:
        return "failed"
    return "succeeded" if ended is not None and ended.status == 0 else "warning"


class Attempt:
    """One attempt; `made` is there from the moment in which borg ended."""

    def __init__(self, plan: BackupPlan, grant: Grant, ctx: Context, servers: Servers, ledger: Ledger) -> None:
        """Take the run."""
        self._plan = plan
        self._grant = grant
        self._ctx = ctx
        self._ledger = ledger
        self._hooks = HookRunner(plan, ctx, servers, ledger)
        self._result = "failed"
        self._name = ""
        self.made: Made | None = None
        self.cancelled = False

    async def run(self, server: ServerSession) -> None:
        """Pay what is owed; then the pre-hook, a look, borg, and, however that ends, the post-hook."""
        await self._hooks.pay(server)
        self._name = archive_name(self._plan.backup_job, self._plan.job_id, datetime.now(UTC), self._plan.run)
        self._ledger.begin(self._name)
        try:
            await self._hooks.before(server)
            await self._create(server)
        except asyncio.CancelledError:
            if self._ctx.abort is Abort.CANCELLED:  # not at a time limit, a shutdown, a lost lease
                self._result = "cancelled"
            raise
        finally:
            _, self.cancelled = await to_its_end(self._after(server))

    async def _create(self, server: ServerSession) -> None:
        plan, ctx = self._plan, self._ctx
        looked = await server.probe_sources()
        await self._ledger.note(looked=looked)
        for source in looked:
            if source.kind in (Kind.MISSING, Kind.HANGS):
                ctx.log("warning", "kernel", f"source {source.path}: {source.kind}", code=f"source_{source.kind}")
        sources = _answering(looked)
        left_out = await self._own_places(server, sources)
        ctx.log("info", "kernel", f"borg create {self._name} of {', '.join(sources)} by {plan.transport}")
        self.made = await server.create(self._grant, self._name, sources, left_out, Reporter(plan, ctx))

    async def _own_places(self, server: ServerSession, sources: list[str]) -> tuple[OwnPlace, ...]:
        """Find what of ours lies below the sources: borg leaves it out, and it is said."""
        try:
            places = await server.own_places(sources)
        except Transient as error:  # a run without this look is as good as any; the next one looks again
            self._ctx.log("warning", "kernel", f"whether a source holds a storage pool is not known: {error.message}")
            return ()
        for place in places:
            self._ctx.log("info", "kernel", f"left out by the rule '{place.rule}': {place.path} is {place.what.text}")
        if grow := tuple(LeftOut.of(place.said) for place in places if place.grows):
            await self._ledger.note(places_left_out=grow)
        return places

    async def _after(self, server: ServerSession) -> None:
        """Write down how borg ended, look at the sources again; whatever fails, run the post-hook."""
        made, archive = self.made, ""
        if made is not None:
            self._result = result_of(made.ended, failed=made.error is not None)
            archive = self._name if made.error is None else ""
        try:
            if made is not None:
                await self._ledger.if_possible(self._ledger.note(ended=made.ended, report=made.archive))
            if archive:
                await self._look_again(server)
        finally:  # a lease that was lost says so; the database is not left frozen for it
            await self._hooks.after(server, self._result, made.ended.status if made else None, archive)

    async def _look_again(self, server: ServerSession) -> None:
        try:
            await self._ledger.note(looked_after=await server.probe_sources())
        except LeaseLost:
            raise
        except AppError as error:  # the gate says that nobody looked
            self._ctx.log("warning", "kernel", f"the sources could not be looked at again: {error.message}")


def _answering(looked: tuple[Source, ...]) -> list[str]:
    """Return the sources that borg can read; Transient if it would hang on each."""
    answering = [source.path for source in looked if source.kind is not Kind.HANGS]
    if looked and not answering:
        paths = ", ".join(source.path for source in looked)
        message = f"the server answers, but looking at {paths} comes to no end"
        raise Transient(message, code="source_hangs", remedy="see what it is mounted from; it is tried again")
    return answering
