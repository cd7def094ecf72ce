"""The server's side of a run: borg there, over one SSH connection, by either transport."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from services.backup.create.own_places import SCRIPT as OWN_PLACES
from services.backup.create.own_places import SECONDS as OWN_SECONDS
from services.backup.create.own_places import read_places
from services.backup.create.sources import SCRIPT as SOURCES
from services.backup.create.sources import SECONDS as SOURCE_SECONDS
from services.backup.create.sources import read_sources
from services.backup.ports import Made
from services.backup.truth.tally import Tally
from shared.borg import commands, environment, output
from shared.borg.exit_codes import failure
from shared.borg.output import LogLine, Phase, Progress
from shared.domain.messages.source_reasons import NODE_DATA, THE_POOL
from shared.domain.text import clean
from shared.errors import Transient
from shared.ssh.port import STDERR

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from services.backup.create.hooks import HookOutput
    from services.backup.create.own_places import OwnPlace
    from services.backup.ports import BackupPlan, Servers, ServerSession
    from services.backup.truth.evidence import Source
    from shared.borg.node import BorgNode, Grant
    from shared.ssh.port import ByteReader, ByteWriter, Completed, Connection, RawLines, Ssh

_HOME = 'printf "%s" "$HOME"'
_ANSWER_SECONDS = 60.0
"""What the server may need besides to answer: it may be busy."""


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

    async def probe_sources(self) -> tuple[Source, ...]:
        sources = list(self._plan.options.sources)
        done = await self._connection.run(
            SOURCES, str(SOURCE_SECONDS), *sources, seconds=SOURCE_SECONDS + _ANSWER_SECONDS
        )
        if done.exit_status != 0:
            message = f"{self._plan.target.name} cannot look at the source paths: {clean(done.stderr, 300).strip()}"
            remedy = "see that its directory for temporary files is there, writable and not full"
            raise Transient(message, code="server_tmp", remedy=remedy)
        return read_sources(sources, done.stdout)

    async def own_places(self, sources: Sequence[str]) -> tuple[OwnPlace, ...]:
        state, pools = self._node.state_dir, self._plan.pools
        known = "\n".join([*(path for _, path in pools.values()), str(state), str(state.parent)])
        seconds = SOURCE_SECONDS + _ANSWER_SECONDS
        done = await self._connection.run(OWN_PLACES, str(OWN_SECONDS), known, *sources, seconds=seconds)
        marks = {key: THE_POOL(pool=name) for key, (name, _) in pools.items()}
        marks[self._node.host_id] = NODE_DATA(node=self._plan.endpoint.alias)
        return read_places(sources, done.stdout, marks)

    async def hook(self, script: str, seconds: float, variables: Mapping[str, str], heard: HookOutput) -> None:
        # After `--` a script that begins with a dash is no option of the shell's.
        argv = [*environment.as_argv(dict(variables)), "sh", "-c", "--", script]
        now = asyncio.get_running_loop().time
        end = now() + seconds

        def read_line(stream: int, line: bytes) -> None:
            # What it says while it is stopped is not why.
            heard.add(line, error=stream == STDERR, reason=now() < end)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                done = await self._leashed(argv, heard.note, silence=seconds + 60, raw=read_line)
                heard.status = done.exit_status

    async def create(
        self,
        grant: Grant,
        archive: str,
        sources: Sequence[str],
        left_out: Sequence[OwnPlace],
        on_output: Callable[[LogLine | Progress | Phase], None],
    ) -> Made:
        plan = self._plan
        collect = _Collector(on_output, sources)
        location = environment.location(plan.endpoint.alias, plan.repository.path)
        # Ours come first: borg goes by the first rule that matches.
        patterns = [*(place.rule for place in left_out), *plan.options.patterns]
        options = replace(plan.options, sources=sources, patterns=patterns)
        argv = commands.create("borg", location, archive, options)
        if plan.transport == "direct":
            done = await self._create(argv, await self._direct(), grant, collect)
        else:
            path = f"/tmp/borgfleet-{secrets.token_hex(16)}.sock"  # noqa: S108 - unguessable, mode 0600, removed by leash.sh
            async with self._connection.listen(path, lambda r, w: self._serve(grant, r, w)):
                done = await self._create(argv, environment.relay_command(path), grant, collect, scratch=path)
        return _made(*done, collect.tally, plan.repository.path)

    async def _create(
        self, argv: Sequence[str], rsh: str, grant: Grant, collect: _Collector, scratch: str = ""
    ) -> tuple[int, str]:
        own = self._plan.backup_job_id.hex
        repository = self._plan.repository
        expected = environment.unencrypted() if repository.unencrypted else {}
        # Its own borg may have written there, by another URL, until today: the first run of ours expects that.
        expected |= environment.relocated() if repository.taken_over else {}
        on_server = environment.on_server(rsh, grant.token, files_cache=own)
        variables = environment.as_argv(on_server | expected)
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
        raw: RawLines | None = None,
    ) -> Completed:
        return await self._connection.run_leashed(
            argv, secret=secret, on_line=on_line, gentle=self._gentle, silence=silence, scratch=scratch, raw=raw
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
    """Counts borg's messages and passes everything on."""

    def __init__(self, on_output: Callable[[LogLine | Progress | Phase], None], sources: Sequence[str]) -> None:
        self._on_output = on_output
        self.tally = Tally(sources)

    def __call__(self, line: str) -> None:
        for parsed in output.parse_line(line):
            if isinstance(parsed, LogLine):
                self.tally(parsed)
            self._on_output(parsed)


def _made(status: int, stdout: str, tally: Tally, pool: str) -> Made:
    ended = tally.ended(status)
    if error := failure(status, tally.lines, pool=pool, answered="{" in stdout):
        return Made(ended, error=error)
    try:
        archive, repository = output.parse_create(stdout)
    except Transient as error:  # the archive is there; what borg said of it is not to be had again
        tally(LogLine("info", f"{error.code}: {error.message}"))
        return Made(ended)
    return Made(ended, archive, repository)


if TYPE_CHECKING:
    _: type[Servers] = RemoteServers
