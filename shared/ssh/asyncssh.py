"""SSH on asyncssh; the only file that knows it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import asyncssh

from shared.domain.messages.servers import HOST_KEY_CHANGED_HANDSHAKE, SERVER_UNREACHABLE_NO_KEY
from shared.domain.messages.ssh_causes import CUT_SHORT, LOGIN_BROKEN_OFF, LOST, STALLED, TOO_LONG
from shared.domain.names import shown_address
from shared.domain.reading import Turn, clean_all
from shared.errors import AppError, Transient
from shared.ssh.frame import Answer, End, framed, new_token
from shared.ssh.last_words import Connector
from shared.ssh.leash import LEASH_SH, STOP_SECONDS, Leash
from shared.ssh.one_line import one_line
from shared.ssh.port import Completed, HostKeyChanged
from shared.ssh.refusals import connection_lost, not_begun, refusal, status_of, timed_out

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from shared.config.settings import SshSettings
    from shared.domain.cause import Cause
    from shared.ssh.port import ByteReader, ByteWriter, Connection, Credentials, Feed, RawLines, Ssh, Target

_BLOCK = 64 * 1024
_WINDOW = 8 * 1024 * 1024
_ANSWER_LIMIT = 8 * 1024 * 1024
_LAST_SECONDS = 1.0
"""How long an output is read on that somebody holds open, though the shell that began the command is gone."""
_END_SECONDS = 10.0
_END = r"""
case $(tr '\0' ' ' <"/proc/$1/cmdline") in *"$2"*) ;; *) exit 0 ;; esac
read -r stat <"/proc/$1/stat" || exit 0
set -- ${stat##*) }
kill -TERM "-$3"; sleep 1; kill -KILL "-$3"
"""
"""Ends the process group of a shell, given its process id and, so that no other one is hit, its token."""
_FED = "IFS= read -r borgfleet_fed || exit 1\n"
"""Waits for the line before its input: whose feed never began has no empty input either."""
_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
"""First those that processors have instructions for, then asyncssh's own order."""
_OUR_KEYS = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512"]


class AsyncSsh:
    """Opens connections with asyncssh; reads no configuration, no agent and no known_hosts of this machine."""

    def __init__(self, settings: SshSettings) -> None:
        """Take how long to wait for a connection, and the keep-alive."""
        self._settings = settings

    async def host_key(self, host: str, port: int) -> str:
        """Ask a server for its host key without logging in."""
        connector = Connector()
        try:
            with _translated(shown_address(host, port)):
                async with asyncio.timeout(self._settings.connect_timeout):
                    key = await asyncssh.get_server_host_key(
                        host, port, tunnel=cast("Any", connector), config=None, server_host_key_algs=_OUR_KEYS
                    )
        except Transient as error:
            if connector.connected and isinstance(error.__cause__, TimeoutError):
                raise STALLED.error("", where=shown_address(host, port)) from error
            raise
        if key is None:
            raise Transient(SERVER_UNREACHABLE_NO_KEY(address=shown_address(host, port)))
        return _text(key)

    @contextlib.asynccontextmanager
    async def connect(self, target: Target, credentials: Credentials) -> AsyncGenerator[Connection]:
        """Log in to a server whose host key is the pinned one."""
        trusted = asyncssh.import_public_key(target.host_key)
        keys = [asyncssh.import_private_key(credentials.private_key)] if credentials.private_key else []
        handshake = _Handshake()
        name = f"{target.name} ({target.username}@{shown_address(target.host, target.port)})"
        try:
            with _translated(name):
                connection = await asyncssh.connect(
                    target.host,
                    target.port,
                    tunnel=cast("Any", Connector()),
                    client_factory=lambda: handshake,
                    username=target.username,
                    client_keys=keys or None,
                    password=credentials.password,
                    preferred_auth=("publickey" if keys else "password,keyboard-interactive"),
                    known_hosts=([trusted], [], []),
                    config=None,
                    agent_path=None,
                    encryption_algs=_CIPHERS,
                    connect_timeout=self._settings.connect_timeout,
                    login_timeout=self._settings.login_timeout,
                    keepalive_interval=self._settings.keepalive_interval,
                    keepalive_count_max=self._settings.keepalive_count_max,
                )
        except (_KeyMismatch, Transient) as error:
            if cause := handshake.better(error):
                raise cause.error("", where=name) from error
            if isinstance(error, Transient) and not handshake.lacks(trusted):
                raise
            offered = await self.host_key(target.host, target.port)
            raise HostKeyChanged(target.name, target.host_key, offered) from error
        try:
            yield _Connection(connection, target)
        finally:
            connection.close()
            with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
                async with asyncio.timeout(2):
                    await connection.wait_closed()


class _Connection:
    def __init__(self, connection: asyncssh.SSHClientConnection, target: Target) -> None:
        self._connection = connection
        self._target = target

    def elevated(self) -> Connection:
        return _Connection(self._connection, replace(self._target, sudo=True))

    async def run(self, script: str, *args: str, stdin: str = "", seconds: float = 60.0) -> Completed:
        once = _Once(self._target.name)
        ended = False
        try:
            async with asyncio.timeout(seconds):
                with _translated(self._target.name, LOST):
                    done = await once.run(self._start(framed(script), once.token, args), stdin)
            ended = True
        except TimeoutError as error:
            raise timed_out(self._target.name, seconds, begun=once.pid is not None) from error
        finally:
            once.close()
            if not ended and once.pid is not None:
                await self._end(once.pid, once.token)
        return done

    async def run_fed(self, script: str, *args: str, feed: Feed, silence: float) -> Completed:
        once = _Once(self._target.name)
        ended = False
        try:
            with _translated(self._target.name, LOST):
                done = await once.fed(self._start(framed(_FED + script), once.token, args), feed, silence)
            ended = True
        finally:
            # A closed channel is the end of its input: it would take what it has for all.
            try:
                if not ended and once.pid is not None:
                    await self._end(once.pid, once.token)
            finally:
                once.close()
        return done

    async def _end(self, pid: int, token: str) -> None:
        """End a command that was given up: closing its channel leaves it running."""
        once = _Once(self._target.name)
        with contextlib.suppress(AppError, TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                with _translated(self._target.name, LOST):
                    await once.run(self._start(framed(_END), once.token, [str(pid), token]), "")
        once.close()

    async def _start(self, script: str, token: str, args: Sequence[str]) -> Any:
        line = one_line(script, token, args, sudo=self._target.sudo)
        return await self._connection.create_process(line, encoding=None, window=_WINDOW)

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
        token = new_token()
        with _translated(self._target.name, LOST):
            process = await self._start(LEASH_SH, token, [scratch, *argv])
        leash = Leash(process, token, on_line, self._target.name, raw)
        with contextlib.suppress(OSError):  # a shell that is none may have ended already: its end says why
            process.stdin.write(secret.encode() + b"\n")
        run = asyncio.create_task(self._leashed(leash, silence))
        try:
            return await asyncio.shield(run)
        except asyncio.CancelledError:
            leash.stop(gentle=gentle())
            await asyncio.wait({run}, timeout=STOP_SECONDS)
            raise
        finally:
            run.cancel()
            await asyncio.wait({run})
            process.close()

    async def _leashed(self, leash: Leash, silence: float) -> Completed:
        with _translated(self._target.name, LOST):
            return await leash.run(silence)

    @contextlib.asynccontextmanager
    async def listen(
        self, path: str, handler: Callable[[ByteReader, ByteWriter], Awaitable[None]]
    ) -> AsyncGenerator[None]:
        with _translated(self._target.name, LOST):
            listener = await self._connection.start_unix_server(lambda: handler, path, encoding=None, window=_WINDOW)
        try:
            yield
        finally:
            listener.close()


class _Once:
    """A short command: its channel, and what it said between its marks."""

    def __init__(self, name: str) -> None:
        self.token = new_token()
        self._name = name
        self._process: Any = None
        self._began = asyncio.Event()
        self._stdout, self._stderr = Answer(self.token, _ANSWER_LIMIT), Answer(self.token, _ANSWER_LIMIT)

    @property
    def pid(self) -> int | None:
        """The remote shell's process id, once the command began."""
        return self._stdout.pid

    async def run(self, starting: Awaitable[Any], stdin: str) -> Completed:
        """Feed it its input and read it to its end."""
        process = self._process = await starting
        with contextlib.suppress(OSError):  # it may end without having read it
            process.stdin.write(stdin.encode())
            process.stdin.write_eof()
        return await self._answered(process)

    async def fed(self, starting: Awaitable[Any], feed: Feed, silence: float) -> Completed:
        """Let its input be written while it runs, and read it to its end."""
        process = self._process = await starting
        answer = asyncio.create_task(self._answered(process))

        async def write(data: bytes) -> None:
            process.stdin.write(data)
            await self._within(silence, process.stdin.drain())

        async def fed() -> None:
            await self._within(silence, self._began.wait())
            await write(b"\n")
            await feed(write)

        feeding = asyncio.create_task(fed())
        try:
            await asyncio.wait({answer, feeding}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its own end says why
                    feeding.result()
                    process.stdin.write_eof()
                await self._within(silence, asyncio.wait({answer}))
            elif feeding.done():
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    feeding.result()
            return await answer
        finally:
            for task in (feeding, answer):
                task.cancel()
            await asyncio.gather(feeding, answer, return_exceptions=True)

    async def _within(self, silence: float, work: Awaitable[Any]) -> None:
        try:
            async with asyncio.timeout(silence):
                await work
        except TimeoutError as error:
            message = f"{self._name}: the command took nothing for {silence:.0f} seconds and was stopped"
            remedy = "look at the server's load, disks and network mounts"
            raise Transient(message, code="command_silent", remedy=remedy) from error

    async def _answered(self, process: Any) -> Completed:
        errors = asyncio.create_task(self._read(process.stderr, self._stderr))
        try:
            await self._read(process.stdout, self._stdout)
            # Its end mark on one output is followed by one on the other; a closed output by nothing that is sure.
            await asyncio.wait({errors}, timeout=None if self._stdout.end else _LAST_SECONDS)
            if errors.done():
                errors.result()
        finally:
            errors.cancel()
            await asyncio.wait({errors})
        return await self._completed(process)

    async def _completed(self, process: Any) -> Completed:
        end = self._stdout.end or self._stderr.end
        if end is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await process.wait_closed()
            status = status_of(process.returncode)
            if status is None:
                raise connection_lost(self._name)
            if self.pid is None:
                raise not_begun(self._name, status, self._stderr.noise, self._stdout.noise)
            end = End(status, left=False)
        return Completed(end.status, await clean_all(self._stdout.output), await clean_all(self._stderr.output))

    def close(self) -> None:
        """Close the channel, if there is one."""
        if self._process is not None:
            self._process.close()

    async def _read(self, output: Any, answer: Answer) -> None:
        """Read an output to its end; a server that says too much would fill our memory."""
        turn = Turn()
        while answer.end is None and (block := await output.read(_BLOCK)):
            answer.feed(block)
            if self.pid is not None:
                self._began.set()
            if answer.dropped:
                raise TOO_LONG.error(f"more than {_ANSWER_LIMIT >> 20} MiB", where=self._name)
            await turn.give()


class _KeyMismatch(AppError):
    """The key that was offered is not the pinned one; whoever meets it asks for the key, and tells both."""


class _translated:  # noqa: N801 - reads as a phrase: with _translated(name)
    """Turns what SSH raises into our errors; `lost` is what a broken connection means here."""

    def __init__(self, name: str, lost: Cause = CUT_SHORT) -> None:
        self._name = name
        self._lost = lost

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, asyncssh.HostKeyNotVerifiable):
            raise _KeyMismatch(HOST_KEY_CHANGED_HANDSHAKE(error=str(error))) from error
        if isinstance(error, (asyncssh.ConnectionLost, ConnectionError)) and self._lost is LOST:
            raise connection_lost(self._name) from error
        if isinstance(error, (OSError, asyncssh.Error, asyncssh.ChannelListenError)):
            raise refusal(self._name, type(error).__name__, error) from error


class _Handshake(asyncssh.SSHClient):
    """Remembers what the server offered, so that a handshake that it broke off can be understood."""

    def __init__(self) -> None:
        self._connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn

    def better(self, error: AppError) -> Cause | None:
        """Return what an error means by how far the connection had come, where that says more than the error."""
        if self._connection is None:
            return None
        # Once both have agreed on their keys, what ends the connection ends the login.
        if isinstance(error.__cause__, asyncssh.ConnectionLost) and self._connection.get_extra_info("send_cipher"):
            return LOGIN_BROKEN_OFF
        return STALLED if isinstance(error.__cause__, TimeoutError) else None

    def lacks(self, pinned: asyncssh.SSHKey) -> bool:
        """Tell whether the server has host keys, but none of the pinned one's kind: it closes without a word then."""
        offer: bytes = getattr(self._connection, "_server_kexinit", b"")
        lists = offer[1 + 16 :]  # behind the kind of message and the cookie: key exchanges, then host keys
        host_keys = _name_list(lists[4 + int.from_bytes(lists[:4], "big") :])
        return bool(host_keys) and not set(pinned.sig_algorithms) & set(host_keys)


def _name_list(data: bytes) -> list[bytes]:
    return data[4 : 4 + int.from_bytes(data[:4], "big")].split(b",") if data else []


def _text(key: asyncssh.SSHKey) -> str:
    algorithm, blob, *_ = key.export_public_key("openssh").decode().split()
    return f"{algorithm} {blob}"


def new_key_pair(comment: str) -> tuple[str, str]:
    """Return a fresh ed25519 key: private (OpenSSH PEM) and public line."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
    return key.export_private_key("openssh").decode(), key.export_public_key("openssh").decode().strip()


if TYPE_CHECKING:
    _: type[Ssh] = AsyncSsh
