"""SSH on asyncssh; the only file that knows it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shlex
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import asyncssh

from shared.domain.names import shown_address
from shared.errors import AppError, Permanent, Transient
from shared.ssh.port import Completed, HostKeyChanged

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from shared.config.settings import SshSettings
    from shared.ssh.port import ByteReader, ByteWriter, Connection, Credentials, Ssh, Target

_LEASH = files("shared.ssh").joinpath("leash.sh").read_text()
_BLOCK = 64 * 1024
_BEAT_SECONDS = 3.0
_STOP_SECONDS = 50.0
_STDOUT_LIMIT = 64 * 1024 * 1024
_ANSWER_LIMIT = 8 * 1024 * 1024
_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
"""First those that processors have instructions for, then asyncssh's own order."""
_OUR_KEYS = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512"]


class AsyncSsh:
    """Opens connections with asyncssh; reads no configuration, no agent and no known_hosts of this machine."""

    def __init__(self, settings: SshSettings) -> None:
        """Take the patience for connecting and the keep-alive."""
        self._settings = settings

    async def host_key(self, host: str, port: int) -> str:
        """Ask a server for its host key without logging in."""
        with _translated(shown_address(host, port)):
            async with asyncio.timeout(self._settings.connect_timeout):
                key = await asyncssh.get_server_host_key(host, port, config=None, server_host_key_algs=_OUR_KEYS)
        if key is None:
            message = f"{shown_address(host, port)} showed no host key"
            raise Transient(message, code="server_unreachable", remedy="see that an SSH server listens there")
        return _text(key)

    @contextlib.asynccontextmanager
    async def connect(self, target: Target, credentials: Credentials) -> AsyncGenerator[Connection]:
        """Log in to a server whose host key is the pinned one."""
        trusted = asyncssh.import_public_key(target.host_key)
        keys = [asyncssh.import_private_key(credentials.private_key)] if credentials.private_key else []
        try:
            with _translated(f"{target.name} ({target.username}@{shown_address(target.host, target.port)})"):
                connection = await asyncssh.connect(
                    target.host,
                    target.port,
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
        except _KeyMismatch as error:
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
        token = _token()
        command = self._command(f'echo "$0"; echo "$0" >&2\n{script}', token, args)
        with _translated(self._target.name):
            async with asyncio.timeout(seconds):
                process = await self._connection.create_process(command, encoding=None)
                try:
                    with contextlib.suppress(OSError):  # it may end without having read it
                        process.stdin.write(stdin.encode())
                        process.stdin.write_eof()
                    outputs = (process.stdout, process.stderr)
                    stdout, stderr = await asyncio.gather(*(self._read_bounded(output) for output in outputs))
                    await process.wait_closed()
                except (OSError, asyncssh.DisconnectError) as error:
                    raise _lost(self._target.name) from error
                finally:
                    process.close()
        if process.exit_status is None:
            raise _lost(self._target.name)
        return Completed(process.exit_status, _after(token, stdout), _after(token, stderr))

    async def _read_bounded(self, output: Any) -> bytes:
        """Read an output to its end; a server that says too much would fill our memory."""
        data = bytearray()
        while block := await output.read(_BLOCK):
            data += block
            if len(data) > _ANSWER_LIMIT:
                message = f"{self._target.name} answered with more than {_ANSWER_LIMIT >> 20} MiB and was cut off"
                remedy = "see what its shell prints at login, and whether it is the server it should be"
                raise Permanent(message, code="answer_too_long", remedy=remedy)
        return bytes(data)

    async def run_leashed(
        self,
        argv: Sequence[str],
        *,
        secret: str,
        on_line: Callable[[str], None],
        gentle: Callable[[], bool],
        silence: float,
        scratch: str = "",
    ) -> Completed:
        token = _token()
        with _translated(self._target.name):
            process = await self._connection.create_process(
                self._command(_LEASH, token, [scratch, *argv]), encoding=None, window=8 * 1024 * 1024
            )
        leash = _Leash(process, token, on_line, self._target.name)
        process.stdin.write(secret.encode() + b"\n")
        run = asyncio.create_task(leash.run(silence))
        try:
            return await asyncio.shield(run)
        except asyncio.CancelledError:
            leash.stop(gentle=gentle())
            await asyncio.wait({run}, timeout=_STOP_SECONDS)
            raise
        finally:
            run.cancel()
            await asyncio.wait({run})
            process.close()

    @contextlib.asynccontextmanager
    async def listen(
        self, path: str, handler: Callable[[ByteReader, ByteWriter], Awaitable[None]]
    ) -> AsyncGenerator[None]:
        with _translated(self._target.name):
            listener = await self._connection.start_unix_server(
                lambda: handler, path, encoding=None, window=8 * 1024 * 1024
            )
        if not listener:
            message = f"{self._target.name} refuses to forward a Unix socket"
            remedy = (
                "allow it in the server's sshd: AllowStreamLocalForwarding yes, DisableForwarding no; or use 'direct'"
            )
            raise Permanent(message, code="forwarding_refused", remedy=remedy)
        try:
            yield
        finally:
            listener.close()

    def _command(self, script: str, token: str, args: Sequence[str]) -> str:
        sudo = ["sudo", "-n", "-H", "--"] if self._target.sudo else []
        return shlex.join([*sudo, "sh", "-c", script, token, *args])


class _Leash:
    """The manager's end of leash.sh: beats, reads, notices silence."""

    def __init__(self, process: Any, token: str, on_line: Callable[[str], None], name: str) -> None:
        self._process = process
        self._token = token
        self._on_line = on_line
        self._name = name
        self._heard_at = asyncio.get_running_loop().time()
        self._silent = False

    async def run(self, silence: float) -> Completed:
        """Read both outputs until the command ends."""
        beat = asyncio.create_task(self._beat(silence))
        try:
            with _translated(self._name):
                stdout, _ = await asyncio.gather(self._read_stdout(), self._read_stderr())
                await self._process.wait_closed()
        finally:
            beat.cancel()
        if self._silent:
            message = f"{self._name}: the command said nothing for {silence:.0f} seconds and was stopped"
            raise Transient(
                message, code="command_silent", remedy="look at the server's load, disks and network mounts"
            )
        status = self._process.exit_status
        if status is None or status < 0:
            raise _lost(self._name)
        return Completed(status, _after(self._token, stdout), "")

    def stop(self, *, gentle: bool) -> None:
        """Ask leash.sh to stop the command; by SIGINT when gentle."""
        with contextlib.suppress(OSError, asyncssh.Error):
            if gentle:
                self._process.stdin.write_eof()
            else:
                self._process.stdin.write(b"cancel\n")

    async def _beat(self, silence: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            with contextlib.suppress(OSError, asyncssh.Error):
                self._process.stdin.write(b"beat\n")
            if loop.time() - self._heard_at > silence and not self._silent:
                self._silent = True
                self.stop(gentle=False)

    async def _read_stdout(self) -> bytes:
        data = bytearray()
        while block := await self._process.stdout.read(_BLOCK):
            self._heard_at = asyncio.get_running_loop().time()
            if len(data) < _STDOUT_LIMIT:
                data += block
        return bytes(data)

    async def _read_stderr(self) -> None:
        rest, begun = b"", False
        while block := await self._process.stderr.read(_BLOCK):
            self._heard_at = asyncio.get_running_loop().time()
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                if begun:
                    self._on_line(text)
                begun = begun or text == self._token
        if begun and rest:
            self._on_line(rest.decode(errors="replace"))


class _KeyMismatch(AppError):
    default_code = "host_key_changed"


class _translated:  # noqa: N801 - reads as a phrase: with _translated(name)
    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, asyncssh.HostKeyNotVerifiable):
            raise _KeyMismatch(str(error)) from error
        if isinstance(error, asyncssh.KeyExchangeFailed):
            # The server no longer has a key of the pinned algorithm.
            raise _KeyMismatch(str(error)) from error
        if isinstance(error, asyncssh.PermissionDenied):
            message = f"{self._name} refused the login"
            remedy = "check user and password, or put the fleet's public key (GET /api/fleet-key) into authorized_keys"
            raise Permanent(message, code="login_refused", remedy=remedy) from error
        if isinstance(error, (TimeoutError, OSError, asyncssh.Error)):
            message = f"{self._name} cannot be reached: {_why(error)}"
            remedy = "check that the server is up, its address and port, and the network between"
            raise Transient(message, code="server_unreachable", remedy=remedy) from error


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or "no answer in time"


def _lost(name: str) -> Transient:
    message = f"the connection to {name} broke while a command ran"
    return Transient(message, code="connection_lost", remedy="check the network and the server; it is tried again")


def _token() -> str:
    return f"borgfleet-begin-{secrets.token_hex(8)}"


def _after(token: str, output: bytes) -> str:
    """Drop what login scripts printed before our own first line."""
    _, found, rest = output.partition(token.encode() + b"\n")
    return rest.decode(errors="replace") if found else ""


def _text(key: asyncssh.SSHKey) -> str:
    algorithm, blob, *_ = key.export_public_key("openssh").decode().split()
    return f"{algorithm} {blob}"


def new_key_pair(comment: str) -> tuple[str, str]:
    """Return a fresh ed25519 key: private (OpenSSH PEM) and public line."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
    return key.export_private_key("openssh").decode(), key.export_public_key("openssh").decode().strip()


if TYPE_CHECKING:
    _: type[Ssh] = AsyncSsh
