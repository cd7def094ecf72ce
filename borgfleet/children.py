"""The children of `borgfleet up`: its own nats-server and its own storage sshd, each in the data directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from shared.domain.messages.installation import CHILD_ENDED, CHILD_NOT_READY, NATS_MISSING
from shared.errors import Permanent, Transient

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = structlog.get_logger()
_MINIMUM = (2, 11)
_STOP_SECONDS = 10.0
_READY_SECONDS = 20.0

_NATS = """\
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
server_name: borgfleet
authorization {{ token: "{token}" }}
jetstream {{ store_dir: "{store}", sync_interval: always }}
"""

_SSHD = """\
# Written by borgfleet up; changes by hand are lost.
ListenAddress {listen}
Port {port}
HostKey {directory}/ssh_host_ed25519_key
PidFile none
AuthorizedKeysFile {authorized_keys}
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin forced-commands-only
UsePAM no
AllowUsers {user}
DisableForwarding yes
PermitTTY no
PermitUserRC no
X11Forwarding no
MaxStartups 200:30:500
{per_source}MaxSessions 500
ClientAliveInterval 5
ClientAliveCountMax 2
LogLevel ERROR
"""


_PER_SOURCE = "PerSourceMaxStartups 100\n"
"""One server that opens connections and never logs in leaves the others room; OpenSSH knows it from 8.5 on."""


@dataclass(frozen=True, slots=True)
class NatsChild:
    """How to start nats-server and where it listens."""

    argv: Sequence[str]
    url: str
    monitor_url: str
    token_file: Path


def plan_nats(data_dir: Path) -> NatsChild:
    """Write nats-server's configuration: loopback, a token, every message on disk before it is acknowledged."""
    directory = data_dir / "nats"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    token_file = directory / "token"
    if not token_file.exists():
        _write_secret(token_file, secrets.token_urlsafe(32))
    port, monitor = _free_port(), _free_port()
    text = _NATS.format(port=port, monitor=monitor, token=token_file.read_text().strip(), store=directory / "store")
    _write_secret(directory / "nats.conf", text)
    argv = [_nats_server(), "-c", str(directory / "nats.conf"), "-l", str(directory / "nats.log")]
    return NatsChild(argv, f"nats://127.0.0.1:{port}", f"http://127.0.0.1:{monitor}", token_file)


def plan_sshd(directory: Path, *, listen: str, port: int, user: str, authorized_keys: Path) -> Sequence[str] | None:
    """Write the storage sshd's configuration and host key; None where no OpenSSH server is installed."""
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    keygen = shutil.which("ssh-keygen")
    if sshd is None or keygen is None:
        return None
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = directory / "ssh_host_ed25519_key"
    if not key.exists():
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", "borgfleet-storage", "-f", str(key)], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's privilege separation insists on it
    key.chmod(0o600)  # a volume given to a group (fsGroup) has widened it, and OpenSSH refuses it then
    config = directory / "sshd_config"
    for per_source in (_PER_SOURCE, ""):
        text = _SSHD.format(
            listen=listen, port=port, directory=directory, authorized_keys=authorized_keys, user=user,
            per_source=per_source,
        )  # fmt: skip
        config.write_text(text)
        if subprocess.run([sshd, "-t", "-f", str(config)], check=False, capture_output=True).returncode == 0:
            break
    return [sshd, "-D", "-e", "-f", str(config)]


class Child:
    """A process that ends when its parent does; the supervisor starts it again when it ended by itself."""

    def __init__(self, name: str, argv: Sequence[str]) -> None:
        """Take its name for the log, and how to start it."""
        self._name = name
        self._argv = argv

    async def run(self, stopping: asyncio.Event) -> None:
        """Run it until told to stop; Transient if it ends before."""
        # A session of its own: Ctrl-C reaches us alone, and the children end after the services that need them.
        process = await asyncio.create_subprocess_exec(
            *_dies_with_us(), *self._argv, start_new_session=True, stdin=asyncio.subprocess.DEVNULL
        )
        ended = asyncio.create_task(process.wait())
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if process.returncode is None:
                await _end(process)
        if not stopping.is_set():
            _log.warning("child_ended", child=self._name, status=process.returncode)
            raise Transient(CHILD_ENDED(program=self._name, status=process.returncode))


async def wait_for_port(url: str) -> None:
    """Wait until something listens; Permanent if nothing does in time."""
    host, port = re.sub(r"^\w+://", "", url).split(":")
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return
        await asyncio.sleep(0.02)
    raise Permanent(CHILD_NOT_READY(url=url, seconds=_READY_SECONDS))


def _nats_server() -> str:
    bundled = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    for candidate in filter(None, (shutil.which("nats-server"), bundled)):
        shown = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False).stdout
        found = tuple(int(part) for part in re.findall(r"\d+", shown)[:2])
        if found >= _MINIMUM:
            return candidate
    raise Permanent(NATS_MISSING())


def _dies_with_us() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


async def _end(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_secret(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)
