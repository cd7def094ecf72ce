"""An account that sshd, PAM or sudo closes is told as that, with the real programs: never as a shell or a network that is at fault."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.config.settings import SshSettings
from shared.errors import AppError, Permanent, Transient
from shared.ssh.asyncssh import AsyncSsh, new_key_pair
from shared.ssh.port import Credentials, Target
from shared.testing.sshd import PrivateSshd, login_user
from tests.harness.patience import WAIT

PRIVATE, PUBLIC = new_key_pair("closed")
USER = "borgfleet-joe"
SOUND = f"{USER}:*:20000:0:99999:7:::"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs mounts of its own and another user")


@dataclass
class Etc:
    """What this sshd and its sessions find below /etc in place of the machine's own: a user, sudo's rules, other files."""

    shadow: str = SOUND
    sudoers: str = ""
    files: dict[str, str] = field(default_factory=dict[str, str])
    then: str = ""

    def script(self, at: Path) -> str:
        """Return the shell lines that mount it."""
        for name in ("up", "work"):
            (at / name).mkdir()
        lines = [f"mount -t overlay overlay -o lowerdir=/etc,upperdir={at}/up,workdir={at}/work /etc"]
        passwd = Path("/etc/passwd").read_text() + f"{USER}:x:4242:4242::/tmp:/bin/sh\n"
        new = {"passwd": (passwd, 0o644), "shadow": (Path("/etc/shadow").read_text() + f"{self.shadow}\n", 0o600)}
        new |= {"sudoers.d/borgfleet-test": (f"{self.sudoers}\n", 0o440)} if self.sudoers else {}
        for number, (name, (text, mode)) in enumerate((new | {k: (v, 0o644) for k, v in self.files.items()}).items()):
            (at / str(number)).write_text(text)
            (at / str(number)).chmod(mode)
            lines.append(f"cp -p {at}/{number} /etc/{name}")
        return "\n".join(["set -e", *lines, self.then])


class Closed(PrivateSshd):
    """An sshd with mounts of its own."""

    prepare = ""

    def command(self, argv: list[str]) -> list[str]:
        return ["unshare", "--mount", "sh", "-c", f'{self.prepare}\nexec "$@"', "sh", *argv]


@pytest.fixture
def overlay() -> Iterator[Path]:
    """Yield a directory on a tmpfs: an overlay upon an overlay is not taken everywhere."""
    made = subprocess.run(["mktemp", "-d", "/tmp/borgfleet-etc.XXXXXX"], capture_output=True, text=True, check=True)
    where = Path(made.stdout.strip())
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(where)], check=True)
    where.chmod(0o755)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)
        where.rmdir()


@contextmanager
def server(directory: Path, *options: str, prepare: str = "true") -> Iterator[Target]:
    sshd = Closed(directory / "sshd", options=options)
    sshd.prepare = prepare
    sshd.start()
    sshd.authorize(PUBLIC)
    for parent in (sshd.home, *sshd.home.parents):  # the user reads his own key, wherever pytest put it
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    subprocess.run(["chmod", "-R", "a+rX", str(sshd.home)], check=True)
    host_key = " ".join((sshd.directory / "host_key.pub").read_text().split()[:2])
    try:
        yield Target("web1", "127.0.0.1", sshd.port, login_user(), host_key)
    finally:
        sshd.stop()


async def told(target: Target, *, elevated: bool = False, seconds: float = WAIT) -> AppError:
    settings = SshSettings(connect_timeout=seconds, login_timeout=seconds)
    with pytest.raises(AppError) as caught:
        async with AsyncSsh(settings).connect(target, Credentials(private_key=PRIVATE)) as connection:
            await (connection.elevated() if elevated else connection).run("true")
    assert caught.value.remedy
    assert caught.value.message.startswith("web1")
    return caught.value


def as_user(target: Target) -> Target:
    return Target(target.name, target.host, target.port, USER, target.host_key)


CLOSED: dict[str, tuple[tuple[str, ...], Etc, type[AppError], str, str]] = {
    "password expired": (("UsePAM yes",), Etc(f"{USER}:*:0:0:99999:7:::"), Permanent, "password_expired", "no TTY"),
    "account expired": (("UsePAM yes",), Etc(f"{USER}:*:20000:0:99999:7::100:"), Transient, "login_broken_off", "login"),
    "server goes down, PAM": (
        ("UsePAM yes",), Etc(files={"nologin": "Going down.\n"}), Transient, "login_broken_off", "login",
    ),
    "server goes down": ((), Etc(files={"nologin": "Going down at ten.\n"}), Transient, "logins_closed", "down at ten"),
    "files only": (("ForceCommand internal-sftp",), Etc(), Permanent, "commands_forbidden", "sftp connections only"),
    "a root that is not there": (("ChrootDirectory /nowhere",), Etc(), Permanent, "commands_forbidden", "/nowhere"),
}  # fmt: skip


@needs_root
@pytest.mark.parametrize("name", CLOSED)
async def test_a_closed_account_is_no_shell_to_be_changed_and_no_network_to_be_mended(
    tmp_path: Path, overlay: Path, name: str
) -> None:
    options, etc, kind, code, said = CLOSED[name]
    with server(tmp_path, *options, prepare=etc.script(overlay)) as target:
        # sshd says to root alone that it found no root directory; who becomes another user loses the connection.
        error = await told(target if "ChrootDirectory" in "".join(options) else as_user(target))
    assert (type(error), error.code) == (kind, code), error.message
    assert said in error.message


RULES = {
    "all but a shell": f"{USER} ALL=(root) NOPASSWD: ALL, !/bin/sh, !/usr/bin/sh, !/usr/bin/dash",
    "another command": f"{USER} ALL=(root) NOPASSWD: /usr/bin/id",
    "a terminal": f"Defaults requiretty\n{USER} ALL=(root) NOPASSWD: ALL",
    "a mistake in the file": f"{USER} ALL=(root NOPASSWD: ALL",
    "no rule": "",
}


@needs_root
@pytest.mark.parametrize("rule", RULES)
async def test_whatever_keeps_sudo_from_a_command_is_told_as_sudo(tmp_path: Path, overlay: Path, rule: str) -> None:
    with server(tmp_path, prepare=Etc(sudoers=RULES[rule]).script(overlay)) as target:
        error = await told(as_user(target), elevated=True)
    assert (type(error), error.code) == (Permanent, "sudo_refused"), error.message
    assert "borgfleet-asks" not in error.message


FOREIGN = {
    "another language": "echo '某用户不在 sudoers 文件中。此事将被报告。' >&2; exit 1",
    "another program of that name": "echo 'doas: Operation not permitted' >&2; exit 1",
    "nothing": "exit 1",
}


@needs_root
@pytest.mark.parametrize("how", FOREIGN)
async def test_a_sudo_that_speaks_otherwise_is_still_sudo(tmp_path: Path, overlay: Path, how: str) -> None:
    stand_in = overlay / "sudo"
    stand_in.write_text(f"#!/bin/sh\n{FOREIGN[how]}\n")
    stand_in.chmod(0o755)
    found = subprocess.run(["sh", "-c", "command -v sudo"], capture_output=True, text=True, check=True).stdout.strip()
    prepare = Etc(then=f"mount --bind {shlex.quote(str(stand_in))} {shlex.quote(found)}").script(overlay)
    with server(tmp_path, prepare=prepare) as target:
        error = await told(as_user(target), elevated=True)
    assert error.code == "sudo_refused", error.message


@asynccontextmanager
async def silent(said: bytes) -> AsyncIterator[int]:
    """Accept connections, say something, and nothing more."""
    open_ones: list[asyncio.StreamWriter] = []

    async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.append(writer)
        writer.write(said)

    there = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        yield there.sockets[0].getsockname()[1]
    finally:
        there.close()
        for writer in open_ones:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"Not allowed at this time\r\n"])
async def test_a_server_that_accepts_and_says_nothing_more_is_not_told_as_one_that_is_down(said: bytes) -> None:
    """A path that loses large packets, an sshd that waits for a hanging PAM, a half-open connection."""
    host_key = " ".join(PUBLIC.split()[:2])
    async with silent(said) as port:
        # Short on purpose: nothing will come, however long one waits.
        error = await told(Target("web1", "127.0.0.1", port, "root", host_key), seconds=3)
    assert (type(error), error.code) == (Transient, "server_unreachable")
    assert "accepts the connection" in error.message
    assert "MTU" in error.remedy
