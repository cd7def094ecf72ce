"""A node's own borg under its guard: nothing works on a repository without a current grant."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.borg import commands
from shared.borg.node import BorgNode, Grant
from shared.borg.output import LogLine, Phase
from shared.domain.ids import new_id
from shared.errors import Permanent, Transient
from tests.harness.patience import WAIT

BORG = str(Path(sys.executable).parent / "borg")
LEASE = 10 * WAIT
"""Seconds; no test waits for the end of one that is current."""


@pytest.fixture
def untried_ciphers() -> None:
    """Here the node's borg has the environment of production."""


@pytest.fixture
def node(tmp_path: Path) -> BorgNode:
    return BorgNode(BORG, tmp_path / "state")


@pytest.fixture
async def grant(node: BorgNode, tmp_path: Path) -> Grant:
    made = Grant(new_id(), new_id(), str(tmp_path / "pool" / "web1" / "system"), 3)
    (tmp_path / "pool").mkdir()
    node.permit(made, LEASE)
    await node.run(made, commands.init(BORG, made.path, "repokey-blake2"), passphrase="canary-right")
    return made


def serving(grant: Grant) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] and p.info["cmdline"][-1] == grant.path]


async def gone(path: str) -> None:
    """Wait until no process works on a repository: a guard's own watchers end a moment after it."""
    async with asyncio.timeout(WAIT):
        while [p for p in psutil.process_iter(["cmdline"]) if path in (p.info["cmdline"] or [])]:
            await asyncio.sleep(0.05)


async def test_with_a_current_grant_borg_works_and_its_passphrase_is_checked(node: BorgNode, grant: Grant) -> None:
    listing, _ = await node.run(grant, commands.list_archives(BORG, grant.path), passphrase="canary-right")
    assert json.loads(listing)["archives"] == []
    with pytest.raises(Permanent) as caught:
        await node.run(grant, commands.list_archives(BORG, grant.path), passphrase="canary-wrong")
    assert caught.value.code == "passphrase_wrong"


async def sleepers(file: Path) -> list[int]:
    """Wait until both watchers of a guard sleep, and return their process ids."""
    async with asyncio.timeout(WAIT):
        while not file.exists() or len(file.read_text().splitlines()) < 2:
            await asyncio.sleep(0.05)
    return [int(pid) for pid in file.read_text().split()]


async def test_what_the_guard_starts_beside_a_command_keeps_nobody_waiting_for_its_end(
    node: BorgNode, grant: Grant, tmp_path: Path
) -> None:
    """Each command of the node took two seconds: a sleeping watcher held its log open, and its repository too."""
    (tmp_path / "bin").mkdir()
    sleep = tmp_path / "bin" / "sleep"
    sleep.write_text(f'#!/bin/sh\necho "$$" >>{tmp_path / "sleepers"}\nexec /bin/sleep 3600\n')
    sleep.chmod(0o755)
    node._environment["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    try:
        async with asyncio.timeout(WAIT):
            await node.run(grant, commands.list_archives(BORG, grant.path), passphrase="canary-right")
        with (node.state_dir / "locks" / f"{grant.repository_id.hex}.own").open("ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        for pid in await sleepers(tmp_path / "sleepers"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("how", ["revoked", "expired", "superseded"])
async def test_without_a_current_grant_borg_is_not_started(node: BorgNode, grant: Grant, how: str) -> None:
    if how == "revoked":
        node.revoke(grant)
        node.revoke(grant)  # twice is no harm
    elif how == "expired":
        node.permit(grant, -5)
    else:
        node.permit(Grant(grant.server_id, grant.repository_id, grant.path, grant.epoch + 1), LEASE)
    with pytest.raises(Transient) as caught:
        await node.run(grant, commands.list_archives(BORG, grant.path), passphrase="canary-right")
    assert caught.value.code == "lease_not_current"


async def test_borg_serve_ends_when_its_grant_passes_on(node: BorgNode, grant: Grant) -> None:
    forever = asyncio.Event()

    async def read(_n: int) -> bytes:
        await forever.wait()
        return b""

    async def write(_data: bytes) -> None:
        return

    task = asyncio.create_task(node.serve(grant, read, write))
    async with asyncio.timeout(WAIT):
        while not serving(grant):
            await asyncio.sleep(0.05)
    node.permit(Grant(grant.server_id, grant.repository_id, grant.path, grant.epoch + 1), LEASE)
    await asyncio.wait_for(task, WAIT)
    await gone(grant.path)


async def test_a_cancelled_command_is_gone_with_its_lock(node: BorgNode, grant: Grant) -> None:
    holding = [BORG, "with-lock", grant.path, "sleep", "600"]
    task = asyncio.create_task(node.run(grant, holding, passphrase="canary-right"))
    lock = Path(grant.path) / "lock.exclusive"
    async with asyncio.timeout(WAIT):
        while not lock.exists():
            await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not lock.exists(), "it was killed before it could end"
    await gone(grant.path)


_WITH_EACH_NUMBER_FREE = """
import asyncio, os, sys, uuid
from pathlib import Path
from shared.borg import commands
from shared.borg.node import BorgNode, Grant

borg, state, path, server, repository = sys.argv[1:]
grant = Grant(uuid.UUID(server), uuid.UUID(repository), path, 3)

async def main():
    node = BorgNode(borg, Path(state))
    for number in range(4, 14):
        taken = []
        while (lowest := os.open(os.devnull, os.O_RDONLY)) < number:
            taken.append(lowest)
        os.close(lowest)
        listing, _ = await node.run(grant, commands.list_archives(borg, path), passphrase="canary-right")
        assert '"archives": []' in listing, listing
        print(lowest)
        for one in taken:
            os.close(one)

asyncio.run(main())
"""


async def test_whatever_file_descriptors_are_free_borg_gets_the_passphrase(node: BorgNode, grant: Grant) -> None:
    argv = [sys.executable, "-c", _WITH_EACH_NUMBER_FREE, BORG, str(node.state_dir), grant.path]
    done = await asyncio.to_thread(
        subprocess.run, [*argv, str(grant.server_id), str(grant.repository_id)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert {"8", "9", "10", "11"} <= set(done.stdout.split()), (
        "guard.sh opens 8 and 9 for itself, a shell those from 10"
    )


def test_a_node_without_borg_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="no no-such-borg") as caught:
        BorgNode("no-such-borg", tmp_path)
    assert "1.4.5" in caught.value.remedy


def test_the_host_id_outlives_restarts(tmp_path: Path) -> None:
    first = BorgNode(BORG, tmp_path)
    assert BorgNode(BORG, tmp_path)._environment["BORG_HOST_ID"] == first._environment["BORG_HOST_ID"]


async def test_while_the_node_deletes_or_compacts_the_servers_key_reaches_nothing(node: BorgNode, grant: Grant) -> None:
    async def knock(epoch: int) -> int:
        script = str(node.state_dir / "serve.sh")
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", script, str(node.state_dir), grant.server_id.hex, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "SSH_ORIGINAL_COMMAND": f"borgfleet-{grant.repository_id.hex}-{epoch} serve"},
        )  # fmt: skip
        return await process.wait()

    assert await knock(grant.epoch) == 0  # borg serves, and ends with its input
    own = replace(grant, epoch=grant.epoch + 1, to_server=False)
    node.permit(own, LEASE)
    listing, _ = await node.run(own, commands.list_archives(BORG, grant.path), passphrase="canary-right")
    assert json.loads(listing)["archives"] == []
    assert [await knock(epoch) for epoch in (grant.epoch, own.epoch)] == [77, 77]
    node.permit(replace(grant, epoch=own.epoch + 1), LEASE)
    assert await knock(own.epoch + 1) == 0
    with pytest.raises(Transient):  # there is one writer
        await node.run(own, commands.list_archives(BORG, grant.path), passphrase="canary-right")


async def test_a_warning_without_a_word_is_still_a_warning_and_what_is_said_is_passed_on(
    node: BorgNode, grant: Grant
) -> None:
    heard: list[Any] = []
    script = 'echo \'{"type": "progress_percent", "message": "Checking"}\' >&2; printf \'no newline\' >&2; exit 1'
    _, lines = await node.run(grant, ["/bin/sh", "-c", script], passphrase="x", on_output=heard.append)
    assert heard == [Phase("Checking"), LogLine("info", "no newline")]
    assert lines == [LogLine("info", "no newline"), LogLine("warning", "borg ended with status 1")]


async def test_a_borg_that_hangs_on_its_disk_is_ended_and_the_pool_is_named(tmp_path: Path) -> None:
    """A network share that is gone held the lease and its slot for ever: the heartbeat renewed both."""
    node = BorgNode(BORG, tmp_path / "state", silence=1.5 + WAIT / 60)
    grant = Grant(new_id(), new_id(), str(tmp_path / "pool" / "web1" / "system"), 1)
    (tmp_path / "pool").mkdir()
    node.permit(grant, 600)
    stopped = tmp_path / "stopped"
    stops = f"echo $$ >{stopped}; kill -STOP $$"  # as a process that waits for its disk: it runs no instruction more
    with pytest.raises(Transient) as caught:
        await node.run(grant, ["/bin/sh", "-c", stops], passphrase="canary")
    assert (caught.value.code, str(tmp_path / "pool") in caught.value.remedy) == ("command_silent", True)
    said = stopped.read_text() if stopped.exists() else ""  # on a very slow machine its time is over before it begins
    async with asyncio.timeout(WAIT):
        while said.strip() and runs(int(said)):
            await asyncio.sleep(0.05)


async def test_an_earlier_lease_never_takes_the_place_of_a_later_one(node: BorgNode, grant: Grant) -> None:
    node.permit(replace(grant, epoch=2), 600)
    listing, _ = await node.run(grant, commands.list_archives(BORG, grant.path), passphrase="canary-right")
    assert json.loads(listing)["archives"] == []


@pytest.mark.parametrize("epoch", [1, 3, 7])
@pytest.mark.parametrize("how", ["ended", "shut out", "both"])
async def test_after_a_restore_of_the_database_its_epochs_are_granted_anew(
    node: BorgNode, grant: Grant, epoch: int, how: str
) -> None:
    """The process saw leases up to 7 end; the restored database gives such numbers once more."""
    node.revoke(grant)
    for number in (1, 3, 7):
        before = replace(grant, epoch=number)
        node.begin(before)
        node.permit(before, 600)
        assert node.shut_out(before, 600) if how != "ended" else True
        node.revoke(before)
    now = replace(grant, epoch=epoch, to_server=True)
    node.begin(now)
    node.permit(now, 600)
    assert (node.state_dir / "grants" / now.file_name).exists()
    late = replace(grant, epoch=next(number for number in (7, 3) if number != epoch))
    node.permit(late, 600, time.time())  # a renewal that waited for the disk, of a run that has ended
    assert (node.state_dir / "grants" / now.file_name).read_text().split()[0] == str(epoch)


async def test_an_answer_without_end_is_refused_and_not_cut(
    node: BorgNode, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.borg.node._ANSWER_LIMIT", 50)
    with pytest.raises(Permanent) as caught:
        await node.run(grant, commands.list_archives(BORG, grant.path), passphrase="canary-right")
    assert caught.value.code == "answer_too_long"


async def test_what_was_left_out_of_long_lines_is_told(node: BorgNode, grant: Grant) -> None:
    program = "import sys; sys.stderr.write('x' * 5_000_000 + chr(10))"
    _, lines = await node.run(grant, [sys.executable, "-c", program], passphrase="canary-right")
    assert any("were left out here" in line.message for line in lines)


def runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)  # dead, and nobody asked how it ended yet
    except psutil.NoSuchProcess:
        return False
