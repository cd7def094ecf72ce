"""Checks and compactions, on fakes."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from services.backup.handlers import CHECK, COMPACT
from services.backup.maintenance import check
from services.backup.ports import Segments
from services.backup.requests import accept_maintenance_request
from services.backup.work import work_on
from shared.db.tables import Archive, Job, OutboxRow, Repository
from shared.domain.ids import new_id
from shared.domain.job import JobType
from shared.errors import Conflict, Permanent
from shared.events.repository import RepositoryCheck, RepositoryCompact
from shared.runtime.context import Context
from tests.unit.services.backup.world import World

BROKEN = Segments(("Segment entry checksum mismatch",), continued=False, finished=True)
SOUND_SO_FAR = Segments((), continued=False, finished=False)


async def backed_up(world: World, count: int) -> list[Archive]:
    for _ in range(count):
        await world.backup(await world.request())
    return sorted(await world.rows(Archive), key=lambda archive: archive.created_at)


async def checked(world: World, depth: str, **options: Any) -> Job:
    return await world.maintain(JobType.REPOSITORY_CHECK, depth=depth, **options)


async def repository(world: World) -> Repository:
    (found,) = await world.rows(Repository)
    return found


def reads(world: World) -> list[str]:
    return [call.removeprefix("read ") for call in world.storage.calls if call.startswith("read ")]


async def test_a_check_goes_as_deep_as_it_is_asked_to(world: World) -> None:
    made = await backed_up(world, 2)
    for depth, calls in (("segments", 1), ("archives", 2), ("data", 4)):
        world.storage.calls.clear()
        job = await checked(world, depth)
        assert (job.state, job.result["finished"]) == ("succeeded", True)
        assert len([call for call in world.storage.calls if call.startswith(("check", "read"))]) == calls
    assert sorted(reads(world)) == sorted(archive.name for archive in made)
    assert all(archive.verified_at for archive in await world.rows(Archive))
    assert (await repository(world)).checked_at is not None
    subjects = [row.subject for row in await world.rows(OutboxRow)]
    assert subjects.count("repository.checked") == 3


async def test_damage_turns_the_check_red_marks_the_archives_it_hits_and_stops_prunes(world: World) -> None:
    made = await backed_up(world, 3)
    world.storage.segments = [BROKEN]
    world.storage.unreadable = {made[1].name: "Data integrity error"}
    job = await checked(world, "segments")  # reads the archives too, to know which it hits
    assert (job.state, job.code, job.result["damaged"]) == ("failed", "repository_damaged", 1)
    assert [archive.damage for archive in await world.rows(Archive) if archive.damage] == ["Data integrity error"]
    assert (await repository(world)).segments_damage == "Segment entry checksum mismatch"
    await world.keep(keep_last=1)
    for kind in (JobType.REPOSITORY_PRUNE, JobType.REPOSITORY_COMPACT):
        with pytest.raises(Conflict, match="damaged"):
            await world.maintain(kind)
    # After a repair by hand a whole check finds it sound, and it is let go.
    world.storage.unreadable = {}
    assert (await checked(world, "data")).state == "succeeded"
    assert (await repository(world)).segments_damage == ""
    assert not any(archive.damage for archive in await world.rows(Archive))
    assert (await world.prune(override_deletion_limit=True)).state == "succeeded"


async def test_a_damaged_archive_never_displaces_a_good_one(world: World) -> None:
    made = await backed_up(world, 3)
    world.storage.unreadable = {made[-1].name: "broken"}
    assert (await checked(world, "data")).result["damaged"] == 1
    await world.keep(keep_last=1)
    await world.prune()
    assert {archive.name for archive in await world.rows(Archive)} == {made[1].name, made[-1].name}


async def test_damage_that_part_of_a_check_found_stays_until_a_whole_one_is_clean(world: World) -> None:
    await backed_up(world, 1)
    first_half_broken = Segments(("mismatch",), continued=False, finished=False)
    second_half = Segments((), continued=True, finished=True)
    world.storage.segments = [first_half_broken, second_half]
    assert (await checked(world, "segments", budget_seconds=60)).result["finished"] is False
    assert (await checked(world, "segments", budget_seconds=60)).state == "succeeded"
    assert (await repository(world)).segments_damage == "mismatch"
    world.storage.segments = [SOUND_SO_FAR, second_half]
    for damage in ("mismatch", ""):
        await checked(world, "segments", budget_seconds=60)
        assert (await repository(world)).segments_damage == damage


async def test_archives_that_lack_chunks_are_damage_too(world: World) -> None:
    await backed_up(world, 1)
    world.storage.archives_damage = ("Missing file chunk",)
    assert (await checked(world, "archives")).code == "repository_damaged"
    assert (await repository(world)).archives_damage == "Missing file chunk"
    world.storage.archives_damage = ()
    world.storage.calls.clear()
    await checked(world, "archives")
    assert ((await repository(world)).archives_damage, len(reads(world))) == ("", 1)


GARBAGE = "objects are none of borg's"


async def test_garbage_that_a_verification_found_is_forgotten_only_when_all_archives_were_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """borg looks whether an object is there; an archive that is built on garbage lists well, and must not stay good."""
    made = await backed_up(world, 2)
    await world.db.run(lambda tx: tx.session.execute(update(Repository).values(archives_damage=GARBAGE)))
    proven = update(Archive).values(proven_at=made[0].created_at)
    await world.db.run(lambda tx: tx.session.execute(proven))
    await checked(world, "segments")
    assert (reads(world), (await repository(world)).archives_damage) == ([], GARBAGE)
    left = iter([100.0, 80.0, 60.0, 60.0, -1.0])  # for segments, archives, one reading, and no second
    monkeypatch.setattr(check._Budget, "left", lambda _self, _share=1.0: next(left))
    assert (await checked(world, "archives", budget_seconds=200)).result["left"] == 1
    monkeypatch.undo()
    assert (await repository(world)).archives_damage == GARBAGE
    world.storage.unreadable = {made[1].name: "Data integrity error"}
    assert (await checked(world, "archives")).result["damaged"] == 1
    hit = {row.name: (bool(row.damage), row.proven_at is not None) for row in await world.rows(Archive)}
    assert hit == {made[0].name: (False, True), made[1].name: (True, False)}
    assert (await repository(world)).archives_damage == ""


async def test_while_garbage_waits_for_a_recovery_an_archive_that_it_hit_keeps_the_repository_damaged(
    world: World,
) -> None:
    """It was let go, so that a compaction could take away what a recovery would have brought back."""
    made = await backed_up(world, 2)
    found = update(Repository).values(archives_damage=GARBAGE, rewritten_after=7)
    await world.db.run(lambda tx: tx.session.execute(found))
    world.storage.unreadable = {made[1].name: "Data integrity error"}
    assert (await checked(world, "archives")).result["damaged"] == 1
    assert (await repository(world)).archives_damage == GARBAGE
    await world.db.run(lambda tx: tx.session.execute(update(Repository).values(rewritten_after=None)))
    await checked(world, "archives")
    assert (await repository(world)).archives_damage == "", "a recovery has removed it: the archive says the rest"


async def test_what_a_verification_finds_while_a_check_runs_is_not_forgotten_by_it(world: World) -> None:
    await backed_up(world, 1)

    async def found() -> None:
        await world.db.run(lambda tx: tx.session.execute(update(Repository).values(archives_damage=GARBAGE)))

    world.storage.on_list = found
    await checked(world, "data")
    assert (await repository(world)).archives_damage == GARBAGE


async def test_what_the_budget_left_unread_is_read_first_next_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await backed_up(world, 3)
    left = iter([100.0, 80.0, 60.0, 60.0, 30.0, 30.0, -1.0])  # for segments, archives, two readings, and no third
    monkeypatch.setattr(check._Budget, "left", lambda _self, _share=1.0: next(left))
    first = await checked(world, "data", budget_seconds=200)
    assert first.state == "succeeded"
    assert (first.result["read"], first.result["left"], first.result["finished"]) == (2, 1, False)
    monkeypatch.undo()
    before = reads(world)
    await checked(world, "data")
    assert {reads(world)[2]} == {archive.name for archive in made} - set(before)


async def test_an_archive_that_no_budget_suffices_for_is_said_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await backed_up(world, 1)
    world.storage.slow = 30.0
    monkeypatch.setattr(check._Budget, "left", lambda _self, _share=1.0: 0.01)
    job = await checked(world, "data", budget_seconds=60)
    assert (job.state, job.result["left"]) == ("warning", 1)
    assert ["before the archives were checked" in job.warnings[0], "could not be read" in job.warnings[1]] == [True] * 2


async def test_a_check_that_finds_archives_missing_freezes_the_repository(world: World) -> None:
    made = await backed_up(world, 2)
    del world.storage.kept[made[0].name]
    job = await checked(world, "archives")
    assert job.state == "warning"
    assert "missing without our doing" in (await repository(world)).frozen_reason
    with pytest.raises(Conflict, match="frozen"):
        await world.maintain(JobType.REPOSITORY_COMPACT)


async def test_a_compaction_measures_and_one_that_finds_a_loss_touches_nothing(world: World) -> None:
    made = await backed_up(world, 2)
    job = await world.maintain(JobType.REPOSITORY_COMPACT)
    assert (job.state, job.result) == ("succeeded", {"deduplicated_size": 10})
    assert (await repository(world)).compacted_at is not None
    world.storage.calls.clear()
    del world.storage.kept[made[0].name]
    assert (await world.maintain(JobType.REPOSITORY_COMPACT)).state == "warning"
    assert "compact" not in world.storage.calls
    assert (await repository(world)).frozen_reason


async def test_a_compaction_that_loses_something_freezes(world: World) -> None:
    made = await backed_up(world, 2)
    world.storage.lost_by_compaction = made[0].name
    assert (await world.maintain(JobType.REPOSITORY_COMPACT)).state == "warning"
    assert (await repository(world)).frozen_reason


@pytest.mark.parametrize("kind", [JobType.REPOSITORY_COMPACT, JobType.REPOSITORY_CHECK])
async def test_a_second_delivery_finds_no_claim_and_a_forgotten_repository_is_told(world: World, kind: JobType) -> None:
    await backed_up(world, 1)
    job = await world.maintain(kind)
    world.storage.calls.clear()
    ctx = Context(world.db, world.bus, key="k", lease_seconds=30)
    events: dict[JobType, Any] = {
        JobType.REPOSITORY_COMPACT: RepositoryCompact,
        JobType.REPOSITORY_CHECK: RepositoryCheck,
    }
    work: Any = {JobType.REPOSITORY_COMPACT: COMPACT, JobType.REPOSITORY_CHECK: CHECK}[kind]
    await work_on(events[kind](job_id=job.id), ctx, work=work, storage=world.storage)
    assert world.storage.calls == []
    again = Job(type=kind.value, node="node1", repository_id=new_id())
    await world.db.run(lambda tx: tx.jobs.enqueue(again))
    assert await world.db.run(lambda tx: tx.admission.admit()) == 1
    with pytest.raises(Permanent, match="forgotten"):
        await work_on(events[kind](job_id=again.id), ctx, work=work, storage=world.storage)


async def test_an_outside_request_to_check_becomes_a_job_with_what_it_asks_for(world: World) -> None:
    found = await repository(world)
    ctx = Context(world.db, world.bus, key="outside", lease_seconds=30)
    for _ in range(2):
        event = RepositoryCheck.model_validate({"repository_id": found.id, "depth": "data", "budget_seconds": 600})
        await accept_maintenance_request(event, ctx, kind=JobType.REPOSITORY_CHECK)
    (job,) = await world.rows(Job)
    assert (job.type, job.params) == ("repository_check", {"depth": "data", "budget_seconds": 600})


async def test_damage_of_one_run_does_not_hide_in_the_next_ones_log(world: World) -> None:
    await backed_up(world, 1)
    change = update(Repository).values(segments_damage="old", unfinished_damage="old")
    await world.db.run(lambda tx: tx.session.execute(change))
    world.storage.segments = [Segments(tuple(f"line {n}" for n in range(12)), continued=False, finished=True)]
    await checked(world, "segments")
    assert (await repository(world)).segments_damage.endswith("line 9; and 2 more")
