"""A node that was killed or lost its power leaves locks, and their process numbers are others' now: work goes on by itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.backup.node.storage import NodeStorage
from services.backup.ports import RepositoryPlace
from shared.borg.dead_locks import remove_dead_locks
from shared.borg.node import BorgNode
from shared.domain.ids import new_id
from tests.integration.borg.conftest import BORG, PASSPHRASE, World


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Return the number of a process that lives and has these words in its command line."""
    processes: list[subprocess.Popen[bytes]] = []

    def live(*words: str) -> int:
        script = tmp_path / "process.sh"
        script.write_text("echo; read -r line\n")
        argv = ["/bin/sh", str(script), *words]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"\n"
        return process.pid

    yield live
    for process in processes:
        process.communicate()


def exclusive(directory: Path, host: str, process: int) -> None:
    lock = directory / "lock.exclusive"
    lock.mkdir(parents=True)
    (lock / f"{host}.{process}-0").touch()


def shared(directory: Path, host: str, process: int) -> None:
    (directory / "lock.roster").write_text(json.dumps({"shared": [[host, process, 0]], "exclusive": []}))


def in_roster(directory: Path, host: str, process: int) -> None:
    exclusive(directory, host, process)
    (directory / "lock.roster").write_text(json.dumps({"exclusive": [[host, process, 0]]}))


def borg_id(world: World) -> str:
    return str(json.loads(world.borg("info", "--json", world.grant.path))["repository"]["id"])


@pytest.mark.parametrize("left", [exclusive, shared, in_roster])
@pytest.mark.parametrize("where", ["repository", "cache"])
async def test_a_lock_whose_process_number_is_anothers_by_now_keeps_nobody_out(
    world: World, another: Callable[..., int], left: Callable[[Path, str, int], None], where: str
) -> None:
    """It was `repository_locked` at each run until somebody broke the lock by hand."""
    grant, known = world.grant, borg_id(world)
    place = RepositoryPlace(
        grant.repository_id, grant.server_id, grant.path, "repokey-blake2", PASSPHRASE, "web1/system", borg_id=known
    )
    storage = NodeStorage(world.node, 600)
    async with storage.open(place, grant.epoch + 1) as own:
        before = await storage.archives(place, own)
        await storage.figures(place, own)  # makes the cache
    cache = world.node.state_dir / "borg" / ".cache" / "borg" / known
    assert cache.is_dir()
    left(Path(grant.path) if where == "repository" else cache, world.node.host_id, another())
    async with storage.open(place, grant.epoch + 2) as own:
        await storage.delete(place, own, before[0].name, before[0].borg_id)
        assert await storage.archives(place, own) == []


@pytest.mark.parametrize(
    "words", [("/usr/bin/borg", "check"), ("-m", "borg"), ("/x/fence/fence.py",), ("-I", "/x/fence/recover.py")]
)
def test_a_borg_that_lives_keeps_its_lock(tmp_path: Path, another: Callable[..., int], words: tuple[str, ...]) -> None:
    in_roster(tmp_path, "borgfleet-1", another(*words))
    assert remove_dead_locks([tmp_path], "borgfleet-1") == []
    assert list((tmp_path / "lock.exclusive").iterdir())


def test_a_number_that_no_process_has_is_dead_and_one_that_nobody_can_look_up_is_not(tmp_path: Path) -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    exclusive(tmp_path, "borgfleet-1", gone.pid)
    shared(tmp_path, "borgfleet-1", 10**4200)
    assert remove_dead_locks([tmp_path], "borgfleet-1") == [f"borgfleet-1.{gone.pid}-0"]
    assert (tmp_path / "lock.roster").exists()


def test_a_lock_of_another_host_or_one_that_is_not_understood_is_left_alone(
    tmp_path: Path, another: Callable[..., int]
) -> None:
    number = another("borgfleet", "run", "backup")
    hosts = ("backup2@17", "borgfleet-2", "borgfleet-1.evil", "")
    for count, host in enumerate(hosts):
        exclusive(tmp_path / str(count), host, number)
        shared(tmp_path / str(count), host, number)
    for name in ("borgfleet-1", "borgfleet-1.x-0", "borgfleet-1.-5-0", "-", "..", f"borgfleet-1.{new_id()}-0"):
        if name != "..":
            (tmp_path / "0" / "lock.exclusive" / name).touch()
    for roster in ("", "[]", "7", '{"shared": 7}', '{"shared": [7, [], ["borgfleet-1", true, 0], null]}', "\x00"):
        directory = tmp_path / f"r{len(roster)}"
        directory.mkdir(exist_ok=True)
        (directory / "lock.roster").write_text(roster)
    directories = [tmp_path / "none", *sorted(one for one in tmp_path.iterdir() if one.is_dir())]
    assert remove_dead_locks(directories, "borgfleet-1") == []
    exclusive(tmp_path / "ours", "borgfleet-1", number)
    shared(tmp_path / "ours", "borgfleet-1", number)
    assert len(remove_dead_locks([tmp_path / "ours", *directories], "borgfleet-1")) == 2
    assert not (tmp_path / "ours" / "lock.exclusive").exists()


def test_a_host_id_that_a_loss_of_power_left_empty_is_made_anew(world: World) -> None:
    """An empty one makes borg take the machine's name, by which two nodes may be one."""
    (world.node.state_dir / "host-id").write_text("")
    assert BorgNode(BORG, world.node.state_dir).host_id.startswith("borgfleet-")
