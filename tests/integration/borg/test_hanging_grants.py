"""A grant on a disk that hangs: what works under it ends with the last end that was read, and not when the disk answers."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.hanging import hanging
from tests.harness.patience import WAIT
from tests.harness.rpc import Gone
from tests.integration.borg.conftest import SCRIPTS, World

_READ = 0x10  # IN_CLOSE_NOWRITE
_SECONDS = 20.0
"""Of a lease: enough for somebody to read it and for the test to go on, though the machine stands still meanwhile."""


def shortened(world: World) -> float:
    """Let the lease end soon, wait until somebody has read that, and return when it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(0)
    ends = time.time() + _SECONDS
    world.node.permit(world.grant, _SECONDS)
    try:
        file = world.node.state_dir / "grants" / world.grant.file_name
        assert libc.inotify_add_watch(watch, bytes(file), _READ) >= 0, os.strerror(ctypes.get_errno())
        assert select.select([watch], [], [], WAIT)[0], "nobody reads the grant"
    finally:
        os.close(watch)
    return ends


def ends_while_it_hangs(world: World, ends: float, wait: Callable[[], object]) -> None:
    with hanging(world.node.state_dir / "grants"):
        try:
            wait()
        except subprocess.TimeoutExpired:
            pytest.fail("it outlives its lease for as long as the disk of the grant hangs")
        assert time.time() >= ends - 1.5, "it ended before its lease did"


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def test_a_session_ends_with_its_lease_though_the_disk_of_its_grant_hangs(world: World) -> None:
    """A server that was hacked kept its repository open for as long as the node's state disk gave no answer."""
    with world.opened() as client:
        client.call("put", id=b"late" * 8, data=b"garbage")
        try:
            ends_while_it_hangs(world, shortened(world), lambda: client.process.wait(WAIT))
        finally:
            client.process.kill()
        with pytest.raises(Gone):
            client.call("commit", save_space=False)
    world.assert_whole()


def test_the_nodes_own_borg_ends_with_its_lease_though_the_disk_of_its_grant_hangs(world: World) -> None:
    file = world.node.state_dir / "grants" / world.grant.file_name
    argv = ["/bin/sh", str(SCRIPTS / "guard.sh"), str(file), str(world.grant.epoch)]
    mark = Path(world.directory) / "trapped"
    script = f"trap 'echo > {mark}; exit 3' TERM; while :; do sleep 0.1; done"
    process = subprocess.Popen([*argv, "/bin/sh", "-c", script], start_new_session=True)
    try:
        ends_while_it_hangs(world, shortened(world), lambda: process.wait(WAIT))
    finally:
        _kill(process)
    assert (process.wait(), mark.exists()) == (3, True), "borg is asked to end before it is killed"


def test_a_lease_that_is_renewed_lasts_and_one_that_passed_on_ends_at_once(world: World) -> None:
    """The watchers read on: what they read first is neither the end nor the whole."""
    file = world.node.state_dir / "grants" / world.grant.file_name
    argv = ["/bin/sh", str(SCRIPTS / "guard.sh"), str(file), str(world.grant.epoch), "sleep", "600"]
    guarded = subprocess.Popen(argv, start_new_session=True)
    try:
        with world.opened() as client:
            ends = shortened(world)
            world.node.permit(world.grant, 600)
            while time.time() < ends + 2:
                assert client.call("__len__") > 0
                assert guarded.poll() is None
            world.node.revoke(world.grant)
            assert client.process.wait(WAIT) != 0
            assert guarded.wait(WAIT) != 0
            assert time.time() < ends + 300, "they waited for an end that is no longer theirs"
    finally:
        _kill(guarded)
