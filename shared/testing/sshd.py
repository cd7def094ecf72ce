"""A private OpenSSH sshd that plays a managed server: its own port, host key, home and authorized_keys."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

_READY_SECONDS = 120.0
_PORTS = range(10_000, 32_000)
_RESERVED: dict[str, int] = {}

_CONFIG = """\
ListenAddress {address}
Port {port}
HostKey {directory}/host_key
PidFile {directory}/pid
AuthorizedKeysFile {home}/.ssh/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
SetEnv HOME={home}{environment}
MaxStartups 200:30:500
LogLevel ERROR
"""


@dataclass
class PrivateSshd:
    """One sshd in a directory; `start` and `stop` may be called again and again."""

    directory: Path
    address: str = "127.0.0.1"
    port: int = field(default_factory=lambda: free_port())
    environment: dict[str, str] = field(default_factory=dict[str, str])
    """What else every session finds in its environment."""
    options: tuple[str, ...] = ()
    """Lines of sshd_config that win over ours."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        """The home of everybody who logs in."""
        return self.directory / "home"

    def authorize(self, public_key: str) -> None:
        """Let a key in, as an administrator would by hand."""
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True, exist_ok=True, mode=0o700)
        (ssh / "authorized_keys").write_text(public_key.strip() + "\n")

    def new_host_key(self) -> None:
        """Make a host key, replacing an older one."""
        self.directory.mkdir(parents=True, exist_ok=True)
        key = self.directory / "host_key"
        for old in (key, key.with_suffix(".pub")):
            old.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)

    def fingerprint(self) -> str:
        """Return the host key's fingerprint as its administrator would read it on the console."""
        shown = subprocess.run(
            ["ssh-keygen", "-lf", str(self.directory / "host_key.pub")], check=True, capture_output=True, text=True
        ).stdout
        return shown.split()[1]

    def start(self) -> None:
        """Start, and wait until it listens."""
        self.home.mkdir(parents=True, exist_ok=True)
        if not (self.directory / "host_key").exists():
            self.new_host_key()
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.directory / "sshd_config"
        more = "".join(f" {name}={value}" for name, value in self.environment.items())
        places = {"directory": self.directory, "home": self.home, "environment": more}
        config.write_text(
            "".join(f"{line}\n" for line in self.options)
            + _CONFIG.format(address=self.address, port=self.port, **places)
        )
        sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or "sshd"
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command([sshd, "-D", "-e", "-f", str(config)]),
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        wait_for_listener(self.address, self.port)

    def command(self, argv: list[str]) -> list[str]:
        """Return how to start it; for servers that live elsewhere than here."""
        return argv

    def stop(self, *, with_sessions: bool = True) -> None:
        """End it, and by default the sessions it started."""
        if self.process is None:
            return
        sessions = _descendants(self.process.pid) if with_sessions else []
        self.process.terminate()
        self.process.wait(timeout=_READY_SECONDS)
        self.process = None
        for pid in sessions:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue


def login_user() -> str:
    """Return who we are: the only user an unprivileged sshd lets in."""
    return getpass.getuser()


def free_port() -> int:
    """Return a port that nobody uses, below those that outgoing connections take; ours for as long as we live."""
    while True:
        port = _PORTS.start + secrets.randbelow(len(_PORTS))
        if not reserved(f"port-{port}"):
            continue
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def reserved(name: str) -> bool:
    """Take a name for this process, among all that reserve by this function; False if another process has it.

    A port that was free a moment ago may be taken by the test beside us before our server listens on it.
    """
    directory = Path(tempfile.gettempdir()) / f"borgfleet-reserved-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    holder = os.open(directory / name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(holder)
        return False
    if name in _RESERVED:
        os.close(holder)
        return False
    _RESERVED[name] = holder  # the lock ends with the process
    return True


def wait_for_listener(address: str, port: int, seconds: float = _READY_SECONDS) -> None:
    """Wait until something listens; TimeoutError if nothing does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((address, port), timeout=1):
                return
        except OSError:
            time.sleep(0.02)
    message = f"nothing listens on {address}:{port}"
    raise TimeoutError(message)


def _descendants(pid: int) -> list[int]:
    """Return the sshd processes below a pid: one per connection and privilege level."""
    found: list[int] = []
    for child in _children(pid):
        if _program(child).startswith("sshd"):
            found += [*_descendants(child), child]
    return found


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it ended meanwhile


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
