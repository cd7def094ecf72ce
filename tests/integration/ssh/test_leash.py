"""The leash on a real sshd: a command never outlives its manager, whatever becomes of the manager."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.config.settings import SshSettings
from shared.errors import Permanent, Transient
from shared.ssh.asyncssh import AsyncSsh, new_key_pair
from shared.ssh.port import Credentials, Target
from shared.testing.sshd import PrivateSshd, login_user

PRIVATE, PUBLIC = new_key_pair("leash")


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[Any]:
    sshd = PrivateSshd(tmp_path / "sshd")
    sshd.start()
    sshd.authorize(PUBLIC)
    adapter = AsyncSsh(SshSettings())
    target = Target("s", "127.0.0.1", sshd.port, login_user(), await adapter.host_key("127.0.0.1", sshd.port))
    async with adapter.connect(target, Credentials(private_key=PRIVATE)) as made:
        yield made
    sshd.stop()


def start(
    connection: Any, script: str, tmp_path: Path, *, gentle: bool = False, silence: float = 60
) -> asyncio.Task[Any]:
    return asyncio.create_task(
        connection.run_leashed(
            ["sh", "-c", f"echo $$ >{tmp_path}/pid; {script}"], secret="canary-s3cret", on_line=lambda _line: None,
            gentle=lambda: gentle, silence=silence, scratch=str(tmp_path / "scratch"),
        )
    )  # fmt: skip


async def pid_of(tmp_path: Path) -> int:
    async with asyncio.timeout(10):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            await asyncio.sleep(0.02)
    return int((tmp_path / "pid").read_text())


async def gone(pid: int, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.05)


async def test_cancelling_ends_the_remote_command_and_its_children(connection: Any, tmp_path: Path) -> None:
    task = start(connection, f"sleep 600 & echo $! >{tmp_path}/child; wait", tmp_path)
    pid = await pid_of(tmp_path)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(pid, 5)
    await gone(int((tmp_path / "child").read_text()), 5)


INTERRUPTIBLE = """
import pathlib, signal, sys, time
here = pathlib.Path(sys.argv[1])
def stop(*_):
    (here / "how").write_text("interrupted")
    sys.exit(2)
signal.signal(signal.SIGINT, stop)
(here / "armed").touch()
time.sleep(600)
"""


async def test_a_gentle_stop_is_an_interrupt(connection: Any, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(INTERRUPTIBLE)
    task = start(connection, f"exec python3 {program} {tmp_path}", tmp_path, gentle=True)
    async with asyncio.timeout(10):
        while not (tmp_path / "armed").exists():
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "how").read_text() == "interrupted"


async def test_a_broken_connection_ends_the_remote_command(connection: Any, tmp_path: Path) -> None:
    task = start(connection, "exec sleep 600", tmp_path)
    pid = await pid_of(tmp_path)
    connection._connection.abort()
    with pytest.raises(Transient):
        await task
    await gone(pid, 45)


async def test_silence_means_death(connection: Any, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(Transient) as caught:
        await start(connection, "exec sleep 600", tmp_path, silence=1)
    assert caught.value.code == "command_silent"
    assert time.monotonic() - started < 30
    await gone(await pid_of(tmp_path), 5)


async def test_the_secret_comes_on_descriptor_3_and_is_in_no_argv_or_environment(
    connection: Any, tmp_path: Path
) -> None:
    done = await connection.run_leashed(
        ["sh", "-c", "cat <&3; env; tr '\\0' ' ' </proc/*/cmdline 2>/dev/null"], secret="canary-s3cret",
        on_line=lambda _line: None, gentle=lambda: False, silence=30,
    )  # fmt: skip
    first, _, rest = done.stdout.partition("\n")
    assert first == "canary-s3cret"
    assert "canary-s3cret" not in rest


async def test_a_command_killed_by_a_signal_and_the_scratch_file_is_removed(connection: Any, tmp_path: Path) -> None:
    (tmp_path / "scratch").touch()
    task = start(connection, "exec sleep 600", tmp_path)
    os.kill(await pid_of(tmp_path), signal.SIGKILL)
    assert (await task).exit_status == 137
    assert not (tmp_path / "scratch").exists()


async def test_a_server_that_says_too_much_is_cut_off_before_it_fills_our_memory(connection: Any) -> None:
    with pytest.raises(Permanent) as cut:
        await connection.run("yes", seconds=60)
    assert cut.value.code == "answer_too_long"
    done = await connection.run("echo still here")
    assert done.stdout == "still here\n"
