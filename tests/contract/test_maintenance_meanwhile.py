"""What people and verifications do while a prune, a deletion or a compaction is at work counts at once, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.stores.requests import AFTER_BACKUP, request_delete
from shared.db.tables import Archive, Job, Repository
from shared.domain.ids import new_id
from shared.domain.job import JobType
from shared.domain.scheduled import Scheduled
from shared.errors import Conflict
from shared.events.streams import STREAMS
from tests.unit.services.backup.world import World

NOTHING: dict[str, Any] = {"frozen_reason": "", "frozen_for": [], "segments_damage": "", "archives_damage": ""}
UNSOUND: dict[str, dict[str, Any]] = {
    "frozen": {"frozen_reason": "garbage", "frozen_for": [{"code": "hostile_client", "reason": "garbage"}]},
    "a segment is damaged": {"segments_damage": "segment 3 is missing"},
    "an archive is damaged": {"archives_damage": "objects are none of borg's"},
}


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """Four backups of the last four nights, of which retention keeps the last two."""
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    made = await World(db, bus).build()
    for age in (3, 2, 1, 0):
        job = await made.request()
        await made.backup(job)
        at = datetime.now(UTC) - timedelta(days=age)
        await changed(made, update(Archive).where(Archive.job_id == job.id).values(created_at=at))
    await made.keep(keep_last=2)
    made.storage.calls.clear()
    yield made
    await bus.close()


async def changed(world: World, statement: Any) -> None:
    await world.db.run(lambda tx: tx.session.execute(statement))


async def by_age(world: World) -> list[Archive]:
    return sorted(await world.rows(Archive), key=lambda row: row.created_at)


def done(world: World) -> list[str]:
    return [call.split(" ")[0] for call in world.storage.calls if call.startswith(("delete", "compact"))]


# -- what goes is judged by what is on record when it is chosen ---------------------------------------------


def accepted(rows: list[Archive]) -> Any:
    doubted = next(row for row in rows if not row.trusted)
    return update(Archive).where(Archive.id == doubted.id).values(accepted_at=datetime.now(UTC), accepted_by="me")


SAID: dict[str, tuple[Callable[[list[Archive]], Any], tuple[int, ...]]] = {
    "nothing": (lambda _: update(Repository).values(pruned_at=None), (2, 3)),
    "a doubtful one is accepted": (accepted, (1, 3)),
    "an old one is held": (lambda rows: update(Archive).where(Archive.id == rows[0].id).values(held_reason="audit"), (0, 2, 3)),
    "more is to be kept": (lambda _: update(Repository).values(retention={"keep_last": 9}), (0, 1, 2, 3)),
    "all is to be kept": (lambda _: update(Repository).values(retention=None), (0, 1, 2, 3)),
    "one is found damaged": (lambda rows: update(Archive).where(Archive.id == rows[3].id).values(damage="broken"), (1, 2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("said", SAID)
async def test_a_prune_goes_by_what_was_said_while_it_looked(world: World, said: str) -> None:
    change, stay = SAID[said]
    rows = await by_age(world)
    if said == "a doubtful one is accepted":
        # An hour younger than the last night's: accepted, it is one of the two that stay.
        doubted = update(Archive).where(Archive.id == rows[1].id)
        await changed(world, doubted.values(trusted=False, created_at=rows[3].created_at - timedelta(hours=1)))
        rows = [*rows[:1], *[row for row in await world.rows(Archive) if row.id == rows[1].id], *rows[2:]]

    async def meanwhile() -> None:
        world.storage.on_list = None
        await changed(world, change(rows))

    world.storage.on_list = meanwhile
    ended = await world.prune(override_deletion_limit=True)
    assert ended.state == "succeeded"
    assert {row.id for row in await world.rows(Archive)} == {rows[number].id for number in stay}
    assert set(world.storage.kept) == {rows[number].name for number in stay}


# -- a verification reads beside: what it finds ends what is under way --------------------------------------


async def when_it_looks(world: World, find: Callable[[], Awaitable[None]]) -> None:
    world.storage.on_list = find


async def after_the_first_deletion(world: World, find: Callable[[], Awaitable[None]]) -> None:
    delete = world.storage.delete

    async def deleted(*arguments: Any) -> None:
        world.storage.delete = delete  # type: ignore[method-assign] - it was one
        await delete(*arguments)
        await find()

    world.storage.delete = deleted  # type: ignore[method-assign] - a stand-in for this one test


async def run(world: World, kind: JobType) -> None:
    if kind is JobType.ARCHIVE_DELETE:
        first = (await by_age(world))[0]
        await world.delete(await world.db.run(lambda tx: request_delete(tx, first)))
    else:
        await world.maintain(kind, **({"override_deletion_limit": True} if kind is JobType.REPOSITORY_PRUNE else {}))


@pytest.mark.parametrize(
    ("kind", "when", "done_before", "unsound"),
    [
        (JobType.REPOSITORY_PRUNE, when_it_looks, [], "frozen"),
        (JobType.REPOSITORY_PRUNE, after_the_first_deletion, ["delete"], "frozen"),
        (JobType.REPOSITORY_PRUNE, after_the_first_deletion, ["delete"], "a segment is damaged"),
        (JobType.REPOSITORY_PRUNE, after_the_first_deletion, ["delete"], "an archive is damaged"),
        (JobType.ARCHIVE_DELETE, when_it_looks, [], "frozen"),
        (JobType.ARCHIVE_DELETE, after_the_first_deletion, ["delete"], "frozen"),
        (JobType.REPOSITORY_COMPACT, when_it_looks, [], "frozen"),
    ],
)
async def test_nothing_more_is_deleted_or_compacted_once_a_repository_is_found_unsound(
    world: World, kind: JobType, when: Any, done_before: list[str], unsound: str
) -> None:
    async def find() -> None:
        await changed(world, update(Repository).values(**UNSOUND[unsound]))

    await when(world, find)
    with pytest.raises(Conflict) as caught:
        await run(world, kind)
    assert caught.value.code == ("repository_frozen" if unsound == "frozen" else "repository_damaged")
    assert done(world) == done_before
    # Let go, it goes on: what was deleted is no loss, and what was not is judged anew.
    world.storage.on_list = None
    await changed(world, update(Repository).values(**NOTHING))
    assert (await world.prune(override_deletion_limit=True)).state == "succeeded"
    assert {row.name for row in await world.rows(Archive)} == set(world.storage.kept)
    assert len(world.storage.kept) == 2
    assert not [row for row in await world.rows(Archive) if row.missing or row.deleting]


# -- after a restore of the database holds are to be set again ----------------------------------------------


async def scheduled(world: World) -> Job:
    due = datetime.now(UTC)
    return await world.prune(**Scheduled(schedule_id=new_id(), due_at=due).params())


async def after_a_backup(world: World) -> Job:
    return await world.prune(request_key=f"{AFTER_BACKUP}{new_id()}:0")


async def by_hand(world: World) -> Job:
    return await world.prune(override_deletion_limit=True)


@pytest.mark.parametrize(
    ("asked", "restored", "accepted_at", "goes"),
    [
        (scheduled, timedelta(hours=1), None, False),
        (after_a_backup, timedelta(hours=1), None, False),
        (by_hand, timedelta(hours=1), None, True),
        (scheduled, timedelta(hours=1), datetime(2026, 1, 1, tzinfo=UTC), True),
        (scheduled, timedelta(hours=25), None, True),
        (scheduled, None, None, True),
    ],
)
async def test_no_prune_that_nobody_asked_for_comes_within_a_day_of_a_restore(
    world: World, asked: Any, restored: timedelta | None, accepted_at: datetime | None, goes: bool
) -> None:
    await world.keep(keep_last=2, deletion_limit_percent=100)
    at = None if restored is None else datetime.now(UTC) - restored
    await changed(world, update(Repository).values(restored_at=at, restored_accepted_at=accepted_at))
    if goes:
        assert (await asked(world)).state == "succeeded"
    else:
        with pytest.raises(Conflict) as caught:
            await asked(world)
        assert caught.value.code == "database_older"
    assert len(done(world)) == (3 if goes else 0)
    assert len(await world.rows(Archive)) == (2 if goes else 4)
