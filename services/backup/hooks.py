"""The administrator's commands around borg: what the pre-hook did is undone by the post-hook, whatever happens."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from services.backup.evidence import HookEnd
from shared.domain.text import clean
from shared.errors import AppError, LeaseLost, Permanent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.backup.ledger import Ledger
    from services.backup.ports import BackupPlan, HookOutput, Servers, ServerSession
    from shared.runtime.context import Context

LINES = 200
LINE_LENGTH = 8 * 1024
BYTES = 64 * 1024
_REASON = 300


class Tail:
    """The last lines of what a hook says, bounded in number, in length and in all, and clean."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lines: deque[str] = deque()
        self._bytes = 0
        self._dropped = 0

    def add(self, line: str) -> None:
        """Keep a line, and let the oldest ones go for it."""
        line = clean(line.rstrip("\r\n"), LINE_LENGTH)
        self._lines.append(line)
        self._bytes += len(line.encode())
        while len(self._lines) > LINES or (self._bytes > BYTES and len(self._lines) > 1):
            self._bytes -= len(self._lines.popleft().encode())
            self._dropped += 1

    @property
    def lines(self) -> list[str]:
        """What was kept, and how much was not."""
        first = [f"({self._dropped} lines before these were left out)"] if self._dropped else []
        return [*first, *self._lines]

    @property
    def last(self) -> str:
        """The last line that says anything."""
        return next((line.strip() for line in reversed(self._lines) if line.strip()), "")


class HookRunner:
    """Runs a plan's hooks; that the post-hook is owed is written down before the pre-hook begins."""

    def __init__(self, plan: BackupPlan, ctx: Context, servers: Servers, ledger: Ledger) -> None:
        """Take the run."""
        self._plan = plan
        self._ctx = ctx
        self._servers = servers
        self._ledger = ledger

    async def pay(self, server: ServerSession) -> None:
        """Run the post-hook that an earlier attempt, or an earlier run of this backup job, still owes."""
        if not self._ledger.owed:
            return
        if not self._plan.hooks.after:
            await self._ledger.paid()
            return
        self._ctx.log("warning", "hook", "an earlier attempt ended before its post-hook ran: it is run now")
        problem = await self._run(server, "post", self._plan.hooks.after, {"BORGFLEET_RESULT": "failed"})
        await self._ledger.paid(late_hook=HookEnd(problem=problem))

    async def before(self, server: ServerSession) -> None:
        """Run the pre-hook; Permanent if it fails. From here on the post-hook is owed."""
        if self._plan.hooks.after:
            await self._ledger.owe()
        if not self._plan.hooks.before:
            return
        if problem := await self._run(server, "pre", self._plan.hooks.before, {}):
            remedy = "correct the hook, or what it prepares; see the job's log"
            raise Permanent(f"nothing was backed up: {problem}", code="pre_hook_failed", remedy=remedy)

    async def after(self, server: ServerSession, result: str, status: int | None, archive: str) -> None:
        """Run the post-hook, over a new connection where this one broke; where nothing helps it stays owed."""
        if not self._plan.hooks.after:
            return
        about = {
            "BORGFLEET_RESULT": result,
            "BORGFLEET_STATUS": "" if status is None else str(status),
            "BORGFLEET_ARCHIVE": archive,
        }
        try:
            problem = await self._wherever(server, about)
        except LeaseLost:
            raise
        except AppError as error:
            problem = f"the post-hook could not be run and is run first of all next time: {error.message}"
            self._ctx.log("error", "hook", problem, code=error.code)
            await self._ledger.note(post_hook=HookEnd(problem=problem))
            return
        await self._ledger.paid(post_hook=HookEnd(problem=problem))

    async def _wherever(self, server: ServerSession, about: Mapping[str, str]) -> str:
        script = self._plan.hooks.after or ""
        try:
            return await self._run(server, "post", script, about)
        except LeaseLost:
            raise
        except AppError as error:
            self._ctx.log("warning", "hook", f"post-hook: {error.message}; trying over a new connection")
        async with self._servers.session(self._plan, gentle=lambda: False) as again:
            return await self._run(again, "post", script, about)

    async def _run(self, server: ServerSession, phase: str, script: str, about: Mapping[str, str]) -> str:
        """Run a hook; return what is wrong with how it ended, or nothing."""
        self._ctx.progress(f"{phase}-hook")
        common = {
            "BORGFLEET_JOB": self._plan.backup_job,
            "BORGFLEET_RUN": str(self._plan.job_id),
            "BORGFLEET_SERVER": self._plan.target.name,
            "BORGFLEET_PHASE": phase,
            "BORGFLEET_STATUS": "",
        }
        seconds = self._plan.hooks.seconds
        output = await server.hook(script, seconds, common | dict(about))
        for line in output.lines:
            self._ctx.log("info", "hook", line)
        problem = _problem(f"the {phase}-hook", seconds, output)
        status = "was stopped" if output.status is None else f"ended with status {output.status}"
        self._ctx.log("warning" if problem else "info", "hook", f"{phase}-hook {status}")
        return problem


def _problem(name: str, seconds: int, output: HookOutput) -> str:
    if output.status == 0:
        return ""
    how = f"ended with status {output.status}" if output.status is not None else f"was stopped after {seconds} seconds"
    return f"{name} {how}" + (f": {clean(output.complaint, _REASON)}" if output.complaint else "")
