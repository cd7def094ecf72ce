"""A backup node's own state and its own borg: grants, host id, and subprocesses under guard.sh."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field, replace
from importlib.resources import files
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from shared.borg import commands, fencing
from shared.borg.entries import ESCAPED, unescaped
from shared.borg.environment import apart, key_file, on_node
from shared.borg.exit_codes import Speaker, failure
from shared.borg.handed import in_memory, to_read
from shared.borg.output import LogLine, parse_line
from shared.borg.piping import BLOCK, pipe
from shared.borg.sessions import Sessions
from shared.borg.watch import SILENCE_SECONDS, Watch
from shared.domain.lines import CUT
from shared.domain.reading import Turn, each_line, whole
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from shared.borg.output import Output, Phase, Progress

_SHELL_SCRIPTS = ("guard.sh", "serve.sh")
_OWN_END_SECONDS = 1.0
_STOP_SECONDS = 20.0
_HANGING_SECONDS = 5.0
_ANSWER_LIMIT = 64 * 1024 * 1024
_LINES_KEPT = 2000
OnOutput: TypeAlias = "Callable[[LogLine | Progress | Phase], None]"
OnAnswer: TypeAlias = "Callable[[bytes], Awaitable[None] | None]"
"""Takes the blocks of an answer; what it returns is awaited before the next one is read."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to work on one repository in one epoch of its lease."""

    server_id: uuid.UUID
    repository_id: uuid.UUID
    path: str
    epoch: int
    to_server: bool = True
    """The server may reach the repository, through the fence, for as long as this lasts; else this node alone."""
    quota: int | None = None
    """How many bytes the repository may take; a server's session is told."""
    base_dir: str | None = None
    """Where borg remembers what it meets; None: with all that this node knows. A view has its own."""
    key: str = field(default="", repr=False)
    """The text of its key file, where it does not hold its key."""
    expected: tuple[tuple[str, str], ...] = ()  # variables: what a person knows of it, so that borg does not ask

    @property
    def token(self) -> str:
        """What a client names in its remote command."""
        return f"{self.repository_id.hex}-{self.epoch}"

    @property
    def file_name(self) -> str:
        """The grant's file in the node's state directory."""
        owner = self.server_id.hex if self.to_server else "node"  # the endpoint looks for the server's own
        return f"{owner}.{self.repository_id.hex}"


class BorgNode:
    """Runs borg on this node; every process that touches a repository ends with its grant."""

    def __init__(self, borg: str, state_dir: Path, silence: float = SILENCE_SECONDS) -> None:
        """Prepare the state directory: scripts, host id, grants; idempotent. `silence`: how long borg may be mute."""
        self._silence = silence
        found = shutil.which(borg)
        if found is None:
            message = f"no {borg} on this node"
            raise Permanent(
                message, code="borg_missing", remedy="install borg 1.4.5 or newer, or set BORGFLEET_BACKUP__BORG"
            )
        self.borg = found
        self.python = fencing.python_of(found)
        self.state_dir = state_dir
        self.sessions = Sessions(state_dir)
        self._shut_out: dict[uuid.UUID, int] = {}
        self._ended: dict[uuid.UUID, set[int]] = {}
        self._writing = threading.RLock()  # grants are written in threads, which a slow disk keeps waiting
        self._environment = self._prepare()
        fencing.require_fit(found, self.python, fencing.script(state_dir, "fence.py"))

    def permit(self, grant: Grant, seconds: float, asked: float | None = None) -> None:
        """Let this grant's processes live for so many seconds from when it was asked (time.time()), by default now.

        Nothing happens if a later lease has begun, or this grant was ended: what waited for the disk comes too late.
        """
        until = (time.time() if asked is None else asked) + seconds
        with self._writing:
            grant = self._current(grant)
            if self.has_ended(grant) or self._epoch(grant) > grant.epoch:
                return
            text = f"{grant.epoch} {int(until) + 1} {grant.quota or 0} {grant.path}\n"
            other = replace(grant, to_server=not grant.to_server)
            (self.state_dir / "grants" / other.file_name).unlink(missing_ok=True)  # there is one writer
            _write(self.state_dir / "grants" / grant.file_name, text)

    def shut_out(self, grant: Grant, seconds: float) -> bool:
        """End the server's part of a grant for good; this node's own processes may go on. False if it is over."""
        with self._writing:
            if self._epoch(grant) != grant.epoch:
                return False
            self._shut_out[grant.repository_id] = grant.epoch
            self.permit(grant, seconds)
            return True

    def begin(self, grant: Grant) -> None:
        """Let a new lease be granted; touches no disk.

        In a database that was restored from a backup epochs are given once more: what ended or was shut out under one
        before says nothing of who has it now.
        """
        self._ended.get(grant.repository_id, set()).discard(grant.epoch)
        if self._shut_out.get(grant.repository_id) == grant.epoch:
            del self._shut_out[grant.repository_id]

    def end(self, grant: Grant) -> None:
        """Let nothing renew a grant any more; touches no disk. `revoke` then removes what is there."""
        self._ended.setdefault(grant.repository_id, set()).add(grant.epoch)

    def forget(self, repository_id: uuid.UUID) -> None:
        """Forget a repository that is no more, as a view, once nobody renews its grant; blocking."""
        self._ended.pop(repository_id, None)
        self._shut_out.pop(repository_id, None)
        self.sessions.forget_all(repository_id)

    def has_ended(self, grant: Grant) -> bool:
        """Tell whether this grant was ended by this process."""
        return grant.epoch in self._ended.get(grant.repository_id, ())

    def revoke(self, grant: Grant) -> None:
        """End every process that works under this grant; one of a later lease is left alone."""
        self.end(grant)
        with self._writing:
            grant = self._current(grant)
            if self._epoch(grant) == grant.epoch:
                (self.state_dir / "grants" / grant.file_name).unlink(missing_ok=True)

    def script(self, name: str, *arguments: str) -> list[str]:
        """Return the argv of one of our scripts that stand on borg's own package."""
        return [self.python, "-I", str(fencing.script(self.state_dir, name)), *arguments]

    @property
    def host_id(self) -> str:
        """Under which borg knows this node; it stands in its state directory too."""
        return self._environment["BORG_HOST_ID"]

    def _current(self, grant: Grant) -> Grant:
        """Return a grant without the server's part, if that was ended."""
        ended = self._shut_out.get(grant.repository_id) == grant.epoch
        return replace(grant, to_server=False) if ended else grant

    def _epoch(self, grant: Grant) -> int:
        """Return the epoch in which the repository is granted now; 0 if in none."""
        for to_server in (True, False):
            with contextlib.suppress(OSError, ValueError):
                file = self.state_dir / "grants" / replace(grant, to_server=to_server).file_name
                epoch, until, *_ = file.read_text().split()
                if int(until) > time.time():
                    return int(epoch)
        return 0

    async def run(
        self,
        grant: Grant,
        argv: Sequence[str],
        *,
        passphrase: str,
        on_output: OnOutput | None = None,
        on_answer: OnAnswer | None = None,
        environment: Mapping[str, str] | None = None,
        guarded: bool = True,
        silence: float | None = None,
        plan: bytes | None = None,
    ) -> tuple[str, list[LogLine]]:
        """Run borg to its end; return stdout and its messages, the last ones of many; raise our error if it failed.

        Not guarded, it lives without the lease: it may only read what does not change, and has to end before long.
        An answer of any length goes to `on_answer` in blocks instead, where that is given. `environment`: more
        than every borg of this node has. `silence`: a limit of its own for how long it may be mute.
        A script's `plan` becomes its last argument: a file in memory, which no disk holds.
        """
        own = {**(environment or {}), **(apart(grant.base_dir) if grant.base_dir else {})}
        own |= dict(grant.expected)
        whole_argv = [*(self._guarded(grant) if guarded else ()), *argv]
        watch = Watch(argv, grant.path, self._silence, silence)
        heard = _Heard(on_output, on_answer)
        status, stdout, lines = await self._run(
            whole_argv, watch, (passphrase, grant.key), heard.output, heard.answer if on_answer else None, own, plan
        )
        answered = heard.of_borg or bool(stdout)
        speaker = Speaker.SCRIPT if argv[:1] == [self.python] else Speaker.NODE
        if error := failure(status, lines, speaker=speaker, pool=grant.path, answered=answered):
            raise error
        if status and not any(line.is_warning or line.is_error for line in lines):
            lines.append(LogLine("warning", f"borg ended with status {status}"))
        return stdout, lines

    async def serve(
        self, grant: Grant, read: Callable[[int], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Serve one repository over a pair of byte streams until either side ends."""
        file = str(self.state_dir / "grants" / grant.file_name)
        argv = self.script("fence.py", file, str(grant.epoch), *commands.serve(grant.path))
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._environment,
            start_new_session=True,
            limit=BLOCK,
        )
        try:
            await pipe(process, read, write)
        finally:
            await _end(process)

    async def _run(
        self,
        argv: Sequence[str],
        watch: Watch,
        opens: tuple[str, str],
        on_output: OnOutput | None,
        on_answer: OnAnswer | None,
        environment: dict[str, str],
        plan: bytes | None,
    ) -> tuple[int, str, list[LogLine]]:
        handed = [to_read(opens[0].encode() + b"\n")]
        try:
            if opens[1]:
                handed.append(in_memory(opens[1].encode()))
                environment |= key_file(f"/proc/self/fd/{handed[-1]}")
            if plan is not None:
                handed.append(in_memory(plan))
                argv = [*argv, f"/proc/self/fd/{handed[-1]}"]
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment | environment | {"BORG_PASSPHRASE_FD": str(handed[0])},
                pass_fds=handed,
                start_new_session=True,
                limit=BLOCK,
            )
        finally:
            for descriptor in handed:
                os.close(descriptor)
        escaped = environment.get("PYTHONIOENCODING") == ESCAPED
        answer, said = cast("asyncio.StreamReader", process.stdout), cast("asyncio.StreamReader", process.stderr)
        try:
            async with watch:
                answered = watch.reading(answer.read)
                read = _hand_on(answered, on_answer) if on_answer else whole(answered, _ANSWER_LIMIT)
                (stdout, left_out), lines = await asyncio.gather(
                    read, _listen(watch.reading(said.read), on_output, escaped=escaped)
                )
                status = await process.wait()
        except TimeoutError as error:
            await _end(process, _HANGING_SECONDS)
            raise watch.error() from error
        finally:
            await _end(process)  # cancelled, or whoever took the answer wants no more of it
            # What was not read of its outputs would keep them open: nobody reads on.
            cast("Any", process)._transport.close()  # noqa: SLF001 - asyncio's own way to it is not public
        if left_out:
            message = f"borg answered with {left_out} bytes more than the {_ANSWER_LIMIT} that are read"
            remedy = "see whether something else writes to borg's standard output on this node"
            raise Permanent(message, code="answer_too_long", remedy=remedy)
        return status, stdout.decode(errors="replace"), lines

    def _guarded(self, grant: Grant) -> list[str]:
        return ["/bin/sh", str(self.state_dir / "guard.sh"), self._grant_file(grant), str(grant.epoch)]

    def _grant_file(self, grant: Grant) -> str:
        return str(self.state_dir / "grants" / self._current(grant).file_name)

    def _prepare(self) -> dict[str, str]:
        (self.state_dir / "grants").mkdir(parents=True, exist_ok=True)
        for name in _SHELL_SCRIPTS:
            _write(self.state_dir / name, files("shared.borg").joinpath(name).read_text())
        for name, text in fencing.scripts().items():
            path = fencing.script(self.state_dir, name)
            path.parent.mkdir(exist_ok=True)
            _write(path, text)
        host_id_file = self.state_dir / "host-id"
        if not host_id_file.exists() or not host_id_file.read_text().strip():  # empty, where the power went
            _write(host_id_file, f"borgfleet-{uuid.uuid4().hex}\n")
        environment = on_node(str(self.state_dir / "borg"), host_id_file.read_text().strip())
        exported = environment | {"BORGFLEET_PYTHON": self.python}
        _write(self.state_dir / "node.env", "".join(f"{k}={shlex.quote(v)}\n" for k, v in exported.items()))
        return environment


class _Heard:
    """Passes on what borg says and answers, and knows whether it was borg: its Python may end as it does."""

    def __init__(self, on_output: OnOutput | None, on_answer: OnAnswer | None) -> None:
        self._on_output = on_output
        self._on_answer = on_answer
        self.of_borg = False

    def output(self, output: Output) -> None:
        self.of_borg = self.of_borg or not isinstance(output, LogLine) or output.structured
        if self._on_output is not None:
            self._on_output(output)

    def answer(self, block: bytes) -> Awaitable[None] | None:
        self.of_borg = True
        return self._on_answer(block) if self._on_answer is not None else None


async def _listen(read: Callable[[int], Awaitable[bytes]], heard: OnOutput | None, *, escaped: bool) -> list[LogLine]:
    """Read stderr to its end, passing each message on; return the last ones of many."""
    lines: deque[LogLine] = deque(maxlen=_LINES_KEPT)

    def read_line(raw: bytes) -> None:
        for output in chain.from_iterable(map(parse_line, unescaped(raw) if escaped else [raw])):
            if isinstance(output, LogLine):
                lines.append(output)
            if heard is not None:
                heard(output)

    if dropped := await each_line(read, read_line):
        read_line(CUT.format(dropped).encode())
    return list(lines)


async def _hand_on(read: Callable[[int], Awaitable[bytes]], on_answer: OnAnswer) -> tuple[bytes, int]:
    turn = Turn()
    while block := await read(BLOCK):
        if (taken := on_answer(block)) is not None:
            await taken
        await turn.give()
    return b"", 0


async def _end(process: asyncio.subprocess.Process, wait_for: float = _STOP_SECONDS) -> None:
    """Wait a moment for a process group's own end, then SIGTERM, then SIGKILL; returns when it is gone."""
    ended = asyncio.create_task(process.wait())
    for number, seconds in ((0, _OWN_END_SECONDS), (signal.SIGTERM, wait_for), (signal.SIGKILL, wait_for)):
        if process.returncode is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        await asyncio.wait({ended}, timeout=seconds)  # no timeout that cancels: this runs while it is cancelled already
    ended.cancel()


def _write(path: Path, text: str) -> None:
    """Replace a file in one step; a reader sees the old or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
