"""A pool that hangs: the event loop goes on, for every heartbeat of the node beats in it, and the pool is named."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.backup.node.apart import Disks
from services.backup.node.pools import silent_pool
from services.backup.node.storage import NodeStorage
from services.backup.ports import RepositoryPlace
from shared.borg.node import BorgNode
from shared.domain.ids import new_id
from shared.errors import Transient
from tests.harness.hanging import hanging
from tests.harness.patience import WAIT

ASK = """
import asyncio, json, sys, threading, time, uuid
from pathlib import Path
from services.backup.node.apart import Disks
from services.backup.node.pools import PoolPlace
from services.backup.ports import RepositoryPlace, Wanted
from services.backup.inventory.reconcile import list_repository
from services.backup.node.storage import NodeStorage, _grant
from shared.borg.node import BorgNode
from shared.errors import AppError
pool, borg = sys.argv[1:3]
node = BorgNode(borg, Path(pool).parent / "state")
storage = NodeStorage(node, 600)
place = RepositoryPlace(
    uuid.uuid4(), uuid.uuid4(), pool + "/web1/system", "repokey-blake2", "canary", "web1/system",
    pool=PoolPlace(uuid.uuid4(), "main", pool, marked=True),
)
class PatientWithTheState(Disks):
    async def read(self, disk, work, silent):
        self.seconds = 0.3 if disk == pool else float(sys.argv[3])
        return await super().read(disk, work, silent)
storage._disks = PatientWithTheState()
async def opened():
    async with storage.open(place, 2):
        pass
async def main():
    grant = _grant(place, 1)
    node.permit(grant, 600)
    for name, ask in {
        "require": lambda: storage.borg_id_of(place),
        "list": lambda: list_repository(None, place, grant, storage, {}),
        "ensure": lambda: storage.ensure(place, grant),
        "segment": lambda: storage.segment(place),
        "last_transaction": lambda: storage.last_transaction(place),
        "history": lambda: storage.history(place, 1),
        "key": lambda: storage.key(place),
        "keep_manifest": lambda: storage.keep_manifest(place),
        "check": lambda: storage.check_segments(place, grant, 60, lambda _: None),
        "recover": lambda: storage.recover(place, grant, Wanted(None, (), 1)),
        "open": opened,
    }.items():
        try:
            await ask()
            said = "answered"
        except AppError as error:
            said = f"{error.code} {type(error).__name__} {error.message}"
        print(json.dumps([name, said, threading.active_count()]), flush=True)
asyncio.run(main())
"""


def test_nothing_that_reads_a_hanging_pool_stops_the_heartbeats_of_other_runs(tmp_path: Path) -> None:
    """In a process of its own, which would hang where its event loop waits for the pool."""
    borg = str(Path(sys.executable).parent / "borg")
    with hanging(tmp_path / "pool") as pool:
        argv = [sys.executable, "-c", ASK, str(pool), borg, str(WAIT)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        try:
            said, _ = process.communicate(timeout=WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
    answers = [json.loads(line) for line in said.splitlines() if line.startswith('["')]  # its log goes there too
    assert len(answers) == 11, said
    for name, answer, threads in answers:
        assert answer.startswith("pool_silent Transient the storage pool main does not answer"), (name, answer)
        assert threads <= 3, "each look leaves a thread behind"
    assert process.returncode == 0


async def test_a_pool_that_answers_slowly_is_not_taken_for_hung_as_long_as_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disks, clock = Disks(0.5), [0.0]
    # A clock that goes on only while the pool is read: one that is not stopped with this process would say that it hung.
    monkeypatch.setattr("services.backup.node.apart.time", SimpleNamespace(monotonic=lambda: clock[0]))

    def slowly(alive: Callable[[], None]) -> int:
        for _ in range(12):
            time.sleep(0.1)
            clock[0] += 0.1
            alive()
        return 7

    assert await disks.read("/pool", slowly, lambda s: silent_pool("main", "/pool", s)) == 7


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyError("x")])
async def test_an_error_of_the_reading_itself_is_handed_on(error: Exception) -> None:
    def fails(_alive: object) -> None:
        raise error

    with pytest.raises(type(error)):
        await Disks(120).read("/pool", fails, lambda s: silent_pool("main", "/pool", s))


async def test_a_state_directory_that_hangs_is_named_and_stops_no_heartbeat(tmp_path: Path) -> None:
    node = BorgNode(str(Path(sys.executable).parent / "borg"), tmp_path / "state")
    storage = NodeStorage(node, 600, 0.3)
    place = RepositoryPlace(
        new_id(), new_id(), str(tmp_path / "pool" / "web1" / "system"), "repokey", "p", "web1/system"
    )
    with hanging(tmp_path / "state" / "sessions"):
        for _ in range(2):
            with pytest.raises(Transient) as caught:
                await storage.session_reports(place)
            assert (caught.value.code, str(tmp_path / "state") in caught.value.message) == ("state_silent", True)


async def test_a_disk_that_answers_again_is_read_again() -> None:
    disks, answers = Disks(0.1), threading.Event()

    async def ask() -> int:
        return await disks.read("/slow", lambda _alive: answers.wait() and 7, lambda s: silent_pool("main", "/pool", s))

    for _ in range(3):
        with pytest.raises(Transient):
            await ask()
    assert sum(thread.name == "disk:/slow" for thread in threading.enumerate()) == 1
    answers.set()
    disks.seconds = WAIT
    assert await ask() == 7
