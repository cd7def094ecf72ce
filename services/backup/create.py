"""One backup run: the repository, the hooks, borg, and the truth gate."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from services.backup.ports import Made
from services.backup.proof import remember_key
from services.backup.reconcile import Loss, Whole, last_seen_whole, look, loss, recorded_archives
from services.backup.reconcile import missing as missing_archives
from services.backup.truth import Evidence, Verdict, judge
from shared.borg.output import LogLine, Phase, Progress
from shared.domain.archive import archive_name, made_by
from shared.errors import AppError, Permanent
from shared.runtime.context import Abort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.backup.ports import BackupPlan, Servers, ServerSession, Storage
    from shared.borg.node import Grant
    from shared.borg.output import Listed
    from shared.domain.archive import ArchiveFigures, RepositoryFigures
    from shared.runtime.context import Context

_RATE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """An archive that is in the repository, and what the truth gate says of it."""

    archive: ArchiveFigures
    repository: RepositoryFigures | None
    verdict: Verdict
    whole: Whole | None
    """None if anything is missing."""
    lost: Loss | None = None
    """What is missing of the archives that were made before."""


async def run_backup(plan: BackupPlan, grant: Grant, ctx: Context, *, storage: Storage, servers: Servers) -> Outcome:
    """Make the archive, or find the one an earlier attempt of this job made, and judge it."""
    ctx.progress("preparing the repository")
    await storage.ensure(plan.repository, grant)
    await remember_key(ctx, storage, plan.repository)
    made = await _made_before(plan, grant, ctx, storage)
    missing: list[str] = []
    post_hook: str | None = None
    if made is None:
        plan.window.refuse_late()
        try:
            async with asyncio.timeout(plan.time_limit):
                made, missing, post_hook = await _make(plan, grant, ctx, servers)
        except TimeoutError as error:
            message = f"the run was stopped at its time limit of {plan.time_limit} seconds"
            remedy = "raise the limit, or find out what became slow; the next run goes on from the checkpoint"
            raise Permanent(message, code="time_limit", remedy=remedy) from error
    await storage.shut_out(plan.repository, grant)  # what is looked at from here on does not change any more
    ctx.progress("verifying", files=made.archive.files, original_size=made.archive.original_size)
    recorded = await ctx.run(lambda tx: recorded_archives(tx, plan.repository.id))
    whole, listed = await look(plan.repository, grant, storage)
    sources = plan.options.sources
    evidence = Evidence(made.archive, listed, made.lines, sources, missing, post_hook, plan.baseline)
    verdict = judge(evidence)
    ctx.log(
        "info", "kernel", f"the repository lists {made.archive.borg_id[:12]} as {made.archive.name}: {verdict.state}"
    )
    lost = await _lost(plan, recorded, listed, ctx)
    return Outcome(made.archive, made.repository, verdict, None if lost else whole, lost)


async def _lost(plan: BackupPlan, recorded: dict[str, str], listed: Sequence[Listed], ctx: Context) -> Loss | None:
    gone = missing_archives(recorded, listed)
    if not gone:
        return None
    before = await ctx.run(lambda tx: last_seen_whole(tx, plan.repository.id))
    lost = loss({borg_id: recorded[borg_id] for borg_id in gone}, before)
    ctx.log("error", "kernel", lost.reason, code="archives_missing")
    return lost


async def _made_before(plan: BackupPlan, grant: Grant, ctx: Context, storage: Storage) -> Made | None:
    """Look for this job's archive: a worker may have died after borg was done."""
    if ctx.job is None or ctx.job.attempt <= 1:
        return None
    for listed in await storage.archives(plan.repository, grant):
        if made_by(listed.name, plan.job_id):
            ctx.log("info", "kernel", f"an earlier attempt made {listed.name}: it is recorded, not made again")
            archive = await storage.archive(plan.repository, grant, listed.name)
            return Made(archive, await storage.figures(plan.repository, grant), 0, ())
    return None


async def _make(plan: BackupPlan, grant: Grant, ctx: Context, servers: Servers) -> tuple[Made, list[str], str | None]:
    ctx.progress("connecting")
    async with servers.session(plan, gentle=lambda: ctx.abort is Abort.SHUTDOWN) as server:
        missing = await server.missing_sources()
        for path in missing:
            ctx.log("warning", "kernel", f"source path missing: {path}", code="source_missing")
        await _before(plan, ctx, server)
        name = archive_name(plan.backup_job, plan.job_id, datetime.now(UTC))
        ctx.log("info", "kernel", f"borg create {name} of {', '.join(plan.options.sources)} by {plan.transport}")
        try:
            made = await server.create(grant, name, _Reporter(plan, ctx))
        except AppError:
            await _after(plan, ctx, server)
            raise
        return made, missing, await _after(plan, ctx, server)


async def _before(plan: BackupPlan, ctx: Context, server: ServerSession) -> None:
    if not plan.hooks.before:
        return
    ctx.progress("pre-hook")
    problem = await _hook(plan.hooks.before, plan.hooks.seconds, ctx, server, "pre-hook")
    if problem:
        await _after(plan, ctx, server)
        remedy = "correct the hook, or what it prepares; see the job's log"
        raise Permanent(f"nothing was backed up: {problem}", code="pre_hook_failed", remedy=remedy)


async def _after(plan: BackupPlan, ctx: Context, server: ServerSession) -> str | None:
    """Run the post-hook whatever happened: it undoes what the pre-hook did."""
    if not plan.hooks.after:
        return None
    ctx.progress("post-hook")
    try:
        return await _hook(plan.hooks.after, plan.hooks.seconds, ctx, server, "post-hook")
    except AppError as error:
        ctx.log("warning", "hook", f"post-hook: {error.message}", code=error.code)
        return f"post-hook: {error.message}"


async def _hook(script: str, seconds: int, ctx: Context, server: ServerSession, name: str) -> str | None:
    try:
        status = await server.hook(script, seconds)
    except TimeoutError:
        return f"the {name} was stopped after {seconds} seconds"
    ctx.log("info" if status == 0 else "warning", "hook", f"{name} ended with status {status}")
    return None if status == 0 else f"the {name} ended with status {status}"


class _Reporter:
    """Turns borg's output into progress and log lines."""

    def __init__(self, plan: BackupPlan, ctx: Context) -> None:
        self._ctx = ctx
        self._estimate = plan.baseline.original_size if plan.baseline else None
        self._marks: list[tuple[float, int]] = []

    def __call__(self, output: LogLine | Progress | Phase) -> None:
        match output:
            case Progress():
                self._progress(output)
            case Phase():
                self._ctx.progress(output.message, estimated_size=self._estimate)
            case LogLine():
                self._ctx.log(output.level, "borg", output.message, code=output.code)

    def _progress(self, output: Progress) -> None:
        self._ctx.progress(
            "reading",
            files=output.files,
            original_size=output.original_size,
            deduplicated_size=output.deduplicated_size,
            estimated_size=self._estimate,
            rate=self._rate(output.original_size),
            path=output.path or None,
        )

    def _rate(self, size: int) -> float | None:
        """Return the bytes a second over the last few seconds; unknown at first."""
        now = time.monotonic()
        if not self._marks or now - self._marks[-1][0] >= _RATE_SECONDS:
            self._marks = [*self._marks[-5:], (now, size)]
        since, before = self._marks[0]
        return (size - before) / (now - since) if now > since else None
