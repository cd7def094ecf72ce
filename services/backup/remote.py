"""The server's side of a run: borg there, over one SSH connection, by either transport."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING

from services.backup.ports import Made
from shared.borg import commands, environment, output
from shared.borg.exit_codes import failure
from shared.borg.output import LogLine, Phase, Progress
from shared.errors import Transient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from services.backup.ports import BackupPlan, Servers, ServerSession
    from shared.borg.node import BorgNode, Grant
    from shared.ssh.port import ByteReader, ByteWriter, Completed, Connection, Ssh

_SOURCES = 'for p in "$@"; do if [ -e "$p" ] || [ -L "$p" ]; then echo 1; else echo 0; fi; done'
_HOME = 'printf "%s" "$HOME"'
_KEPT_LINES = 500


class RemoteServers:
    """Connects to servers and runs borg there."""

    def __init__(self, ssh: Ssh, node: BorgNode, silence: float) -> None:
        """Take SSH, this node (which serves the tunnel), and how long borg may be silent."""
        self._ssh = ssh
        self._node = node
        self._silence = silence

    @contextlib.asynccontextmanager
    async def session(self, plan: BackupPlan, gentle: Callable[[], bool]) -> AsyncGenerator[ServerSession]:
        """Connect once for the whole run."""
        async with self._ssh.connect(plan.target, plan.credentials) as connection:
            yield _Session(connection, plan, self._node, self._silence, gentle)


class _Session:
    def __init__(
        self, connection: Connection, plan: BackupPlan, node: BorgNode, silence: float, gentle: Callable[[], bool]
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._node = node
        self._silence = silence
        self._gentle = gentle

    async def missing_sources(self) -> list[str]:
        sources = list(self._plan.options.sources)
        done = await self._connection.run(_SOURCES, *sources)
        there = done.stdout.split()
        if len(there) != len(sources):
            message = f"{self._plan.target.name} did not answer for every source path"
            raise Transient(
                message, code="server_garbled", remedy="log in by hand and look at the shell's start-up files"
            )
        return [source for source, found in zip(sources, there, strict=True) if found != "1"]

    async def hook(self, script: str, seconds: int) -> int:
        argv = ["sh", "-c", script]
        async with asyncio.timeout(seconds):
            done = await self._leashed(argv, lambda _line: None, silence=float(seconds) + 60)
        return done.exit_status

    async def create(self, grant: Grant, archive: str, on_output: Callable[[LogLine | Progress | Phase], None]) -> Made:
        collect = _Collector(on_output)
        plan = self._plan
        location = environment.location(plan.endpoint.alias, plan.repository.path)
        argv = commands.create("borg", location, archive, plan.options)
        if plan.transport == "direct":
            done = await self._create(argv, await self._direct(), grant, collect)
        else:
            path = f"/tmp/borgfleet-{secrets.token_hex(16)}.sock"  # noqa: S108 - unguessable, mode 0600, removed by leash.sh
            async with self._connection.listen(path, lambda r, w: self._serve(grant, r, w)):
                done = await self._create(argv, environment.relay_command(path), grant, collect, scratch=path)
        status, stdout = done
        if error := failure(status, collect.lines):
            raise error
        figures, repository = output.parse_create(stdout)
        return Made(figures, repository, status, tuple(collect.lines))

    async def _create(
        self, argv: Sequence[str], rsh: str, grant: Grant, collect: _Collector, scratch: str = ""
    ) -> tuple[int, str]:
        own = self._plan.backup_job_id.hex
        variables = environment.as_argv(environment.on_server(rsh, grant.token, files_cache=own))
        done = await self._leashed(
            [*variables, *argv],
            collect,
            silence=self._silence,
            secret=self._plan.repository.passphrase,
            scratch=scratch,
        )
        return done.exit_status, done.stdout

    async def _leashed(
        self,
        argv: Sequence[str],
        on_line: Callable[[str], None],
        *,
        silence: float,
        secret: str = "",
        scratch: str = "",
    ) -> Completed:
        return await self._connection.run_leashed(
            argv, secret=secret, on_line=on_line, gentle=self._gentle, silence=silence, scratch=scratch
        )

    async def _direct(self) -> str:
        home = (await self._connection.run(_HOME)).stdout or "/root"
        key = f"{home}/.ssh/borgfleet_ed25519"
        return environment.ssh_command(self._plan.endpoint, key, f"{home}/.ssh/borgfleet_known_hosts")

    async def _serve(self, grant: Grant, reader: ByteReader, writer: ByteWriter) -> None:
        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        try:
            await self._node.serve(grant, reader.read, write)
        finally:
            writer.close()


class _Collector:
    """Keeps borg's messages, bounded, and passes everything on."""

    def __init__(self, on_output: Callable[[LogLine | Progress | Phase], None]) -> None:
        self._on_output = on_output
        self.lines: list[LogLine] = []

    def __call__(self, line: str) -> None:
        for parsed in output.parse_line(line):
            if isinstance(parsed, LogLine):
                # The last message says why borg failed: it always finds room.
                self.lines = [*self.lines[: _KEPT_LINES - 1], parsed]
            self._on_output(parsed)


if TYPE_CHECKING:
    _: type[Servers] = RemoteServers
