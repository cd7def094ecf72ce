"""The first `borg init`, killed or cancelled at any moment: the next run succeeds, and nothing half made is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.backup.node.pools import MARK, PoolPlace
from services.backup.node.storage import NodeStorage
from services.backup.ports import RepositoryPlace
from shared.borg.node import BorgNode
from shared.errors import AppError, Permanent
from tests.harness.patience import WAIT

Stop = Callable[[asyncio.Task[object], Path], None]
"""Stops a run, of which everything lies below a directory."""
BORG = str(Path(sys.executable).parent / "borg")
DYING = """
import os, sys, borg.archiver, borg.repository
borg.repository.Repository.commit = lambda *_, **__: os.kill(os.getpid(), 9)
sys.argv[0] = "borg"
borg.archiver.main()
"""
"""A borg that is killed before it commits anything: a test that kills it may come too late."""
MOMENTS = (0.0, 0.1, 0.3, 0.6, 1.0)
"""Parts of the time from when something is on disk to the end."""


class Place:
    """A storage pool with the place of one repository, and a storage that can be killed."""

    def __init__(self, directory: Path) -> None:
        self.pool = directory / "pool"
        self.pool.mkdir(parents=True)
        self.node = BorgNode(BORG, directory / "state")
        self.storage = NodeStorage(self.node, 600)
        self.path = self.pool / "web1" / "system"
        pool = PoolPlace(uuid.uuid4(), "main", str(self.pool), marked=False)
        self.place = RepositoryPlace(
            uuid.uuid4(), uuid.uuid4(), str(self.path), "repokey-blake2", "canary", "web1/system", pool=pool
        )
        self.epoch = 0

    async def ensure(self) -> tuple[str, tuple[str, ...]]:
        """Do what the beginning of a run does, in a new epoch of the lease."""
        self.epoch += 1
        async with self.storage.open(self.place, self.epoch) as grant:
            await self.storage.borg_id_of(self.place)
            prepared = await self.storage.ensure(self.place, grant)
            assert await self.storage.archives(self.place, grant) == []
        return prepared.borg_id, prepared.told

    def on_disk(self) -> list[Path]:
        """What the making of a repository has left so far."""
        return [*self.pool.glob(".new-*"), *self.pool.glob("web1/system")]

    async def interrupted(self, stop: Stop, after: float) -> None:
        """Begin, and stop so many seconds after anything is on disk."""
        task: asyncio.Task[object] = asyncio.create_task(self.ensure())
        while not self.on_disk() and not task.done():
            await asyncio.sleep(0.002)
        await asyncio.sleep(after)
        stop(task, self.pool.parent)
        with contextlib.suppress(AppError, asyncio.CancelledError):
            await task

    async def expect_success(self) -> tuple[str, ...]:
        borg_id, told = await self.ensure()
        assert await self.storage.borg_id_of(self.place) == borg_id
        assert not list(self.pool.glob(".new-*"))
        assert (self.path / "config").is_file()
        again, nothing = await self.ensure()
        assert (again, nothing) == (borg_id, ())
        return told


def kill_borg(_task: asyncio.Task[object], directory: Path) -> None:
    """Kill what works below a directory: borg and its guard, and no server of another test."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if str(directory) in " ".join(process.cmdline()):
                process.kill()


def cancel(task: asyncio.Task[object], _directory: Path) -> None:
    task.cancel()


@pytest.fixture(scope="module")
async def seconds(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long borg works on the disk for a new repository on this machine, now."""
    place = Place(tmp_path_factory.mktemp("measure"))
    task = asyncio.create_task(place.ensure())
    while not place.on_disk():
        await asyncio.sleep(0.002)
    begun = time.monotonic()
    while not place.path.exists():
        await asyncio.sleep(0.002)
    took = time.monotonic() - begun
    await task
    return took


@pytest.mark.parametrize("stop", [kill_borg, cancel])
async def test_after_a_first_init_that_was_cut_short_at_any_moment_the_next_run_succeeds(
    tmp_path: Path, seconds: float, stop: Stop
) -> None:
    """A directory was left that no later run accepted, until somebody removed it by hand."""
    for number, moment in enumerate(MOMENTS):
        place = Place(tmp_path / str(number))
        await place.interrupted(stop, seconds * moment)
        await place.expect_success()
        assert {entry.name for entry in place.pool.iterdir()} == {MARK, "web1"}


async def test_what_an_older_version_left_half_made_is_moved_aside(tmp_path: Path, seconds: float) -> None:
    aside = 0
    for number, moment in enumerate(MOMENTS[:-1]):
        place = Place(tmp_path / str(number))
        host = (place.node.state_dir / "host-id").read_text().strip()  # else borg takes a dead one's lock for another's
        borg = [BORG] if moment else [sys.executable, "-c", DYING]
        init = subprocess.Popen(
            [*borg, "init", "--encryption=repokey-blake2", "--make-parent-dirs", "--", str(place.path)],
            env=os.environ | {"BORG_PASSPHRASE": "canary", "BORG_BASE_DIR": str(tmp_path / "base"), "BORG_HOST_ID": host},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if moment:
            deadline = time.monotonic() + WAIT
            while not place.path.exists() and time.monotonic() < deadline:
                await asyncio.sleep(0.002)
            await asyncio.sleep(seconds * moment)
            init.send_signal(signal.SIGKILL)
        init.wait(WAIT)
        told = await place.expect_success()
        aside += len(list(place.pool.glob(".broken-*")))
        assert all("without any archive" in sentence for sentence in told)
    assert aside >= 1  # the first one committed nothing


async def test_what_is_no_empty_repository_is_left_alone(tmp_path: Path) -> None:
    place = Place(tmp_path / "photos")
    (place.path / "photos").mkdir(parents=True)
    (place.path / "photos" / "a.jpg").write_text("x")
    with pytest.raises(Permanent) as caught:
        await place.ensure()
    assert caught.value.code == "place_taken"
    assert (place.path / "photos" / "a.jpg").read_text() == "x"

    place = Place(tmp_path / "headless")  # what lost its configuration may hold archives
    await place.ensure()
    (place.path / "config").unlink()
    with pytest.raises(Permanent) as caught:
        await place.ensure()
    assert caught.value.code == "place_taken"
    assert list((place.path / "data").glob("*/*"))


async def test_a_repository_that_was_made_once_is_never_made_anew(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.place = replace(place.place, made=True)
    with pytest.raises(Permanent) as caught:
        await place.ensure()
    assert caught.value.code == "repository_missing"
    assert place.on_disk() == []


@pytest.mark.parametrize("when", ["before borg begins", "while borg makes it"])
async def test_nothing_is_made_under_the_mount_point_of_a_pool_that_went_meanwhile(tmp_path: Path, when: str) -> None:
    """It was there when the run began: a repository under the mount point would take this night's backup, and be green."""
    place = Place(tmp_path)
    ask, run = place.storage.borg_id_of, place.node.run

    def gone() -> None:
        (place.pool / MARK).rename(tmp_path / "unmounted")

    async def asked(*arguments: Any) -> Any:
        found = await ask(*arguments)
        gone()
        return found

    async def ran(*arguments: Any, **more: Any) -> Any:
        done = await run(*arguments, **more)
        gone()
        return done

    if when == "before borg begins":
        place.storage.borg_id_of = asked  # type: ignore[method-assign] - a stand-in for this one test
    else:
        place.node.run = ran  # type: ignore[method-assign] - as above
    with pytest.raises(Permanent) as caught:
        await place.ensure()
    assert caught.value.code == "pool_not_mounted"
    assert not place.path.exists()
    place.storage.borg_id_of, place.node.run = ask, run  # type: ignore[method-assign] - as they were
    (tmp_path / "unmounted").rename(place.pool / MARK)
    await place.expect_success()


async def test_an_empty_directory_in_its_place_is_no_obstacle(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.path.mkdir(parents=True)
    assert await place.expect_success() == ()


async def test_a_pool_whose_directory_is_gone_is_not_made(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.pool.rmdir()
    place.place = replace(place.place, pool=None)
    with pytest.raises(Permanent) as caught:
        await place.ensure()
    assert caught.value.code == "pool_missing"
    assert not place.pool.exists()
