"""The administrator's commands around borg: what the pre-hook did is undone by the post-hook, whatever happens."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from services.backup.truth.evidence import HookEnd
from shared.domain.messages import run_reasons as say
from shared.domain.text import clean
from shared.errors import AppError, LeaseLost, Permanent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.backup.create.ledger import Ledger
    from services.backup.ports import BackupPlan, Servers, ServerSession
    from shared.domain.message import Said
    from shared.runtime.context import Context

LINES = 200
LINE_LENGTH = 8 * 1024
BYTES = 64 * 1024
_REASON = 300
_ELLIPSIS = "…".encode()


class Tail:
    """The last lines of an output, bounded in number, in length and in all.

    They are kept as they come and cleaned when they are asked for: cleaning each of a million lines takes minutes.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._lines: deque[tuple[int, bytes]] = deque()
        self._bytes = 0

    def add(self, number: int, line: bytes) -> None:
        """Keep a line, and let the oldest ones go for it; the number says where it stands among others."""
        line = _cut(line.rstrip(b"\r\n"))
        self._lines.append((number, line))
        self._bytes += len(line)
        while len(self._lines) > LINES or self._bytes > BYTES:
            self._bytes -= len(self._lines.popleft()[1])

    def excerpt(self, lines: int = LINES, room: int = BYTES) -> list[tuple[int, str]]:
        """Return the last lines, clean, as far as there is room."""
        kept: deque[tuple[int, str]] = deque()
        for number, line in reversed(self._lines):  # shown, a byte may take the room of several
            text = clean(line, LINE_LENGTH)
            room -= len(text.encode())
            if room < 0 or len(kept) == lines:
                break
            kept.appendleft((number, text))
        return list(kept)


def _cut(line: bytes) -> bytes:
    if len(line) <= LINE_LENGTH:
        return line
    end = LINE_LENGTH - len(_ELLIPSIS)
    while end > LINE_LENGTH - 8 and line[end] & 0xC0 == 0x80:  # noqa: PLR2004 - in the middle of a character
        end -= 1
    return line[:end] + _ELLIPSIS


class HookOutput:
    """What a hook says, as it comes, and how it ended."""

    def __init__(self, status: int | None = None) -> None:
        """Begin before its first word."""
        self.status = status
        """None as long as it did not end by itself."""
        self._outputs = {False: Tail(), True: Tail()}
        self._heard = 0
        self._complaint = b""

    def add(self, line: bytes, *, error: bool, reason: bool = True) -> None:
        """Take a line of its stdout or, `error`, its stderr; `reason`: this may be why it failed."""
        self._outputs[error].add(self._heard, line)
        self._heard += 1
        if error and reason and line.strip():
            self._complaint = line

    def note(self, text: str) -> None:
        """Take what somebody else has to say of it: that is in the log, and never the reason."""
        self.add(text.encode(), error=True, reason=False)

    @property
    def lines(self) -> list[str]:
        """The last lines of both outputs, clean, and how many came before them.

        Each has half of the room where both need it: they come on two ways, and what one says in the middle may
        arrive after the last word of the other.
        """
        one, other = (tail.excerpt() for tail in self._outputs.values())
        both = [self._outputs[False].excerpt(*_share(other)), self._outputs[True].excerpt(*_share(one))]
        kept = [text for _, text in sorted(line for lines in both for line in lines)]
        dropped = self._heard - len(kept)
        return [*([f"({dropped} lines before these were left out)"] if dropped else []), *kept]

    @property
    def complaint(self) -> str:
        """The last line of its stderr that says anything."""
        return clean(_cut(self._complaint), LINE_LENGTH).strip()


def _share(other: list[tuple[int, str]]) -> tuple[int, int]:
    """Return how many lines and bytes are left beside another output; half of them at least."""
    size = sum(len(text.encode()) for _, text in other)
    return max(LINES // 2, LINES - len(other)), max(BYTES // 2, BYTES - size)


class HookRunner:
    """Runs a plan's hooks; that the post-hook is owed is written down before the pre-hook begins."""

    def __init__(self, plan: BackupPlan, ctx: Context, servers: Servers, ledger: Ledger) -> None:
        """Take the run."""
        self._plan = plan
        self._ctx = ctx
        self._servers = servers
        self._ledger = ledger

    async def pay(self, server: ServerSession) -> None:
        """Run the post-hook that an earlier attempt, or an earlier run of this backup job, still owes.

        Where it fails this run goes on: it has a post-hook of its own, and the failure is a doubt of its archive.
        """
        if not self._ledger.owed:
            return
        if not self._plan.hooks.after:
            self._ctx.log("warning", "hook", "the post-hook that is still owed was taken out of the backup job")
            await self._ledger.paid()
            return
        self._ctx.log("warning", "hook", "the post-hook of an earlier attempt or run did not succeed: it is run now")
        problem = await self._run(server, "post", self._plan.hooks.after, {"BORGFLEET_RESULT": "failed"})
        await self._settle("late_hook", HookEnd.of(problem))

    async def before(self, server: ServerSession) -> None:
        """Run the pre-hook; Permanent if it fails. From here on the post-hook is owed."""
        if self._plan.hooks.after:
            await self._ledger.owe()
        if not self._plan.hooks.before:
            return
        if problem := await self._run(server, "pre", self._plan.hooks.before, {}):
            raise Permanent(say.PRE_HOOK_FAILED(problem=problem))

    async def after(self, server: ServerSession, result: str, status: int | None, archive: str) -> None:
        """Run the post-hook, over a new connection where this one broke; until it succeeds it stays owed.

        However the run ends, what failed stands on its job: what the pre-hook did may not be undone.
        """
        if not self._plan.hooks.after:
            return
        about = {
            "BORGFLEET_RESULT": result,
            "BORGFLEET_STATUS": "" if status is None else str(status),
            "BORGFLEET_ARCHIVE": archive,
        }
        try:
            problem, ran = await self._wherever(server, about), True
        except LeaseLost:
            raise
        except AppError as error:
            problem, ran = say.POST_HOOK_NOT_RUN(reason=error.said), False
        if problem:
            self._ctx.warn("post_hook_failed", say.POST_HOOK_FAILED(problem=problem))
        await self._ledger.if_possible(self._settle("post_hook", HookEnd.of(problem, ran=ran)))

    async def _settle(self, which: str, end: HookEnd) -> None:
        await (self._ledger.note if end.problem else self._ledger.paid)(**{which: end})

    async def _wherever(self, server: ServerSession, about: Mapping[str, str]) -> Said | None:
        script = self._plan.hooks.after or ""
        try:
            return await self._run(server, "post", script, about)
        except LeaseLost:
            raise
        except AppError as error:
            self._ctx.log("warning", "hook", f"post-hook: {error.message}; trying over a new connection")
        async with self._servers.session(self._plan, gentle=lambda: False) as again:
            return await self._run(again, "post", script, about)

    async def _run(self, server: ServerSession, phase: str, script: str, about: Mapping[str, str]) -> Said | None:
        """Run a hook; return what is wrong with how it ended, or nothing."""
        self._ctx.progress(f"{phase}-hook")
        common = {
            "BORGFLEET_JOB": self._plan.backup_job,
            "BORGFLEET_RUN": str(self._plan.job_id),
            "BORGFLEET_SERVER": self._plan.target.name,
            "BORGFLEET_PHASE": phase,
            "BORGFLEET_STATUS": "",
        }
        seconds, output = self._plan.hooks.seconds, HookOutput()
        try:
            await server.hook(script, seconds, common | dict(about), output)
        finally:  # what it said is wanted most where the run is cut short
            for line in output.lines:
                self._ctx.log("info", "hook", line)
        problem = _problem(phase, seconds, output)
        status = "was stopped" if output.status is None else f"ended with status {output.status}"
        self._ctx.log("warning" if problem else "info", "hook", f"{phase}-hook {status}")
        return problem


def _problem(phase: str, seconds: int, output: HookOutput) -> Said | None:
    complaint = clean(output.complaint, _REASON)
    if output.status == 0:
        return None
    hook = say.PRE_HOOK() if phase == "pre" else say.POST_HOOK()
    if output.status is None:
        return say.HOOK_STOPPED(hook=hook, seconds=seconds, complaint=complaint)
    return say.HOOK_ENDED(hook=hook, status=output.status, complaint=complaint)
