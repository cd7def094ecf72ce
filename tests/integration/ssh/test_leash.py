"""The leash on a real sshd: a command never outlives its manager, and the manager never waits for what it left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
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
from tests.harness.patience import WAIT

PRIVATE, PUBLIC = new_key_pair("leash")


EACH_SHELL = pytest.mark.parametrize("connection", ["dash", "busybox"], indirect=True)


@pytest.fixture
async def connection(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """A connection to a server whose `sh` is Debian's, and to one whose tools are all busybox's."""
    options: tuple[str, ...] = ()
    if getattr(request, "param", "dash") == "busybox":
        tools, home = tmp_path / "busybox", tmp_path / "sshd" / "home"
        tools.mkdir()
        for tool in ("sh", "mktemp", "setsid", "sleep", "rm", "tr"):
            (tools / tool).symlink_to(shutil.which("busybox") or "/bin/busybox")
        options = (f"SetEnv PATH={tools}:/usr/bin:/bin HOME={home}",)
    sshd = PrivateSshd(tmp_path / "sshd", options=options)
    sshd.start()
    sshd.authorize(PUBLIC)
    adapter = AsyncSsh(SshSettings(connect_timeout=WAIT, login_timeout=WAIT))
    target = Target("s", "127.0.0.1", sshd.port, login_user(), await adapter.host_key("127.0.0.1", sshd.port))
    async with adapter.connect(target, Credentials(private_key=PRIVATE)) as made:
        yield made
    sshd.stop()


def start(
    connection: Any,
    script: str,
    tmp_path: Path,
    *,
    gentle: bool = False,
    silence: float = 2 * WAIT,
    on_line: Any = None,
) -> asyncio.Task[Any]:
    return asyncio.create_task(
        connection.run_leashed(
            ["sh", "-c", f"echo $$ >{tmp_path}/pid; {script}"], secret="canary-s3cret",
            on_line=on_line or (lambda _line: None),
            gentle=lambda: gentle, silence=silence, scratch=str(tmp_path / "scratch"),
        )
    )  # fmt: skip


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


async def pid_of(tmp_path: Path, name: str = "pid") -> int:
    async with asyncio.timeout(WAIT):
        while not (tmp_path / name).exists() or not (tmp_path / name).read_text().strip():
            await asyncio.sleep(0.02)
    return int((tmp_path / name).read_text())


def begun(tmp_path: Path) -> bool:
    """Tell whether a command said its number; on a very slow machine its time may be over before it begins."""
    file = tmp_path / "pid"
    return file.exists() and bool(file.read_text().strip())


async def made(path: Path) -> None:
    async with asyncio.timeout(WAIT):
        while not path.exists():
            await asyncio.sleep(0.02)


def living(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def gone(pid: int) -> None:
    async with asyncio.timeout(WAIT):
        while living(pid):
            await asyncio.sleep(0.05)


@EACH_SHELL
async def test_cancelling_ends_the_remote_command_and_its_children(connection: Any, tmp_path: Path) -> None:
    task = start(connection, f"sleep 600 & echo $! >{tmp_path}/child; wait", tmp_path)
    pid, child = await pid_of(tmp_path), await pid_of(tmp_path, "child")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(pid)
    await gone(child)


@EACH_SHELL
async def test_a_gentle_stop_is_an_interrupt(connection: Any, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(INTERRUPTIBLE)
    task = start(connection, f"exec python3 {program} {tmp_path}", tmp_path, gentle=True)
    await made(tmp_path / "armed")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "how").read_text() == "interrupted"


async def test_a_broken_connection_ends_the_remote_command(connection: Any, tmp_path: Path) -> None:
    program = tmp_path / "program.py"  # a shell in the background ignores the interrupt that borg is given first
    program.write_text(INTERRUPTIBLE)
    task = start(connection, f"exec python3 {program} {tmp_path}", tmp_path)
    pid = await pid_of(tmp_path)
    await made(tmp_path / "armed")
    connection._connection.abort()
    with pytest.raises(Transient):
        await task
    await gone(pid)


@EACH_SHELL
async def test_silence_means_death(connection: Any, tmp_path: Path) -> None:
    with pytest.raises(Transient) as caught:
        await start(connection, "exec sleep 600", tmp_path, silence=1)
    assert caught.value.code == "command_silent"
    if begun(tmp_path):
        await gone(await pid_of(tmp_path))


@EACH_SHELL
async def test_the_secret_comes_on_descriptor_3_and_is_in_no_argv_or_environment(
    connection: Any, tmp_path: Path
) -> None:
    done = await connection.run_leashed(
        ["sh", "-c", "cat <&3; env; tr '\\0' ' ' </proc/*/cmdline 2>/dev/null"], secret="canary-s3cret",
        on_line=lambda _line: None, gentle=lambda: False, silence=WAIT,
    )  # fmt: skip
    first, _, rest = done.stdout.partition("\n")
    assert first == "canary-s3cret"
    assert "canary-s3cret" not in rest


@EACH_SHELL
async def test_a_command_killed_by_a_signal_and_the_scratch_file_is_removed(connection: Any, tmp_path: Path) -> None:
    (tmp_path / "scratch").touch()
    task = start(connection, "exec sleep 600", tmp_path)
    os.kill(await pid_of(tmp_path), signal.SIGKILL)
    assert (await task).exit_status == 137
    assert not (tmp_path / "scratch").exists()


async def test_a_server_that_says_too_much_is_cut_off_before_it_fills_our_memory(connection: Any) -> None:
    with pytest.raises(Permanent) as cut:
        await connection.run("yes", seconds=WAIT)
    assert cut.value.code == "answer_too_long"
    done = await connection.run("echo still here")
    assert done.stdout == "still here\n"


@EACH_SHELL
async def test_a_background_child_that_holds_the_outputs_does_not_hang_the_run_and_is_told(
    connection: Any, tmp_path: Path
) -> None:
    said: list[str] = []
    script = f"sleep 600 & echo $! >{tmp_path}/child; echo started; echo to stderr >&2; exit 3"
    async with asyncio.timeout(WAIT):
        done = await start(connection, script, tmp_path, on_line=said.append)
    child = await pid_of(tmp_path, "child")
    assert (done.exit_status, done.stdout, done.left) == (3, "started\n", True)
    assert said[0] == "to stderr"
    assert "left a process running in the background" in said[1]
    assert living(child)  # a hook may have meant it: a snapshot's mount, a session that holds a lock
    os.kill(child, signal.SIGKILL)


@EACH_SHELL
async def test_a_child_in_a_session_of_its_own_does_not_hang_the_run_and_is_told(
    connection: Any, tmp_path: Path
) -> None:
    said: list[str] = []
    async with asyncio.timeout(WAIT):
        script = f"setsid sh -c 'echo $$ >{tmp_path}/child; exec sleep 600' &"
        script = f"{script} while [ ! -s {tmp_path}/child ]; do sleep 0.1; done; printf started"
        done = await start(connection, script, tmp_path, on_line=said.append)
    assert (done.exit_status, done.stdout, done.left) == (0, "started", False)
    assert len(said) == 1
    assert "left a process running in the background" in said[0]
    os.kill(await pid_of(tmp_path, "child"), signal.SIGKILL)


@EACH_SHELL
async def test_a_stop_waits_for_no_child_that_holds_the_outputs_and_ends_those_that_ignore_it(
    connection: Any, tmp_path: Path
) -> None:
    ignoring = f"(trap '' TERM INT; echo started; while :; do sleep 1; done) & echo $! >{tmp_path}/deaf"
    elsewhere = f"setsid sh -c 'echo $$ >{tmp_path}/elsewhere; exec sleep 600' &"
    task = start(connection, f"{elsewhere} {ignoring}; trap 'exit 9' TERM; wait", tmp_path)
    deaf, other = await pid_of(tmp_path, "deaf"), await pid_of(tmp_path, "elsewhere")
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stopped_after = time.monotonic() - started
    await gone(deaf)
    assert living(other)
    os.kill(other, signal.SIGKILL)
    assert stopped_after < 45  # less than the 50 s after which a stop is given up


async def test_nothing_that_a_child_says_after_the_commands_end_is_taken_for_the_commands(
    connection: Any, tmp_path: Path
) -> None:
    said: list[str] = []
    # It speaks once the leash, which is the command's parent, has said that the command is over.
    late = "while kill -0 $PPID; do sleep 0.1; done 2>/dev/null; while echo late && echo late >&2; do sleep 0.01; done"
    script = f"({late}) & printf 'last words'; printf dying >&2"
    done = await start(connection, script, tmp_path, on_line=said.append)
    assert (done.stdout, said[0]) == ("last words", "dying")
    assert "late" not in done.stdout


@EACH_SHELL
async def test_empty_lines_stay_and_the_mark_of_the_end_adds_none(connection: Any, tmp_path: Path) -> None:
    said: list[str] = []
    done = await start(connection, r"printf 'a\n\n'; printf 'x\n\ny\n\n' >&2", tmp_path, on_line=said.append)
    assert (done.stdout, said) == ("a\n\n", ["x", "", "y", ""])


@EACH_SHELL
async def test_both_outputs_are_heard_raw_as_they_come_up_to_the_last_word_of_a_command_that_is_stopped(
    connection: Any, tmp_path: Path
) -> None:
    heard: list[tuple[int, bytes]] = []
    said: list[str] = []
    script = f"printf 'one\n\n\\351two'; echo three >&2; printf four >&2; touch {tmp_path}/spoken; exec sleep 600"
    task = asyncio.create_task(
        connection.run_leashed(
            ["sh", "-c", script], secret="", on_line=said.append, gentle=lambda: False, silence=2 * WAIT,
            raw=lambda stream, line: heard.append((stream, line)),
        )
    )  # fmt: skip
    await made(tmp_path / "spoken")
    async with asyncio.timeout(WAIT):
        while (2, b"three") not in heard:
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [line for stream, line in heard if stream == 1] == [b"one", b"", b"\xe9two"]
    errors = [line for stream, line in heard if stream == 2]
    assert (errors[0], errors[1].startswith(b"four")) == (b"three", True)
    assert said == []


async def test_what_is_no_utf8_is_shown_and_holds_no_surrogate(connection: Any, tmp_path: Path) -> None:
    said: list[str] = []
    script = r"printf 'caf\351 \000 \033[2J\n' >&2; printf 'caf\351'"
    done = await start(connection, script, tmp_path, on_line=said.append)
    assert said == [r"caf\xe9 \x00 \x1b[2J"]
    assert done.stdout == r"caf\xe9"
    assert (await connection.run(script)).stderr == "caf\\xe9 \\x00 \\x1b[2J\n"


@pytest.mark.unmeasured
async def test_a_flood_without_a_newline_is_cut_counted_and_holds_no_heartbeat(connection: Any, tmp_path: Path) -> None:
    said: list[str] = []
    flood = (
        "head -c 8388608 /dev/zero | tr '\\0' x >&2; echo >&2; echo next >&2; head -c 4000000 /dev/zero; echo end >&2"
    )
    task = start(connection, flood, tmp_path, on_line=said.append)
    held = await longest_turn(task)
    done = await task
    assert said[0] == "x" * 65536
    assert said[1:3] == ["next", "end"]
    assert any(f"{8388608 - 65536} bytes of lines longer than 64 KiB were left out" in line for line in said)
    [dropped] = [int(line.split()[0]) for line in said if "bytes of standard output" in line]
    assert 0 <= dropped - (4_000_000 - (1 << 20)) < 100  # the mark of the beginning counts too
    assert len(done.stdout) <= 4 << 20
    assert held < 0.3  # of this thread's own work, in whichever task; a join at each block took 2.2 s


async def longest_turn(task: asyncio.Task[Any]) -> float:
    longest, seen = 0.0, time.thread_time()
    while not task.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, seen = max(longest, now - seen), now
    return longest


@EACH_SHELL
@pytest.mark.parametrize("elevated", [False, True], ids=["user", "sudo"])
@pytest.mark.parametrize("how", ["deadline", "cancel"])
async def test_a_command_that_hangs_is_no_unreachable_server_and_is_ended_for_real(
    connection: Any, tmp_path: Path, how: str, elevated: bool
) -> None:
    if elevated and os.geteuid() != 0:
        pytest.skip("sudo without a password")
    script = f"trap '' TERM; sleep 600 & echo $! >{tmp_path}/child; echo $$ >{tmp_path}/pid; wait"
    target = connection.elevated() if elevated else connection
    task = asyncio.create_task(target.run(script, seconds=3 if how == "deadline" else 2 * WAIT))
    if how == "cancel":
        await pid_of(tmp_path, "pid")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        with pytest.raises(Transient) as caught:
            await task
        assert caught.value.code == "command_timed_out"
        assert "within 3 seconds" in caught.value.message
        assert "the server answers" in caught.value.message
    if begun(tmp_path):
        await gone(await pid_of(tmp_path, "child"))
        await gone(await pid_of(tmp_path, "pid"))


@EACH_SHELL
async def test_a_login_that_leaves_a_process_with_our_outputs_does_not_hang_a_command(
    connection: Any, tmp_path: Path
) -> None:
    async with asyncio.timeout(WAIT):
        done = await connection.run(f"sleep 600 & echo $! >{tmp_path}/child; printf out; printf err >&2; exit 4")
    assert (done.exit_status, done.stdout, done.stderr) == (4, "out", "err")
    os.kill(await pid_of(tmp_path, "child"), signal.SIGKILL)
