from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.config.settings import SshSettings
from shared.errors import Permanent, Transient
from shared.ssh.asyncssh import AsyncSsh, new_key_pair
from shared.ssh.port import Credentials, HostKeyChanged, Target, fingerprint
from shared.ssh.scripted import ScriptedServer, ScriptedSsh
from shared.testing.sshd import PrivateSshd, free_port, login_user
from tests.harness.patience import WAIT

PRIVATE, PUBLIC = new_key_pair("contract")
OTHER_PRIVATE, OTHER_PUBLIC = new_key_pair("other")


def answer(script: str, args: tuple[str, ...], stdin: str) -> tuple[int, str, str]:
    """What a real sh would say to the scripts of this contract."""
    if script == "leashed":
        return 5, "out\n", "line one\nline two\n"
    if "exit 3" in script:
        return 3, "", "sorry\n"
    return 0, " ".join(args) + stdin, ""


@pytest.fixture(params=["scripted", "real"])
async def ssh(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Any, Target]]:
    if request.param == "scripted":
        host_key = " ".join(OTHER_PUBLIC.split()[:2])
        server = ScriptedServer(host_key, private_key=PRIVATE, answer=answer)
        yield ScriptedSsh({("127.0.0.1", 22): server}), Target("s", "127.0.0.1", 22, "root", host_key)
        return
    sshd = PrivateSshd(tmp_path)
    sshd.start()
    sshd.authorize(PUBLIC)
    (sshd.home / ".bashrc").write_text("echo noise; echo noise >&2\n")
    adapter = AsyncSsh(SshSettings(connect_timeout=WAIT, login_timeout=WAIT))
    yield adapter, Target("s", "127.0.0.1", sshd.port, login_user(), await adapter.host_key("127.0.0.1", sshd.port))
    sshd.stop()


@contextlib.asynccontextmanager
async def real_connection(directory: Path) -> AsyncIterator[Any]:
    sshd = PrivateSshd(directory / "sshd")
    sshd.start()
    sshd.authorize(PUBLIC)
    adapter = AsyncSsh(SshSettings(connect_timeout=WAIT, login_timeout=WAIT))
    target = Target("s", "127.0.0.1", sshd.port, login_user(), await adapter.host_key("127.0.0.1", sshd.port))
    try:
        async with adapter.connect(target, Credentials(private_key=PRIVATE)) as connection:
            yield connection
    finally:
        sshd.stop()


async def test_a_script_runs_with_its_arguments_and_stdin_and_nothing_else_is_in_its_output(ssh: Any) -> None:
    adapter, target = ssh
    async with adapter.connect(target, Credentials(private_key=PRIVATE)) as connection:
        done = await connection.run('printf "%s" "$*"; cat', "a b", "$(id)", "'", stdin="in")
        assert (done.exit_status, done.stdout, done.ok) == (0, "a b $(id) 'in", True)
        failed = await connection.run("echo sorry >&2; exit 3")
        assert (failed.exit_status, failed.stderr, failed.ok) == (3, "sorry\n", False)


async def test_a_leashed_command_gives_lines_output_and_status(ssh: Any) -> None:
    adapter, target = ssh
    lines: list[str] = []
    async with adapter.connect(target, Credentials(private_key=PRIVATE)) as connection:
        done = await connection.run_leashed(
            ["sh", "-c", "echo out; echo line one >&2; echo line two >&2; exit 5"],
            secret="s", on_line=lines.append, gentle=lambda: False, silence=WAIT,
        )  # fmt: skip
    assert (done.exit_status, done.stdout, lines) == (5, "out\n", ["line one", "line two"])


async def test_a_changed_host_key_is_refused_before_anything_is_sent(ssh: Any) -> None:
    adapter, target = ssh
    pinned = " ".join(PUBLIC.split()[:2])
    changed = Target(target.name, target.host, target.port, target.username, pinned)
    with pytest.raises(HostKeyChanged) as caught:
        async with adapter.connect(changed, Credentials(private_key=PRIVATE)):
            pass
    assert fingerprint(pinned) in caught.value.message
    assert fingerprint(target.host_key) in caught.value.message
    assert caught.value.offered == target.host_key


async def test_a_wrong_key_is_refused_for_good_and_a_dead_address_for_now(ssh: Any) -> None:
    adapter, target = ssh
    with pytest.raises(Permanent) as caught:
        async with adapter.connect(target, Credentials(private_key=OTHER_PRIVATE)):
            pass
    assert caught.value.code == "login_refused"
    nowhere = Target("x", "127.0.0.1", free_port(), "root", target.host_key)
    with pytest.raises(Transient) as dead:
        async with adapter.connect(nowhere, Credentials(private_key=PRIVATE)):
            pass
    assert dead.value.code == "server_unreachable"


async def test_credentials_show_nothing() -> None:
    assert "secret" not in repr(Credentials(private_key="secret", password="secret"))


async def test_elevated_commands_go_through_sudo(ssh: Any) -> None:
    adapter, target = ssh
    async with adapter.connect(target, Credentials(private_key=PRIVATE)) as connection:
        elevated = connection.elevated()
        if hasattr(elevated, "_command"):
            assert shlex.split(elevated._command("true", "t", []))[:4] == ["sudo", "-n", "-H", "--"]


async def ended(word: str) -> None:
    """Wait until no shell with this word in its script is there."""
    async with asyncio.timeout(WAIT):
        while any(word in " ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])):
            await asyncio.sleep(0.02)


async def test_a_script_is_fed_and_has_the_end_of_its_input_only_when_that_came_to_its_end(ssh: Any) -> None:
    adapter, target = ssh

    async def feed(write: Any) -> None:
        for part in (b"one ", b"two"):
            await write(part)

    async with adapter.connect(target, Credentials(private_key=PRIVATE)) as connection:
        done = await connection.run_fed('printf "%s" "$*"; cat', "a b", feed=feed, silence=WAIT)
        assert (done.exit_status, done.stdout) == (0, "a bone two")


async def test_what_fails_to_feed_ends_the_script_before_it_takes_the_rest_for_all(tmp_path: Path) -> None:
    async with real_connection(tmp_path) as connection:

        async def feed(write: Any) -> None:
            await write(b"half")
            raise Permanent("the source failed", code="source_failed")

        with pytest.raises(Permanent) as caught:
            await connection.run_fed(f"cat >{tmp_path}/taken && touch {tmp_path}/whole", feed=feed, silence=WAIT)
        assert caught.value.code == "source_failed"
        await ended(str(tmp_path / "whole"))
        assert not (tmp_path / "whole").exists()


async def test_a_script_that_ends_by_itself_ends_what_feeds_it(tmp_path: Path) -> None:
    stopped = asyncio.Event()

    async def feed(write: Any) -> None:
        try:
            while True:
                await write(b"x" * 100_000)
        finally:
            stopped.set()

    async with real_connection(tmp_path) as connection:
        done = await connection.run_fed("head -c 10 >&2; exit 7", feed=feed, silence=WAIT)
    assert (done.exit_status, done.stderr) == (7, "x" * 10)
    assert stopped.is_set()


async def test_a_script_that_takes_nothing_is_ended(tmp_path: Path) -> None:
    async def feed(write: Any) -> None:
        while True:
            await write(b"x" * 1_000_000)

    async with real_connection(tmp_path) as connection:
        with pytest.raises(Transient) as caught:
            await connection.run_fed("sleep 1000", feed=feed, silence=1)
        assert caught.value.code == "command_silent"


@pytest.mark.parametrize("moment", ["before it began", "before it took anything", "while it takes", "when it took all"])
async def test_a_cancelled_feed_ends_the_script_before_it_takes_the_rest_for_all(tmp_path: Path, moment: str) -> None:
    here = asyncio.Event()
    taken = tmp_path / "taken"

    async def feed(write: Any) -> None:
        if moment == "before it took anything":
            here.set()
            await asyncio.Event().wait()
        await write(b"x" * 100_000)
        if moment == "when it took all":
            while not taken.exists() or taken.stat().st_size < 100_000:
                await asyncio.sleep(0.02)
        here.set()
        while moment == "while it takes":
            await write(b"x" * 100_000)
        await asyncio.Event().wait()

    async with real_connection(tmp_path) as connection:
        # Who is slow to end is what a closed input would find alive.
        script = f"trap 'sleep 0.2; touch {tmp_path}/ended; exit' TERM; cat >{taken}; touch {tmp_path}/whole"
        run = asyncio.create_task(connection.run_fed(script, feed=feed, silence=WAIT))
        if moment != "before it began":
            await here.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await ended(str(taken))
    assert not (tmp_path / "whole").exists()
