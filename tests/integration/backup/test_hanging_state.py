"""A state directory that hangs: no heartbeat waits for it, it is named, and no leave outlives its run by it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.backup.node.leaves import Leaves
from services.backup.node.storage import NodeStorage
from services.backup.ports import RepositoryPlace
from shared.borg.node import BorgNode, Grant
from shared.domain.ids import new_id
from shared.errors import Transient
from tests.harness.hanging import hanging
from tests.harness.patience import WAIT

BORG = str(Path(sys.executable).parent / "borg")
ASK = """
import asyncio, json, sys, threading, uuid
from pathlib import Path
from types import SimpleNamespace
from services.backup.node.endpoint import Endpoint
from services.backup.node.storage import NodeStorage
from services.backup.ports import RepositoryPlace
from shared.borg.node import BorgNode
from shared.errors import AppError
home, borg = Path(sys.argv[1]), sys.argv[2]
storage = NodeStorage(BorgNode(borg, home / "state"), 600, float(sys.argv[3]))
place = RepositoryPlace(uuid.uuid4(), uuid.uuid4(), str(home / "pool/web1/system"), "repokey", "canary", "web1/system")
settings = SimpleNamespace(node="main", endpoint_host="n", endpoint_port=22, endpoint_user="borg",
                           endpoint_host_key_file=home / "state" / "grants" / "key")
endpoint = Endpoint(None, settings, home / "state")

async def said(name, ask):
    try:
        await ask
        answer = "answered"
    except AppError as error:
        answer = f"{error.code} {type(error).__name__} {error.message}"
    print(json.dumps([name, answer, threading.active_count()]), file=sys.stderr, flush=True)

async def beat():
    storage.permit(place, 1)

async def opened(epoch):
    async with storage.open(place, epoch):
        pass

async def main():
    async with storage.open(place, 1) as grant:
        print("open", flush=True)
        sys.stdin.readline()
        storage._disks.seconds = 0.3
        for number in range(4):
            await said(f"beat {number}", beat())
        await said("shut_out", storage.shut_out(place, grant))
        await said("announce", endpoint.announce())
    await said("beat after the end", beat())
    await said("open", opened(2))
    await said("open again", opened(3))
asyncio.run(main())
"""


def test_nothing_waits_in_the_event_loop_for_a_state_directory_that_hangs(tmp_path: Path) -> None:
    """In a process of its own, which would hang where its event loop waits for the disk; it answers beside its log."""
    argv = [sys.executable, "-c", ASK, str(tmp_path), BORG, str(WAIT)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "open\n"
    with hanging(tmp_path / "state" / "grants"):
        try:
            _, said = process.communicate("it hangs\n", timeout=WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
    answers = {
        name: (answer.split(" the ")[0], threads) for name, answer, threads in map(json.loads, said.splitlines())
    }
    beats = {f"beat {number}": "answered" for number in range(4)} | {"beat after the end": "answered"}
    silent = dict.fromkeys(("shut_out", "announce", "open", "open again"), "state_silent Transient")
    assert {name: answer for name, (answer, _) in answers.items()} == beats | silent, said
    assert answers["beat 3"][1] <= 3, "each beat leaves a thread behind"
    assert process.returncode == 0


class SlowNode(BorgNode):
    """Its disk answers when it is let."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(BORG, state_dir)
        self.answers, self.asked = threading.Event(), threading.Semaphore(0)
        self.answers.set()

    def _epoch(self, grant: Grant) -> int:
        self.asked.release()
        assert self.answers.wait(WAIT)
        return super()._epoch(grant)

    def named(self, grant: Grant) -> tuple[int, int] | None:
        """Return the epoch and the end that the grant's file names."""
        file = self.state_dir / "grants" / grant.file_name
        if not file.exists():
            return None
        epoch, until, *_ = file.read_text().split()
        return int(epoch), int(until)


async def ended() -> None:
    """Wait for every thread that a slow disk kept."""
    for thread in threading.enumerate():
        if thread.name.startswith(("grant:", "revoke:", "disk:")):
            await asyncio.to_thread(thread.join, WAIT)


@pytest.fixture
def node(tmp_path: Path) -> SlowNode:
    return SlowNode(tmp_path / "state")


@pytest.fixture
def grant() -> Grant:
    return Grant(new_id(), new_id(), "/pool/web1/system", 1)


async def test_a_renewal_that_waited_for_the_disk_lasts_no_longer_than_if_it_had_not(
    node: SlowNode, grant: Grant
) -> None:
    leaves = Leaves(node)
    node.answers.clear()
    asked = time.time()
    leaves.renew(grant, 600)
    await asyncio.to_thread(node.asked.acquire, timeout=WAIT)
    latest = time.time()
    while time.time() < latest + 2.5:
        await asyncio.sleep(0.1)
    node.answers.set()
    await ended()
    named = node.named(grant)
    assert named
    assert named[0] == 1
    assert int(asked + 600) <= named[1] <= latest + 601


async def test_no_renewal_that_waited_for_the_disk_outlives_the_end_of_its_run(node: SlowNode, grant: Grant) -> None:
    leaves = Leaves(node)
    node.permit(grant, 600)
    node.answers.clear()
    leaves.renew(grant, 600)
    await asyncio.to_thread(node.asked.acquire, timeout=WAIT)
    await leaves.revoke(grant, 0.1)  # and the run ends as it would have
    leaves.renew(grant, 600)  # the job beats on
    node.answers.set()
    await ended()
    leaves.renew(grant, 600)
    await ended()
    assert node.named(grant) is None


async def test_the_end_of_a_run_whose_disk_hung_ends_no_later_lease(node: SlowNode, grant: Grant) -> None:
    leaves, later = Leaves(node), Grant(grant.server_id, grant.repository_id, grant.path, 2)
    node.permit(grant, 600)
    node.answers.clear()
    await leaves.revoke(grant, 0.1)
    following = asyncio.create_task(asyncio.to_thread(node.permit, later, 600))
    node.answers.set()
    await following
    await ended()
    named = node.named(later)
    assert named
    assert named[0] == 2


async def test_a_renewal_that_fails_is_told_and_the_next_one_is_tried(
    node: SlowNode, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    leaves = Leaves(node)
    with monkeypatch.context() as patch:
        patch.setattr("shared.borg.node._write", full)
        leaves.renew(grant, 600)
        await ended()
    with capture_logs() as logs:
        leaves.renew(grant, 600)
    await ended()
    assert node.named(grant)
    assert [one["event"] for one in logs] == ["grant_not_renewed"]
    assert "No space left on device" in logs[0]["reason"]


async def test_a_leave_that_is_not_renewed_for_long_is_for_people_to_know(node: SlowNode, grant: Grant) -> None:
    """It stood in the service's log alone, and the run ended with its lease for no reason that its job told."""
    leaves = Leaves(node)
    assert [leaves.renew(grant, 2 * WAIT), await ended(), leaves.renew(grant, 2 * WAIT), await ended()] == [
        "",
        None,
    ] * 2
    node.answers.clear()
    leaves.renew(grant, 2 * WAIT)
    await asyncio.to_thread(node.asked.acquire, timeout=WAIT)
    assert leaves.renew(grant, 2 * WAIT) == "", "a hang that is shorter costs nothing"
    assert leaves.renew(grant, 0) == "the state directory does not answer"
    node.answers.set()
    await ended()
    assert leaves.renew(grant, 0) == ""
    await ended()


@pytest.mark.parametrize("where", ["look", "write"])
async def test_a_state_directory_that_hangs_while_a_manifest_is_kept_is_not_told_as_the_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    storage = NodeStorage(BorgNode(BORG, tmp_path / "state"), 600, 0.3 if where == "look" else WAIT)
    place = RepositoryPlace(new_id(), new_id(), "/pool/web1/system", "repokey", "p", "web1/system")
    over = threading.Event()

    def hang(*_: object) -> None:
        over.wait(WAIT)

    def newest(*_: object) -> int:
        return 7

    def found(_path: str, _upto: int, _alive: Callable[[], None]) -> bytes:
        storage._disks.seconds = 0.3  # from the next look on
        return b"sealed"

    monkeypatch.setattr("services.backup.node.storage.segments.last_transaction", newest)
    monkeypatch.setattr("services.backup.node.storage.segments.manifest", hang if where == "look" else found)
    monkeypatch.setattr("services.backup.node.storage.vault.keep_manifest", hang)
    with pytest.raises(Transient) as caught:
        await storage.keep_manifest(place)
    assert caught.value.code == ("pool_silent" if where == "look" else "state_silent")
    over.set()
