"""A disk that is not mounted is noticed before anything is made or run, and nothing is frozen for it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.backup.node.apart import apart, start
from services.backup.node.pools import MARK, PoolPlace, borg_id_of, claim_pool, read_mark
from shared.db.tables import Repository, StoragePool
from shared.errors import Permanent
from tests.harness.patience import WAIT
from tests.unit.services.backup.fakes import BORG_ID
from tests.unit.services.backup.world import World

NEW = PoolPlace(uuid.UUID(int=7), "main", "", marked=False)


def refused(pool: PoolPlace) -> Permanent:
    with pytest.raises(Permanent) as caught:
        claim_pool(pool)
    assert caught.value.remedy
    return caught.value


def repository(pool: Path, name: str = "web1/system") -> str:
    path = pool / name
    path.mkdir(parents=True)
    (path / "config").write_text(f"[repository]\nversion = 1\nid = {'a' * 64}\n")
    return str(path)


def test_a_new_pool_is_marked_and_known_again(tmp_path: Path) -> None:
    pool = replace(NEW, path=str(tmp_path))
    claim_pool(pool)
    assert read_mark(tmp_path) == str(pool.id)
    claim_pool(pool)
    claim_pool(replace(pool, marked=True))
    assert [entry.name for entry in tmp_path.iterdir()] == [MARK]


def test_a_run_and_the_measuring_may_mark_a_pool_at_once(tmp_path: Path) -> None:
    pool = replace(NEW, path=str(tmp_path))
    for _ in range(20):
        first, second = (start(lambda: claim_pool(pool), "claims") for _ in range(2))
        assert (first.result(WAIT), second.result(WAIT)) == (None, None)
        assert [entry.name for entry in tmp_path.iterdir()] == [MARK]
        (tmp_path / MARK).unlink()


@pytest.mark.parametrize(
    "left", [b"", b"\n", b"\xff\xfe", b"0" * 5000, b"00000000-0000-0000-0000-000000000008\n"],
    ids=["empty", "blank", "bytes", "long", "another"],
)  # fmt: skip
@pytest.mark.parametrize("marked", [True, False])
def test_a_mark_that_is_not_the_pools_own_is_never_overwritten(tmp_path: Path, left: bytes, marked: bool) -> None:
    (tmp_path / MARK).write_bytes(left)
    error = refused(replace(NEW, path=str(tmp_path), marked=marked))
    assert (error.code, "names another pool" in error.message) == ("pool_not_mounted", True)
    assert (tmp_path / MARK).read_bytes() == left


def test_a_mount_point_without_its_disk_is_refused_and_stays_empty(tmp_path: Path) -> None:
    error = refused(replace(NEW, path=str(tmp_path), marked=True))
    assert (error.code, list(tmp_path.iterdir())) == ("pool_not_mounted", [])


def test_a_pool_of_an_older_version_is_marked_only_where_its_repositories_are(tmp_path: Path) -> None:
    """At the upgrade the disk may just not be mounted: a mark under the mount point would hide that for ever."""
    (tmp_path / "mount").mkdir()
    old = replace(NEW, path=str(tmp_path / "mount"), known=(str(tmp_path / "mount/web1/system"), "/nowhere"))
    assert refused(old).code == "pool_not_mounted"
    assert list((tmp_path / "mount").iterdir()) == []
    repository(tmp_path / "mount")
    claim_pool(old)
    assert read_mark(tmp_path / "mount") == str(old.id)


def test_what_is_no_directory_or_cannot_be_read_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refused(replace(NEW, path=str(tmp_path / "file"))).code == "pool_missing"
    assert refused(replace(NEW, path=str(tmp_path / "gone"))).code == "pool_missing"
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / MARK).mkdir()
    assert refused(replace(NEW, path=str(tmp_path / "odd"))).code == "pool_unusable"


@pytest.mark.parametrize("config", ["", "[repository", "[other]\nid = 1\n", "[repository]\nversion = 1\n", "\x00"])
def test_a_configuration_that_is_none_is_no_repository(tmp_path: Path, config: str) -> None:
    (tmp_path / "config").write_text(config)
    assert borg_id_of(str(tmp_path)) is None
    assert borg_id_of(str(tmp_path / "gone")) is None
    assert borg_id_of(str(tmp_path / "config")) is None


async def test_which_repository_was_made_is_kept_at_its_first_use(world: World) -> None:
    world.storage.told = ("it was moved",)
    await world.backup(await world.request())
    assert (await world.rows(Repository))[0].borg_id == BORG_ID
    assert (await world.rows(StoragePool))[0].marked_at


async def test_nothing_is_made_run_or_frozen_while_the_disk_is_not_mounted(world: World) -> None:
    """A repository was made under the mount point, and the real one was frozen for ever when it came back."""
    await world.backup(await world.request())
    await world.keep(keep_last=1)
    world.storage.calls.clear()
    world.storage.there = Permanent("not mounted", code="pool_not_mounted", remedy="mount it")
    assert (await world.refused(await world.request())).code == "pool_not_mounted"
    with pytest.raises(Permanent, match="not mounted"):
        await world.prune()
    assert world.storage.calls == []
    assert not (await world.rows(Repository))[0].frozen_reason
    world.storage.there = BORG_ID
    await world.backup(await world.request())


@pytest.mark.parametrize(("there", "code"), [(None, "repository_missing"), ("c" * 64, "repository_replaced")])
async def test_a_known_repository_is_neither_made_anew_nor_taken_for_another(
    world: World, there: Any, code: str
) -> None:
    await world.backup(await world.request())
    world.storage.calls.clear()
    world.storage.there = there
    error = await world.refused(await world.request())
    assert (error.code, bool(error.remedy), world.storage.calls) == (code, True, [])


async def test_a_repository_of_an_older_version_is_known_by_its_archives(world: World) -> None:
    await world.backup(await world.request())

    async def forget(tx: Any) -> None:
        repository = await tx.session.get_one(Repository, world.definition.repository_id)
        repository.borg_id = None

    await world.db.run(forget)
    world.storage.there = None
    assert (await world.refused(await world.request())).code == "repository_missing"
    world.storage.there = "d" * 64
    await world.backup(await world.request())
    assert (await world.rows(Repository))[0].borg_id == "d" * 64


async def test_work_in_a_thread_of_its_own_ends_with_its_result_its_error_or_its_time() -> None:
    assert await apart(lambda: 7, 120, "well") == 7
    with pytest.raises(ZeroDivisionError):
        await apart(lambda: 1 // 0, 120, "fails")
