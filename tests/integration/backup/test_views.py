"""Reading beside a real backup and a real prune: the one goes on, the other is waited for, nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from services.backup.node.view_keeper import ViewKeeper
from services.backup.node.views import View, through_view, viewed
from services.backup.plan import load_repository
from shared.borg import views
from shared.db.stores.requests import request_maintenance
from shared.db.tables import Job
from shared.domain.job import JobType
from shared.errors import Waiting
from shared.runtime.context import Context
from tests.harness.patience import WAIT
from tests.integration.backup.yard import Yard


async def reading(yard: Yard, definition: Any) -> tuple[Context, Any]:
    job = await yard.db.run(lambda tx: request_maintenance(tx, JobType.REPOSITORY_VERIFY, definition.repository_id))
    ctx = Context(yard.db, yard.bus, key="k", lease_seconds=600)
    assert await ctx.claim(job.id) is not None
    return ctx, await yard.db.run(lambda tx: load_repository(tx, definition.repository_id))


def traces(yard: Yard) -> list[str]:
    room, state = yard.pool / views.DIRECTORY, yard.directory / "state"
    found = [*(room.iterdir() if room.is_dir() else ()), *(state / "views").glob("*")]
    return [str(path) for path in (*found, *(state / "grants").iterdir())]


async def until(path: Path) -> None:
    for _ in range(int(WAIT * 20)):
        if path.exists():
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{path} did not come")


async def test_a_view_is_read_while_a_backup_runs_and_both_end_well(yard: Yard, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("first")
    definition = await yard.backup_job(source)
    await yard.run(definition, "succeeded")
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"
    hook = f"touch {begun}; while [ ! -e {go_on} ]; do sleep 0.1; done"
    slow = await yard.backup_job(source, name="slow", repository_id=definition.repository_id, pre_hook=hook)
    run = asyncio.create_task(yard.run(slow, "succeeded"))
    try:
        await until(begun)
        ctx, place = await reading(yard, definition)

        async def work(view: View) -> list[str]:
            assert view.linked
            return [one.name for one in await yard.storage.archives(view.place, view.grant)]

        listed = await through_view(ctx, yard.storage, place, work)
    finally:
        go_on.touch()
        ended = await run
    assert listed == [archive.name for archive in await yard.archives(definition)]
    assert ended.state == "succeeded"
    assert traces(yard) == []


async def test_while_a_prune_holds_the_repository_no_view_is_taken(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("first")
    definition = await yard.backup_job(tmp_path / "file", retention={"keep_last": 1})
    await yard.run(definition, "succeeded", "warning")
    ctx, place = await reading(yard, definition)
    met = list[BaseException]()
    listing = yard.storage.listing

    async def listed(*arguments: Any) -> Any:
        if not met:
            try:
                async with viewed(ctx, yard.storage, place):
                    pytest.fail("it was read while a prune was at work")
            except Waiting as error:
                met.append(error)
        return await listing(*arguments)

    yard.storage.listing = listed  # type: ignore[method-assign] - a stand-in for this one test
    assert (await yard.prune(definition)).state == "succeeded"
    assert [error.waiting_for for error in met if isinstance(error, Waiting)] == ["web1/job"]
    assert traces(yard) == []


async def test_a_pool_without_links_is_read_in_its_place(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("first")
    definition = await yard.backup_job(tmp_path / "file")
    await yard.run(definition, "succeeded", "warning")

    def refused(*_arguments: Any, **_options: Any) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(os, "link", refused)
    ctx, place = await reading(yard, definition)

    async def work(view: View) -> int:
        assert not view.linked
        return len(await yard.storage.archives(view.place, view.grant))

    assert await through_view(ctx, yard.storage, place, work) == 1
    assert traces(yard) == []


async def test_housekeeping_removes_views_whose_job_ended_and_no_other(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("first")
    definition = await yard.backup_job(tmp_path / "file")
    await yard.run(definition, "succeeded", "warning")
    keeper = ViewKeeper(yard.db, "node1", yard.storage)
    ctx, place = await reading(yard, definition)
    ended, gone = [await yard.request(definition) for _ in range(2)]
    await yard.db.run(lambda tx: _end(tx, ended))
    browsing = yard.storage.view_of(place, uuid.UUID(int=5))
    left = [yard.storage.view_of(place, name) for name in (ended.id, uuid.UUID(int=4))]
    async with viewed(ctx, yard.storage, place) as view:
        queued = yard.storage.view_of(place, gone.id)
        for one in (browsing, queued, *left):
            await yard.storage.take_view(place, one)
            Path(one.base_dir or "").mkdir(parents=True)
            (yard.directory / "state" / "locks" / f"{one.id.hex}.own").touch()
        with keeper.using(browsing.id):
            await keeper.tidy()
        assert all(Path(one.path).is_dir() for one in (browsing, queued, view.place))
        assert len(await yard.storage.archives(view.place, view.grant)) == 1
    assert not any(Path(one.path).exists() or Path(one.base_dir or "").exists() for one in left)
    locks = {file.name.partition(".")[0] for file in (yard.directory / "state" / "locks").iterdir()}
    assert not locks & {one.id.hex for one in left}
    await keeper.tidy()
    assert not Path(browsing.path).exists()
    assert Path(queued.path).exists()


async def _end(tx: Any, job: Job) -> None:
    row = await tx.session.get_one(Job, job.id)
    row.state = "cancelled"
