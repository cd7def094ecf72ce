"""The manager's end of leash.sh: beats, reads with bounds, notices silence, and knows when the command is over."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from shared.domain.lines import CUT, LONGEST_LINE, LineCutter, ShownLines
from shared.domain.messages.servers import COMMAND_SILENT_SERVER
from shared.domain.messages.ssh_causes import LEASH
from shared.domain.reading import Turn, clean_all
from shared.domain.text import clean
from shared.errors import Transient
from shared.ssh.frame import Answer, End
from shared.ssh.port import STDERR, STDOUT, Completed
from shared.ssh.refusals import connection_lost, not_begun, status_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.ssh.port import RawLines

LEASH_SH = files("shared.ssh").joinpath("leash.sh").read_text()
STOP_SECONDS = 50.0
"""leash.sh takes 40 s at most to end a command that is to write a checkpoint first."""
_BEAT_SECONDS = 3.0
_LAST_SECONDS = 1.0
"""How long a stream that nobody answers for is read on, once the command is over."""
_BLOCK = 64 * 1024
_STDOUT_LIMIT = 1024 * 1024
_TAG = "borgfleet-leash: "
_LEFT = (
    f"{_TAG}the command ended, but left a process running in the background that holds its output or its group; "
    "it was not waited for"
)


class Leash:
    """One command under leash.sh."""

    def __init__(
        self, process: Any, token: str, on_line: Callable[[str], None], name: str, raw: RawLines | None = None
    ) -> None:
        """Take the channel's process, the token of the marks, who hears the lines of stderr, and the server's name.

        With `raw`, that one hears both outputs as they come, and `on_line` what the leash itself has to say.
        """
        self._process = process
        self._on_line = on_line
        self._name = name
        self._answer = Answer(token, _BLOCK if raw else _STDOUT_LIMIT)
        self._said = _Lines(token, on_line, partial(raw, STDERR) if raw else None)
        self._heard = _Lines(token, on_line, partial(raw, STDOUT)) if raw else None
        self._heard_at = asyncio.get_running_loop().time()
        self._silent = False

    async def run(self, silence: float) -> Completed:
        """Read both outputs until the command ends."""
        beat = asyncio.create_task(self._beat(silence))
        try:
            end = await self._read()
            await self._close(end)
        finally:
            beat.cancel()
        if self._silent:
            raise Transient(COMMAND_SILENT_SERVER(server=self._name, seconds=silence))
        if end is None:
            raise self._without_end()
        if self._said.tagged and (cause := LEASH.get(end.status)):
            raise cause.error(self._said.tagged, where=self._name)
        output = b"" if self._heard else self._answer.output
        return Completed(end.status, await clean_all(output), "", left=end.left)

    def stop(self, *, gentle: bool) -> None:
        """Ask leash.sh to stop the command; by SIGINT when gentle."""
        with contextlib.suppress(OSError):
            if gentle:
                self._process.stdin.write_eof()
            else:
                self._process.stdin.write(b"cancel\n")

    async def _read(self) -> End | None:
        """Read until both outputs have their end mark, or, where the shell itself died, until they are closed."""
        stdout, stderr = asyncio.create_task(self._read_stdout()), asyncio.create_task(self._read_stderr())
        try:
            await asyncio.wait({stdout, stderr}, return_when=asyncio.FIRST_COMPLETED)
            marked = self._answer.end is not None or self._said.end is not None
            # A mark on one output is followed by one on the other; a closed output by nothing that is sure.
            await asyncio.wait({stdout, stderr}, timeout=None if marked else _LAST_SECONDS)
            for task in (stdout, stderr):
                if task.done():
                    task.result()
        finally:
            stdout.cancel()
            stderr.cancel()
            await asyncio.wait({stdout, stderr})
        if self._answer.dropped and self._heard is None:
            self._on_line(f"{self._answer.dropped} bytes of standard output were too many and were left out")
        return self._said.end or self._answer.end

    async def _read_stdout(self) -> None:
        turn = Turn()
        try:
            while self._answer.end is None and (block := await self._process.stdout.read(_BLOCK)):
                self._heard_at = asyncio.get_running_loop().time()
                self._answer.feed(block)
                if self._heard is not None:
                    await self._heard.feed(block, turn)
                await turn.give()
        finally:
            if self._heard is not None:
                self._heard.close()

    async def _read_stderr(self) -> None:
        turn = Turn()
        try:
            while self._said.end is None and (block := await self._process.stderr.read(_BLOCK)):
                self._heard_at = asyncio.get_running_loop().time()
                await self._said.feed(block, turn)
                await turn.give()
        finally:
            self._said.close()

    async def _close(self, end: End | None) -> None:
        """Wait a moment for the channel's end; who still holds an output is said, and not waited for."""
        closed = asyncio.ensure_future(self._process.wait_closed())
        done, _ = await asyncio.wait({closed}, timeout=_LAST_SECONDS)
        closed.cancel()
        if end is not None and (end.left or not done):
            self._on_line(_LEFT)

    def _without_end(self) -> Exception:
        if self._said.begun:
            return connection_lost(self._name)
        status = status_of(self._process.returncode)
        if status is None:
            return connection_lost(self._name)
        return not_begun(self._name, status, self._said.noise, self._answer.noise)

    async def _beat(self, silence: float) -> None:
        loop = asyncio.get_running_loop()
        stopped_at = 0.0
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            with contextlib.suppress(OSError):
                self._process.stdin.write(b"beat\n")
            now = loop.time()
            if now - self._heard_at > silence and not self._silent:
                self._silent, stopped_at = True, now
                self.stop(gentle=False)
            if self._silent and now - stopped_at > STOP_SECONDS:
                self._process.channel.abort()  # the shell over there does not answer either


class _Lines:
    """Lines of an output between the marks; the empty line that begins the end mark is not the command's."""

    def __init__(self, token: str, on_line: Callable[[str], None], raw: Callable[[bytes], None] | None) -> None:
        self._begin = f"{token} ".encode()
        self._ended = f"{token} end ".encode()
        self._on_line = on_line
        self._raw = raw
        self._empty = False
        self._cutter = ShownLines() if raw else LineCutter()
        self.noise = b""
        self.begun = False
        self.end: End | None = None
        self.tagged = ""

    async def feed(self, block: bytes, turn: Turn) -> None:
        for line in self._cutter.feed(block):
            self._hear(line)
            await turn.give()

    def _hear(self, raw: bytes) -> None:
        if self.end is not None:
            return
        if not self.begun:
            before, found, _ = raw.partition(self._begin)
            self.begun = bool(found)
            self.noise = (self.noise + before + b"\n")[:_BLOCK]
            return
        if self._empty:
            self._empty = False
            if not raw.startswith(self._ended):
                self._tell(b"")
        if not raw:
            self._empty = True
        elif raw.startswith(self._ended):
            status, left = raw.split()[-2:]
            self.end = End(int(status), left == b"1")
        else:
            self._tell(raw)

    def close(self) -> None:
        """Hand on what came after the last newline, too: it may be the command's last word."""
        for line in self._cutter.end():
            self._hear(line)
        if self._cutter.dropped:
            self._on_line(CUT.format(self._cutter.dropped))

    def _tell(self, line: bytes) -> None:
        tagged = line.startswith(_TAG.encode())
        if tagged:
            self.tagged = clean(line, LONGEST_LINE).removeprefix(_TAG)
        if self._raw is None or tagged:
            self._on_line(clean(line, LONGEST_LINE))
        else:
            self._raw(line)
