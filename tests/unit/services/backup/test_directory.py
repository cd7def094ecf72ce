"""One directory of an archive: what the archive only implies is there too, pages miss nothing, and it is asked safely."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.backup.catalogue.answers import Answers
from services.backup.catalogue.directory import Directory
from services.backup.node.view_keeper import ViewKeeper
from shared.borg.entries import Entry
from shared.borg.views import CannotLink
from shared.db.tables import Archive, Repository
from shared.db.tables.base import db_now
from shared.domain.files import LIST, ListAnswer, ListAsked, subject
from shared.domain.ids import new_id
from shared.errors import AppError, Invalid, Permanent, Transient
from tests.harness.patience import WAIT
from tests.unit.services.backup.world import World


def entry(path: bytes, kind: str = "-", size: int = 3, link: bytes = b"") -> Entry:
    return Entry(path, kind, 0o644, 0, 0, b"root", b"root", size, 1, 1, link)


TREE = [
    entry(b"srv/data", "d"), entry(b"srv/data/b"), entry(b"srv/data/a", size=7), entry(b"srv/data/sub", "d"),
    entry(b"srv/data/sub/x"), entry(b"srv/data/latin1-\xe9"), entry(b"srv/data/l", "l", link=b"a"), entry(b"srv/database"),
    entry(b"srv/only/implied/y"),
]  # fmt: skip


def page(path: bytes, **asked: Any) -> ListAnswer:
    directory = Directory(path)
    for one in TREE:
        directory(one)
    return directory.page(ListAsked(archive_id=new_id(), path=path, **asked))


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (b"", [b"srv"]),
        (b"srv", [b"data", b"database", b"only"]),
        (b"srv/data", [b"a", b"b", b"l", b"latin1-\xe9", b"sub"]),
        (b"srv/only", [b"implied"]),
        (b"srv/only/implied", [b"y"]),
    ],
)
def test_a_directory_lists_what_stands_in_it_and_nothing_else(path: bytes, names: list[bytes]) -> None:
    answer = page(path)
    assert [row.name for row in answer.rows] == names
    assert (answer.more, answer.source) == (False, "archive")


def test_a_directory_that_the_archive_only_implies_has_no_figures() -> None:
    (row,) = page(b"srv/only").rows
    assert (row.type, row.mode, row.size) == ("d", None, None)


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 500])
def test_pages_join_to_the_whole_directory(limit: int) -> None:
    found: list[bytes] = []
    after = None
    for _ in range(10):
        answer = page(b"srv/data", limit=limit, after=after)
        found += [row.name for row in answer.rows]
        if not answer.more:
            break
        after = answer.rows[-1].name
    assert found == [b"a", b"b", b"l", b"latin1-\xe9", b"sub"]


def test_a_page_stays_below_what_a_message_carries() -> None:
    directory = Directory(b"d")
    for number in range(600):
        directory(entry(b"d/%03d" % number + b"\xe9" * 240, "l", link=b"x" * 4000))
    answer = directory.page(ListAsked(archive_id=new_id(), path=b"d", limit=500))
    assert answer.more
    assert 0 < len(answer.rows) < 500
    assert len(answer.model_dump_json()) < 1_000_000


@pytest.mark.parametrize("path", [b"srv/dat", b"nowhere", b"srv/data/a/x"])
def test_a_path_that_is_not_there_is_no_empty_directory(path: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        page(path)
    assert caught.value.code == "path_not_in_archive"


def test_a_file_is_no_directory() -> None:
    with pytest.raises(Invalid) as caught:
        page(b"srv/data/a")
    assert caught.value.code == "path_no_directory"


async def archived(world: World) -> Archive:
    repository = (await world.rows(Repository))[0]

    async def add(tx: Any) -> Archive:
        made = Archive(repository_id=repository.id, server_id=repository.server_id, name="one", borg_id="b" * 64,
                       started_at=db_now(), ended_at=db_now())  # fmt: skip
        tx.session.add(made)
        await tx.session.flush()
        return made

    return await world.db.run(add)


async def answered(world: World, path: bytes = b"srv/data", archive: Archive | None = None) -> ListAnswer:
    """Ask as the gateway does."""
    archive = archive or await archived(world)
    world.storage.listed_entries = TREE
    keeper = ViewKeeper(world.db, "node1", world.storage)  # type: ignore[arg-type] - as much of a storage as it needs
    stopping = asyncio.Event()
    serving = asyncio.create_task(
        Answers(world.db, world.bus, "node1", world.storage, keeper, Path("/nowhere")).serve(stopping)
    )
    try:
        await asyncio.sleep(0)
        asked = ListAsked(archive_id=archive.id, path=path).model_dump_json().encode()
        return ListAnswer.model_validate_json(await world.bus.request(subject(LIST, "node1"), asked, WAIT))
    finally:
        stopping.set()
        await serving
        assert not keeper._using


async def test_a_question_is_answered_and_leaves_no_view_and_no_lease(world: World) -> None:
    answer = await answered(world)
    assert [row.name for row in answer.rows] == [b"a", b"b", b"l", b"latin1-\xe9", b"sub"]
    assert world.storage.calls == ["take view of web1/system", "remove view"]
    repository = (await world.rows(Repository))[0]
    assert await world.db.run(lambda tx: tx.leases.acquire(f"repository:{repository.id.hex}", "backup", 9)) is not None


async def test_a_repository_that_is_pruned_now_is_told_as_busy(world: World) -> None:
    repository = (await world.rows(Repository))[0]
    await world.db.run(lambda tx: tx.leases.acquire(f"repository:{repository.id.hex}", "prune", 60))
    with pytest.raises(Transient) as caught:
        await answered(world)
    assert caught.value.code == "repository_busy"


@pytest.mark.parametrize("path", [b"../etc", b"srv/../x", b"a\0b", b"x" * 17000], ids=["up", "within", "nul", "long"])
async def test_a_path_that_no_backup_lists_takes_no_view(world: World, path: bytes) -> None:
    with pytest.raises(Invalid):
        await answered(world, path)
    assert world.storage.calls == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CannotLink("no links", code="view_no_links"), "catalogue_missing"),
        (Permanent("gone", code="archive_missing"), "archive_missing"),
        (Permanent("wrong", code="passphrase_wrong"), "passphrase_wrong"),
    ],
    ids=["no links", "gone", "other"],
)
async def test_what_goes_wrong_reaches_who_asked_and_the_view_goes(world: World, error: AppError, code: str) -> None:
    async def fails(*_arguments: Any, **_named: Any) -> None:
        raise error

    world.storage.entries = fails  # type: ignore[method-assign] - a stand-in for this one test
    with pytest.raises(AppError) as caught:
        await answered(world)
    assert caught.value.code == code
    assert world.storage.calls[-1] == "remove view"


async def test_a_backup_that_is_on_no_record_is_told(world: World) -> None:
    gone = Archive(id=new_id())
    with pytest.raises(AppError) as caught:
        await answered(world, archive=gone)
    assert caught.value.code == "archive_missing"
