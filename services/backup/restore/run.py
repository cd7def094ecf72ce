"""One restore: looks at the place, takes a view, lets what was chosen pass, verifies it, and only then places it."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.backup.create.shielded import to_its_end
from services.backup.node.views import through_view
from services.backup.restore.checks import (
    Expected,
    judge_place,
    judge_placing,
    judge_route,
    judge_stream,
    judge_tree,
)
from services.backup.restore.preview import judge_shown, previewed
from services.backup.restore.tar import TarReader, shown
from shared.errors import AppError, Permanent
from shared.runtime.context import Abort
from shared.runtime.crashpoint import crashpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.backup.node.views import View
    from services.backup.ports import Storage
    from services.backup.restore.plan import RestorePlan
    from services.backup.restore.server import Probed, RestoreServer, RestoreServers
    from services.backup.restore.tar import Passed
    from shared.borg.node import OnAnswer
    from shared.runtime.context import Context

    Export = Callable[[OnAnswer], Awaitable[None]]

_CLEAN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of a restore, and why it is not simply fine."""

    result: dict[str, Any]
    warnings: list[str] = field(default_factory=list[str])


async def run_restore(
    plan: RestorePlan, _grant: object, ctx: Context, storage: Storage, servers: RestoreServers
) -> Restored:
    """Restore; what an earlier attempt has placed is not placed again."""
    limit = asyncio.timeout(plan.asked.time_limit)
    try:
        async with limit:
            return await _restored(plan, ctx, storage, servers, limit)
    except TimeoutError as error:
        if not limit.expired():
            raise
        message = f"the restore was stopped at its time limit of {plan.asked.time_limit} seconds; nothing was placed"
        raise Permanent(message, code="time_limit", remedy="raise the limit, or restore less at once") from error


async def _restored(
    plan: RestorePlan, ctx: Context, storage: Storage, servers: RestoreServers, limit: asyncio.Timeout
) -> Restored:
    ctx.progress("connecting")
    async with servers.connect(plan) as server:
        if plan.placed:
            return await _ended(server, ctx, plan.placed)
        ctx.progress("checking the target")
        probed = await server.probe()
        if probed.placed:  # an earlier attempt ended just behind its rename
            limit.reschedule(None)
            return await _to_the_end(plan, ctx, server, probed.placed, place=plan.asked.in_place)
        full = judge_route(plan, probed)
        judge_placing(plan, probed)
        judge_place(plan, probed)
        if plan.asked.preview:
            return Restored(await previewed(plan, ctx, storage, server, probed, full=full))
        try:
            outcome = await _staged(plan, ctx, storage, server, probed, full=full)
        except (AppError, asyncio.CancelledError, TimeoutError):
            if ctx.abort in (None, Abort.CANCELLED):  # else somebody goes on with it, and begins by removing it
                await to_its_end(_cleaned(server, ctx))
            raise
        limit.reschedule(None)  # whoever stops it amid its placing leaves half of it there
        return await _to_the_end(plan, ctx, server, outcome, place=True)


async def _staged(
    plan: RestorePlan, ctx: Context, storage: Storage, server: RestoreServer, probed: Probed, *, full: bool
) -> dict[str, Any]:
    """Bring what was chosen into the staging directory, and return what is to be told of it."""
    ctx.progress("making the view")

    async def work(view: View) -> dict[str, Any]:
        ctx.progress("counting")
        counted = await storage.count_chosen(view.place, view.grant, plan.chosen(full=full, count=True))
        expected = Expected.of(plan, counted)
        expected.fits(plan, probed)
        await judge_shown(plan, storage, view, server, expected)
        await server.stage()
        crashpoint("restore_staged")

        async def export(on_block: OnAnswer) -> None:
            await storage.export_chosen(view.place, view.grant, plan.chosen(full=full, count=False), on_block)

        passed = await _passed(plan, ctx, export, server, expected, gnu=probed.tar == "gnu")
        crashpoint("restore_unpacked")
        return await _verified(plan, ctx, server, expected, passed, full=full)

    return await through_view(ctx, storage, plan.repository, work)


async def _passed(
    plan: RestorePlan, ctx: Context, export: Export, server: RestoreServer, expected: Expected, *, gnu: bool
) -> Passed:
    """Let the archive's tar pass from borg to the server's tar, and read it on the way."""
    hashed = {"all": None, "count": (), "sample": expected.sample}[plan.asked.verify]
    reader = TarReader(hashed)
    report = _Reporter(ctx, reader, expected)

    async def feed(write: Callable[[bytes], Awaitable[None]]) -> None:
        async def on_block(block: bytes) -> None:
            reader.feed(block)
            await write(block)
            report()

        await export(on_block)
        if not reader.ended:
            message = "borg ended before the end of what it wrote"
            raise Permanent(message, code="restore_partial", remedy="restore again; if it stays, check the repository")

    await server.unpack(feed, gnu=gnu)
    judge_stream(expected, reader)
    return reader.passed


async def _verified(
    plan: RestorePlan, ctx: Context, server: RestoreServer, expected: Expected, passed: Passed, *, full: bool
) -> dict[str, Any]:
    """Compare what stands on the server with what passed, before anybody can take it for the restored."""
    ctx.progress("verifying", files=passed.files, original_size=passed.size)
    judge_tree(passed, await server.measure())
    there = await server.hashes(sorted(passed.hashes))
    differing = [shown(path) for path, one in sorted(passed.hashes.items()) if there.get(path) != one]
    if differing:
        message = f"{len(differing)} files on the server differ from what was sent: {', '.join(differing[:5])}"
        remedy = "nothing was placed; check the server's disk and memory, then restore again"
        raise Permanent(message, code="verify_failed", remedy=remedy)
    return {
        "route": "stream", "metadata": "full" if full else "basic", "lost": expected.lost(full=full),
        "files": passed.files + passed.links, "bytes": passed.size, "original_size": passed.size,
        "entries": passed.names + passed.directories, "target": plan.told, "server": plan.target.name,
        "missing": expected.missing[:200], "damaged": expected.damaged[:200],
        "verified": {"counted": passed.names, "hashed": len(there), "differing": []},
        "mode": plan.asked.mode, "inside_sources_of": list(plan.sources_of), "names": passed.names,
    }  # fmt: skip


async def _to_the_end(
    plan: RestorePlan, ctx: Context, server: RestoreServer, outcome: dict[str, Any], *, place: bool
) -> Restored:
    """Place it, keep that it is placed, and remove what is left; a cancellation from here on comes too late."""
    if ctx.abort is not None:
        raise asyncio.CancelledError

    async def end() -> Restored:
        if place:
            ctx.progress("placing")
            crashpoint("restore_before_place")
            try:
                placed = await _placed(plan, server, outcome)
            except Permanent:
                await _cleaned(server, ctx, unknown=True)
                raise
        else:
            placed = outcome
        crashpoint("restore_placed")
        await ctx.run(lambda tx: tx.jobs.note_result(plan.job_id, lease=ctx.lease, result=_as_placed(plan, placed)))
        crashpoint("restore_noted")
        return await _ended(server, ctx, placed)

    restored, _ = await to_its_end(end(), give_up=lambda: ctx.abort is not Abort.CANCELLED)
    return restored


async def _placed(plan: RestorePlan, server: RestoreServer, outcome: dict[str, Any]) -> dict[str, Any]:
    """Place it in the way that was chosen, and return what is to be told of it then."""
    if not plan.asked.in_place:
        await server.place(outcome)
        return outcome
    put = await server.put(outcome)
    kept, refused = put["counts"]["kept"], put["counts"]["refused"]
    return outcome | {
        "placed": outcome["names"] - kept - refused, "kept_count": kept, "refused_count": refused,
        "kept": [shown(os.fsencode(path)) for path in put["kept"]],
        "refused": [{"path": shown(os.fsencode(path)), "code": code} for path, code in put["refused"]],
        "previous": [shown(os.fsencode(path)) for path in put["previous"]],
        "previous_in": f"{plan.path}/{plan.placing()['previous']}" if put["previous"] else None, "stamp": plan.stamp,
        "undo": {"possible": bool(put["swapped"]), "items": put["swapped"]} if plan.asked.mode == "swap" else None,
    }  # fmt: skip


async def _ended(server: RestoreServer, ctx: Context, outcome: dict[str, Any]) -> Restored:
    await _cleaned(server, ctx)
    warnings: list[str] = []
    if outcome["missing"]:
        warnings.append(f"not in the backup: {', '.join(outcome['missing'][:5])}")
    if outcome["damaged"]:
        warnings.append(f"damaged in the backup, with zeros for what was lost: {', '.join(outcome['damaged'][:5])}")
    if outcome["lost"]:
        warnings.append(f"not restored, as it was chosen: {', '.join(outcome['lost'])}")
    if outcome.get("refused"):
        listed = ", ".join(f"{one['path']} ({one['code']})" for one in outcome["refused"][:5])
        warnings.append(f"refused at its place, and not restored: {listed}")
    if outcome["inside_sources_of"]:
        jobs = ", ".join(outcome["inside_sources_of"])
        ctx.log("warning", "kernel", f"{outcome['target']} is backed up by {jobs}", code="inside_source")
    return Restored(outcome, warnings)


async def _cleaned(server: RestoreServer, ctx: Context, *, unknown: bool = False) -> None:
    ctx.progress("cleaning")
    try:
        async with asyncio.timeout(_CLEAN_SECONDS):
            await server.clean(unknown=unknown)
    except (AppError, TimeoutError) as error:
        ctx.log("warning", "kernel", f"the staging directory could not be removed: {error}", code="staging_left")


def _as_placed(plan: RestorePlan, outcome: dict[str, Any]) -> dict[str, Any]:
    return {"placed_in": {str(plan.run): outcome}}


class _Reporter:
    """Says how far it is, and how fast."""

    def __init__(self, ctx: Context, reader: TarReader, expected: Expected) -> None:
        self._ctx = ctx
        self._reader = reader
        self._expected = expected
        self._began = time.monotonic()

    def __call__(self) -> None:
        passed = self._reader.passed
        seconds = time.monotonic() - self._began
        self._ctx.progress(
            "extracting", files=passed.files, original_size=passed.size, estimated_size=self._expected.size,
            rate=passed.size / seconds if seconds > 1 else None,
        )  # fmt: skip
