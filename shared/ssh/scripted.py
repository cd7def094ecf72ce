"""A server that answers from a script: for unit tests; keeps to the same contract as asyncssh."""
# ruff: noqa: ARG002 - the port names arguments that a script has no use for

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.domain.messages.servers import LOGIN_REFUSED_SCRIPTED, SERVER_UNREACHABLE_SCRIPTED
from shared.errors import Permanent, Transient
from shared.ssh.port import STDERR, STDOUT, Completed, HostKeyChanged

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from shared.ssh.port import ByteReader, ByteWriter, Connection, Credentials, Feed, RawLines, Ssh, Target

Answer = tuple[int, str, str]


@dataclass
class ScriptedServer:
    """What one address shows, whom it lets in, and what it answers; `seen` keeps what it was asked."""

    host_key: str
    password: str | None = None
    private_key: str | None = None
    answer: Callable[[str, tuple[str, ...], str], Answer] = lambda _script, _args, _stdin: (0, "", "")
    seen: list[tuple[str, tuple[str, ...]]] = field(default_factory=list[tuple[str, tuple[str, ...]]])


class ScriptedSsh:
    """Connections to scripted servers by (host, port)."""

    def __init__(self, servers: dict[tuple[str, int], ScriptedServer]) -> None:
        """Take the servers that exist; all other addresses refuse."""
        self._servers = servers

    async def host_key(self, host: str, port: int) -> str:
        """Return what the server shows."""
        return self._server(host, port).host_key

    @contextlib.asynccontextmanager
    async def connect(self, target: Target, credentials: Credentials) -> AsyncGenerator[Connection]:
        """Log in as the script allows."""
        server = self._server(target.host, target.port)
        if server.host_key != target.host_key:
            raise HostKeyChanged(target.name, target.host_key, server.host_key)
        by_password = credentials.password is not None and credentials.password == server.password
        by_key = credentials.private_key is not None and credentials.private_key == server.private_key
        if not (by_password or by_key):
            raise Permanent(LOGIN_REFUSED_SCRIPTED(server=target.name))
        yield _Connection(server)

    def _server(self, host: str, port: int) -> ScriptedServer:
        server = self._servers.get((host, port))
        if server is None:
            raise Transient(SERVER_UNREACHABLE_SCRIPTED(host=host, port=port))
        return server


class _Connection:
    def __init__(self, server: ScriptedServer) -> None:
        self._server = server

    def elevated(self) -> Connection:
        return self

    async def run(self, script: str, *args: str, stdin: str = "", seconds: float = 60.0) -> Completed:
        self._server.seen.append((script, args))
        return Completed(*self._server.answer(script, args, stdin))

    async def run_fed(self, script: str, *args: str, feed: Feed, silence: float) -> Completed:
        taken = bytearray()

        async def write(data: bytes) -> None:
            taken.extend(data)

        await feed(write)
        return await self.run(script, *args, stdin=taken.decode(errors="replace"))

    async def run_leashed(
        self,
        argv: Sequence[str],
        *,
        secret: str,
        on_line: Callable[[str], None],
        gentle: Callable[[], bool],
        silence: float,
        scratch: str = "",
        raw: RawLines | None = None,
    ) -> Completed:
        self._server.seen.append(("leashed", tuple(argv)))
        status, stdout, stderr = self._server.answer("leashed", tuple(argv), secret)
        if raw is not None:
            for stream, text in ((STDOUT, stdout), (STDERR, stderr)):
                for line in text.splitlines():
                    raw(stream, line.encode())
            return Completed(status, "", "")
        for line in stderr.splitlines():
            on_line(line)
        return Completed(status, stdout, "")

    @contextlib.asynccontextmanager
    async def listen(
        self, path: str, handler: Callable[[ByteReader, ByteWriter], Awaitable[None]]
    ) -> AsyncGenerator[None]:
        self._server.seen.append(("listen", (path,)))
        yield


if TYPE_CHECKING:
    _: type[Ssh] = ScriptedSsh
