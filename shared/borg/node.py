"""A backup node's own state and its own borg: grants, host id, and subprocesses under guard.sh."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import time
import uuid
from collections import deque
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, TypeAlias, cast

from shared.borg import commands, fencing
from shared.borg.environment import on_node
from shared.borg.exit_codes import Speaker, failure
from shared.borg.output import LogLine, parse_line
from shared.borg.sessions import Sessions
from shared.borg.watch import SILENCE_SECONDS, Watch
from shared.domain.lines import CUT
from shared.domain.reading import Turn, each_line, whole
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from shared.borg.output import Output, Phase, Progress

_SHELL_SCRIPTS = ("guard.sh", "serve.sh")
_OWN_END_SECONDS = 1.0
_STOP_SECONDS = 20.0
_HANGING_SECONDS = 5.0
_BLOCK = 256 * 1024
_ANSWER_LIMIT = 64 * 1024 * 1024
_SMALL = 32 * 1024
_GATHER_SECONDS = 0.002
_LINES_KEPT = 2000
_ABOVE_SHELLS = 64
"""File descriptors that are not a script's own (guard.sh: 8, 9), nor such as a shell saves its own under (10 on)."""
OnOutput: TypeAlias = "Callable[[LogLine | Progress | Phase], None]"


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
        self._environment = self._prepare()
        fencing.require_fit(found, self.python, fencing.script(state_dir, "fence.py"))

    def permit(self, grant: Grant, seconds: float) -> None:
        """Let this grant's processes live for so many seconds more; nothing happens if a later lease has begun."""
        grant = self._current(grant)
        if self._epoch(grant) > grant.epoch:
            return
        text = f"{grant.epoch} {int(time.time() + seconds) + 1} {grant.quota or 0} {grant.path}\n"
        other = replace(grant, to_server=not grant.to_server)
        (self.state_dir / "grants" / other.file_name).unlink(missing_ok=True)  # there is one writer
        _write(self.state_dir / "grants" / grant.file_name, text)

    def shut_out(self, grant: Grant, seconds: float) -> bool:
        """End the server's part of a grant for good; this node's own processes may go on. False if it is over."""
        if self._epoch(grant) != grant.epoch:
            return False
        self._shut_out[grant.repository_id] = grant.epoch
        self.permit(grant, seconds)
        return True

    def revoke(self, grant: Grant) -> None:
        """End every process that works under this grant; one of a later lease is left alone."""
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
        on_answer: Callable[[bytes], None] | None = None,
        base_dir: Path | None = None,
        guarded: bool = True,
        silence: float | None = None,
    ) -> tuple[str, list[LogLine]]:
        """Run borg to its end; return stdout and its messages, the last ones of many; raise our error if it failed.

        Not guarded, it lives without the lease: it may only read what does not change, and has to end before long.
        An answer of any length goes to `on_answer` in blocks instead, where that is given. With a `base_dir` borg
        remembers nothing of this run in the node's own. `silence`: a limit of its own for how long it may be mute.
        """
        own = {"BORG_BASE_DIR": str(base_dir), "HOME": str(base_dir)} if base_dir else {}
        whole_argv = [*(self._guarded(grant) if guarded else ()), *argv]
        watch = Watch(argv, grant.path, self._silence, silence)
        heard = _Heard(on_output, on_answer)
        status, stdout, lines = await self._run(
            whole_argv, watch, passphrase, heard.output, heard.answer if on_answer else None, own
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
            limit=_BLOCK,
        )
        try:
            await _join(process, read, write)
        finally:
            await _end(process)

    async def _run(
        self,
        argv: Sequence[str],
        watch: Watch,
        passphrase: str,
        on_output: OnOutput | None,
        on_answer: Callable[[bytes], None] | None,
        environment: dict[str, str],
    ) -> tuple[int, str, list[LogLine]]:
        reader = _to_read(passphrase.encode() + b"\n")
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment | environment | {"BORG_PASSPHRASE_FD": str(reader)},
                pass_fds=(reader,),
                start_new_session=True,
                limit=_BLOCK,
            )
        finally:
            os.close(reader)
        answer, said = cast("asyncio.StreamReader", process.stdout), cast("asyncio.StreamReader", process.stderr)
        try:
            async with watch:
                answered = watch.reading(answer.read)
                read = _hand_on(answered, on_answer) if on_answer else whole(answered, _ANSWER_LIMIT)
                (stdout, left_out), lines = await asyncio.gather(read, _listen(watch.reading(said.read), on_output))
                status = await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            raise
        except TimeoutError as error:
            await _end(process, _HANGING_SECONDS)
            raise watch.error() from error
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
        if not host_id_file.exists():
            _write(host_id_file, f"borgfleet-{uuid.uuid4().hex}\n")
        environment = on_node(str(self.state_dir / "borg"), host_id_file.read_text().strip())
        exported = environment | {"BORGFLEET_PYTHON": self.python}
        _write(self.state_dir / "node.env", "".join(f"{k}={shlex.quote(v)}\n" for k, v in exported.items()))
        return environment


class _Heard:
    """Passes on what borg says and answers, and knows whether it was borg: its Python may end as it does."""

    def __init__(self, on_output: OnOutput | None, on_answer: Callable[[bytes], None] | None) -> None:
        self._on_output = on_output
        self._on_answer = on_answer
        self.of_borg = False

    def output(self, output: Output) -> None:
        self.of_borg = self.of_borg or not isinstance(output, LogLine) or output.structured
        if self._on_output is not None:
            self._on_output(output)

    def answer(self, block: bytes) -> None:
        self.of_borg = True
        if self._on_answer is not None:
            self._on_answer(block)


async def _listen(read: Callable[[int], Awaitable[bytes]], on_output: OnOutput | None) -> list[LogLine]:
    """Read stderr to its end, passing each message on; return the last ones of many."""
    lines: deque[LogLine] = deque(maxlen=_LINES_KEPT)

    def hear(raw: bytes) -> None:
        for output in parse_line(raw):
            if isinstance(output, LogLine):
                lines.append(output)
            if on_output is not None:
                on_output(output)

    if dropped := await each_line(read, hear):
        hear(CUT.format(dropped).encode())
    return list(lines)


async def _hand_on(read: Callable[[int], Awaitable[bytes]], on_answer: Callable[[bytes], None]) -> tuple[bytes, int]:
    turn = Turn()
    while block := await read(_BLOCK):
        on_answer(block)
        await turn.give()
    return b"", 0


async def _join(
    process: asyncio.subprocess.Process,
    read: Callable[[int], Awaitable[bytes]],
    write: Callable[[bytes], Awaitable[None]],
) -> None:
    stdin, stdout = cast("asyncio.StreamWriter", process.stdin), cast("asyncio.StreamReader", process.stdout)

    async def up() -> None:
        try:
            while data := await read(_BLOCK):
                stdin.write(data)
                await stdin.drain()
        finally:
            stdin.close()  # whatever ended the client's side, borg serve must hear of it

    async def down() -> None:
        while data := await stdout.read(_BLOCK):
            await write(data)
            if len(data) < _SMALL:  # borg answers each of thousands of puts: together they cost a packet, not one each
                await asyncio.sleep(_GATHER_SECONDS)

    sending = asyncio.create_task(up())
    try:
        await down()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _end(process: asyncio.subprocess.Process, patience: float = _STOP_SECONDS) -> None:
    """Wait a moment for a process group's own end, then SIGTERM, then SIGKILL; returns when it is gone."""
    ended = asyncio.create_task(process.wait())
    for number, seconds in ((0, _OWN_END_SECONDS), (signal.SIGTERM, patience), (signal.SIGKILL, patience)):
        if process.returncode is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        await asyncio.wait({ended}, timeout=seconds)  # no timeout that cancels: this runs while it is cancelled already
    ended.cancel()


def _to_read(secret: bytes) -> int:
    """Return the number of a pipe that holds a secret, to be passed on under this number."""
    reader, writer = os.pipe()
    try:
        os.write(writer, secret)
        # Under the lowest free number, as after a broken connection, it could be one that guard.sh opens for itself:
        # borg would read its lock file, or nothing.
        return fcntl.fcntl(reader, fcntl.F_DUPFD_CLOEXEC, _ABOVE_SHELLS)
    finally:
        os.close(reader)
        os.close(writer)


def _write(path: Path, text: str) -> None:
    """Replace a file in one step; a reader sees the old or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
