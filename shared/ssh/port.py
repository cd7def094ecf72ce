"""What the services need of SSH."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from shared.domain.messages.servers import BAD_PUBLIC_KEY, HOST_KEY_CHANGED
from shared.errors import Invalid, Permanent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager


STDOUT, STDERR = 1, 2
RawLines: TypeAlias = "Callable[[int, bytes], None]"
"""Hears a command's lines as they come, not cleaned, each with STDOUT or STDERR."""


Feed: TypeAlias = "Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]"
"""Is handed how to write to a command's standard input, and writes all of it."""


class ByteReader(Protocol):
    """The receiving end of a forwarded stream."""

    async def read(self, n: int = -1) -> bytes:
        """Return up to n bytes; nothing at the end."""
        ...


class ByteWriter(Protocol):
    """The sending end of a forwarded stream."""

    def write(self, data: bytes) -> None:
        """Queue bytes."""
        ...

    async def drain(self) -> None:
        """Wait until they may go."""
        ...

    def close(self) -> None:
        """Send the end."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """A server to connect to; `host_key` is the pinned one, `<algorithm> <base64>`."""

    name: str
    host: str
    port: int
    username: str
    host_key: str
    sudo: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to log in; neither is ever shown."""

    private_key: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        """Show nothing."""
        return "Credentials(...)"


@dataclass(frozen=True, slots=True)
class Completed:
    """A remote command's end; the output is clean text (shared/domain/text.py)."""

    exit_status: int
    stdout: str
    stderr: str
    left: bool = False
    """It left a process running in its group; that was not waited for."""

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.exit_status == 0


class HostKeyChanged(Permanent):
    """The server showed another host key than the pinned one: nothing was sent to it."""

    def __init__(self, name: str, pinned: str, offered: str) -> None:
        """Take both keys as text."""
        self.offered = offered
        shown, wanted = fingerprint(offered), fingerprint(pinned)
        super().__init__(HOST_KEY_CHANGED(server=name, shown=shown, pinned=wanted))


class Connection(Protocol):
    """A logged-in connection; every command runs under POSIX sh, as root where the target says sudo."""

    def elevated(self) -> Connection:
        """Return the same connection with every command under `sudo -n`."""
        ...

    async def run(self, script: str, *args: str, stdin: str = "", seconds: float = 60.0) -> Completed:
        """Run a short script with arguments to its own end, whatever it leaves behind.

        Transient if the connection breaks, or (`command_timed_out`) if it takes longer than `seconds`: it is ended
        then. Permanent (`no_shell`, `sudo_refused`) if the server did not even begin it.
        """
        ...

    async def run_fed(self, script: str, *args: str, feed: Feed, silence: float) -> Completed:
        """Run a script whose standard input `feed` writes; it has the input's end only if `feed` came to its own.

        Where `feed` fails, or this is cancelled, the script is ended, and that goes on. A script that ends of itself
        before ends `feed`. Transient (`command_silent`) where it takes nothing, or does not end, for `silence` seconds.
        """
        ...

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
        """Run a long command that never outlives its manager.

        `secret` reaches it on file descriptor 3. Each line of stderr goes to `on_line`. When cancelled, it is
        stopped for real before CancelledError goes on: by SIGINT if `gentle()`, else by SIGTERM. Silent for
        `silence` seconds, it is stopped and Transient raised. `scratch` is a file to remove at the end.

        With `raw`, that one hears the lines of both outputs up to the very end, however it ends; `on_line` then hears
        only what is said about the command, and the answer's stdout is empty.
        """
        ...

    def listen(
        self, path: str, handler: Callable[[ByteReader, ByteWriter], Awaitable[None]]
    ) -> AbstractAsyncContextManager[None]:
        """Listen on a Unix socket of the server; each connection to it is handled here."""
        ...


class Ssh(Protocol):
    """Opens connections."""

    async def host_key(self, host: str, port: int) -> str:
        """Return the host key a server shows, `<algorithm> <base64>`, without logging in."""
        ...

    def connect(self, target: Target, credentials: Credentials) -> AbstractAsyncContextManager[Connection]:
        """Log in; HostKeyChanged before anything is sent if the key is not the pinned one."""
        ...


def fingerprint(host_key: str) -> str:
    """Return `SHA256:...` of a public key line, as ssh-keygen -l prints it."""
    try:
        blob = base64.b64decode(host_key.split()[1], validate=True)
    except (IndexError, binascii.Error) as error:
        raise Invalid(BAD_PUBLIC_KEY()) from error
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
