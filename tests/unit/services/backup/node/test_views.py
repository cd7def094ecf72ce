"""Who may take a view when: beside a backup at once, never beside what deletes or compacts, and nobody waits for long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update

from services.backup.node.views import View, through_view, viewed
from services.backup.plan import load_repository
from services.backup.ports import RepositoryPlace
from shared.borg.views import CannotLink
from shared.db.stores.requests import request_maintenance
from shared.db.tables import Job, Repository
from shared.db.tables.kernel import Lease
from shared.domain.job import JobType
from shared.errors import Permanent, Transient, Waiting
from shared.runtime.context import Context
from tests.unit.services.backup.world import World


async def begun(world: World, kind: JobType = JobType.REPOSITORY_VERIFY) -> tuple[Context, RepositoryPlace]:
    repository = (await world.rows(Repository))[0]
    job = await world.db.run(lambda tx: request_maintenance(tx, kind, repository.id))
    ctx = Context(world.db, world.bus, key="k", lease_seconds=30)
    assert await ctx.claim(job.id) is not None
    return ctx, await world.db.run(lambda tx: load_repository(tx, repository.id))


async def holders(world: World) -> dict[str, str]:
    async with world.db.read() as session:
        rows = await session.scalars(select(Lease).where(Lease.holder != ""))
        return {row.name.partition(":")[0]: row.holder for row in rows}


async def test_a_free_repository_is_held_while_the_view_is_taken_and_not_while_it_is_read(world: World) -> None:
    ctx, place = await begun(world)
    seen: list[dict[str, str]] = []

    async def take(_place: Any, _view: Any) -> int:
        seen.append(await holders(world))
        return 1

    world.storage.take_view = take  # type: ignore[method-assign] - a stand-in for this one test
    async with viewed(ctx, world.storage, place) as view:
        assert view.linked
        assert view.place.path != place.path
        assert view.grant.path == view.place.path
        assert await holders(world) == {"view": ctx.lease}
        await ctx.beat()  # what was given back is not renewed
    assert seen == [{"repository": ctx.lease, "view": ctx.lease}]
    assert await holders(world) == {}
    assert world.storage.calls[-1] == "remove view"


async def test_beside_a_backup_it_is_taken_at_once_and_the_backup_keeps_its_lease(world: World) -> None:
    backup, place = await begun(world, JobType.BACKUP_CREATE)
    epoch = await backup.hold(place.lease, "web1/system", on_beat=lambda _: None)
    ctx, _ = await begun(world)
    async with viewed(ctx, world.storage, place) as view:
        assert view.linked
    await backup.beat()
    assert await world.db.run(lambda tx: tx.leases.epoch(place.lease)) == epoch


@pytest.mark.parametrize(
    "kind",
    [JobType.REPOSITORY_PRUNE, JobType.REPOSITORY_COMPACT, JobType.ARCHIVE_DELETE, JobType.REPOSITORY_CHECK,
     JobType.REPOSITORY_RECOVER],
)  # fmt: skip
async def test_while_something_deletes_or_compacts_it_waits_and_shows_for_whom(world: World, kind: JobType) -> None:
    other, place = await begun(world, kind)
    await other.hold(place.lease, "web1/system", on_beat=lambda _: None)
    ctx, _ = await begun(world)
    with pytest.raises(Waiting) as caught:
        async with viewed(ctx, world.storage, place):
            pytest.fail("it was read")
    assert caught.value.waiting_for == "web1/system"
    assert "take view of web1/system" not in world.storage.calls
    assert await holders(world) == {"repository": other.lease}


async def test_a_backup_that_ends_while_a_prune_takes_over_lets_it_be_taken_anew(world: World) -> None:
    """What was linked meanwhile may lack what the prune's compaction took."""
    backup, place = await begun(world, JobType.BACKUP_CREATE)
    await backup.hold(place.lease, "web1/system", on_beat=lambda _: None)
    prune, _ = await begun(world, JobType.REPOSITORY_PRUNE)
    ctx, _ = await begun(world)
    taken: list[int] = []

    async def take(_place: Any, _view: Any) -> int:
        taken.append(1)
        if len(taken) == 1:
            await backup.let_go(place.lease)
            await prune.hold(place.lease, "web1/system", on_beat=lambda _: None)
            await prune.let_go(place.lease)
        return 1

    world.storage.take_view = take  # type: ignore[method-assign] - a stand-in for this one test
    async with viewed(ctx, world.storage, place):
        assert len(taken) == 2


async def test_a_lease_that_passes_on_each_time_is_told_and_tried_again(world: World) -> None:
    _, place = await begun(world)
    ctx, _ = await begun(world)

    async def take(_place: Any, _view: Any) -> int:
        await world.db.run(lambda tx: tx.session.execute(update(Lease).values(epoch=Lease.epoch + 1)))
        return 1

    backup, _ = await begun(world, JobType.BACKUP_CREATE)
    await backup.hold(place.lease, "web1/system", on_beat=lambda _: None)
    world.storage.take_view = take  # type: ignore[method-assign] - a stand-in for this one test
    with pytest.raises(Transient) as caught:
        async with viewed(ctx, world.storage, place):
            pytest.fail("it was read")
    assert caught.value.code == "view_moved"


async def cannot(_place: Any, _view: Any) -> int:
    message = "no links"
    raise CannotLink(message, code="view_no_links", remedy="wait")


async def test_without_links_it_is_read_in_its_place_with_nobody_beside(world: World) -> None:
    ctx, place = await begun(world)
    world.storage.take_view = cannot  # type: ignore[method-assign] - a stand-in for this one test
    async with viewed(ctx, world.storage, place, to_server=True) as view:
        assert (view.linked, view.place.path) == (False, place.path)
        assert not view.place.to_server  # nothing judges afterwards what its server did
        backup, _ = await begun(world, JobType.BACKUP_CREATE)
        with pytest.raises(Waiting):
            await backup.hold(place.lease, "web1/system", on_beat=lambda _: None)
    await backup.hold(place.lease, "web1/system", on_beat=lambda _: None)


async def test_a_view_that_its_server_may_reach_says_so_in_its_grant(world: World) -> None:
    ctx, place = await begun(world)
    async with viewed(ctx, world.storage, place, to_server=True) as view:
        assert view.place.to_server
        assert view.place.id == (ctx.job and ctx.job.id)


@pytest.mark.parametrize(
    "error", [Permanent("broken", code="broken"), asyncio.CancelledError()], ids=["failed", "stop"]
)
async def test_a_reader_that_fails_leaves_no_view_and_no_lease(world: World, error: BaseException) -> None:
    ctx, place = await begun(world)
    with pytest.raises(type(error)):
        async with viewed(ctx, world.storage, place):
            raise error
    assert world.storage.calls[-1] == "remove view"
    assert await holders(world) == {}


async def test_a_view_that_cannot_be_removed_now_does_not_undo_what_was_read(world: World) -> None:
    ctx, place = await begun(world)

    async def hangs(_view: Any) -> None:
        message = "the pool does not answer"
        raise Transient(message, code="pool_silent")

    world.storage.remove_view = hangs  # type: ignore[method-assign] - a stand-in for this one test
    assert await through_view(ctx, world.storage, place, _said) is True


async def _said(view: View) -> bool:
    return view.linked


@pytest.mark.parametrize("code", ["repository_rolled_back", "repository_corrupt", "manifest_unreadable"])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_view_that_cannot_be_read_is_taken_anew_once_and_is_no_incident(
    world: World, code: str, times: int
) -> None:
    ctx, place = await begun(world)
    tries: list[View] = []

    async def work(view: View) -> str:
        tries.append(view)
        if len(tries) <= times:
            message = "borg said 64"
            raise Permanent(message, code=code)
        return "read"

    if times == 1:
        assert await through_view(ctx, world.storage, place, work) == "read"
    else:
        with pytest.raises(Permanent) as caught:
            await through_view(ctx, world.storage, place, work)
        assert caught.value.code == "view_unreadable"
    assert len(tries) == 2
    assert world.storage.calls.count("take view of web1/system") == 2
    assert (await world.rows(Repository))[0].frozen_reason == ""


async def test_an_archive_that_is_not_there_is_told_as_that_and_other_errors_at_once(world: World) -> None:
    ctx, place = await begun(world)
    for code, takes in (("archive_missing", 2), ("passphrase_wrong", 1)):
        world.storage.calls.clear()

        async def work(_view: View, code: str = code) -> None:
            message = "no"
            raise Permanent(message, code=code)

        with pytest.raises(Permanent) as caught:
            await through_view(ctx, world.storage, place, work)
        assert caught.value.code == code
        assert world.storage.calls.count("take view of web1/system") == takes


async def test_the_kind_of_job_that_holds_a_lease_is_known_only_while_it_is_at_work(world: World) -> None:
    backup, place = await begun(world, JobType.BACKUP_CREATE)
    await backup.hold(place.lease, "web1/system", on_beat=lambda _: None)
    held = await world.db.run(lambda tx: tx.leases.held_for(place.lease))
    assert (held and held.kind) == "backup_create"
    await world.db.run(lambda tx: tx.session.execute(update(Job).values(state="failed")))
    held = await world.db.run(lambda tx: tx.leases.held_for(place.lease))
    assert (held and held.kind) == ""
    await backup.let_go(place.lease)
    assert await world.db.run(lambda tx: tx.leases.held_for(place.lease)) is None
