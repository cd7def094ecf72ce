"""What is sent to a server reaches its `sh` unchanged, whatever the login shell is, and though it was changed after set-up."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.backup.create.own_places import SCRIPT as OWN_PLACES
from services.backup.create.sources import SCRIPT as SOURCES
from services.backup.create.sources import read_sources
from shared.config.settings import SshSettings
from shared.ssh.asyncssh import AsyncSsh, new_key_pair
from shared.ssh.port import Credentials, Target
from tests.harness.patience import WAIT
from tests.harness.user_sshd import UID, USER, UserSshd

PRIVATE, PUBLIC = new_key_pair("shells")
SHELLS = ("/bin/sh", "/bin/bash", "/bin/tcsh", "/usr/bin/fish", "busybox")
ARGUMENTS = (
    "plain", "two words", "a\nb", "", "!", "!!", "it's", '"quoted"', "$HOME", "`id`", "back\\slash", "\\n", "%s %d", "tab\there", "*", "~",
    "-n", "é 🦊", "a;b", "#no", "{a,b}", "[a-z]", "^x^y", "\\\\", "end\\", "\r", "&&", "$(id)", "\x1b[2J",
)  # fmt: skip


IN_HEX = "for one; do printf %s \"$one\" | od -An -v -tx1 | tr -d ' \\n'; echo; done"


@pytest.fixture(params=SHELLS)
async def connection(request: pytest.FixtureRequest, open_directory: Path) -> AsyncIterator[Any]:
    place, shell = open_directory, request.param
    assert shutil.which(shell), f"{shell} is missing: scripts/test installs it"
    if shell == "busybox":  # the shell of Alpine, by its name there
        shell = str(place / "ash")
        Path(shell).symlink_to(shutil.which("busybox") or "")
    sshd = UserSshd(place / "sshd", shell=shell)
    sshd.prepare()
    sshd.keys.write_text(f"{PUBLIC}\n")
    os.chown(sshd.keys, UID, UID)
    sshd.start()
    host_key = " ".join((sshd.directory / "host_key.pub").read_text().split()[:2])
    target = Target("web1", "127.0.0.1", sshd.port, USER, host_key)
    settings = SshSettings(connect_timeout=WAIT, login_timeout=WAIT)
    async with AsyncSsh(settings).connect(target, Credentials(private_key=PRIVATE)) as made:
        yield made
    sshd.stop()


async def test_script_arguments_and_input_arrive_unchanged(connection: Any) -> None:
    done = await connection.run(f"{IN_HEX}\ncat # the input!\nexit 7", *ARGUMENTS, stdin="from\nhere", seconds=WAIT)
    *said, first, last = done.stdout.split("\n")
    assert [bytes.fromhex(one).decode() for one in said] == list(ARGUMENTS)
    assert (first, last, done.exit_status) == ("from", "here", 7)


async def test_many_long_arguments_arrive_too(connection: Any) -> None:
    many = [f"/srv/it's {number} " + "é" * 240 for number in range(200)]
    done = await connection.run("printf '%s\\n' \"$@\"", *many, seconds=WAIT)
    assert done.stdout.split("\n")[:-1] == many


async def test_a_leashed_command_gets_its_secret_and_arguments(connection: Any) -> None:
    said: list[str] = []
    argv = ["sh", "-c", f"cat <&3 >&2\n{IN_HEX}", "sh", *ARGUMENTS]
    done = await connection.run_leashed(
        argv, secret="canary!'$x", on_line=said.append, gentle=lambda: False, silence=WAIT
    )
    assert done.ok, done
    assert said == ["canary!'$x"]
    assert [bytes.fromhex(one).decode() for one in done.stdout.split("\n")[:-1]] == list(ARGUMENTS)


async def test_the_scripts_of_a_backup_run(connection: Any, tmp_path: Path) -> None:
    source = tmp_path / "it's !here"
    source.mkdir()
    (source / "file").write_text("x")
    done = await connection.run(SOURCES, "10", str(source), seconds=WAIT)
    (found,) = read_sources([str(source)], done.stdout)
    assert found.path == str(source)
    done = await connection.run(OWN_PLACES, "10", "", str(source), seconds=WAIT)
    assert done.ok, done
