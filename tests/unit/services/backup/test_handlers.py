"""The life of a backup, on fakes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from services.backup.failures import announce_failure
from services.backup.handlers import DELETE, PRUNE, make_backup
from services.backup.requests import accept_backup_request, accept_delete_request, accept_maintenance_request
from services.backup.work import work_on
from shared.borg.output import LogLine, Phase, Progress
from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.stores.approvals import four_eyes
from shared.db.stores.requests import request_delete
from shared.db.tables import (
    Approval,
    Archive,
    BackupJob,
    BackupNode,
    FourEyes,
    Job,
    OutboxRow,
    PastMeasure,
    Repository,
    Server,
)
from shared.domain.ids import new_id
from shared.domain.job import JobType
from shared.errors import AppError, Permanent, Transient, Waiting
from shared.events.archive import ArchiveDelete
from shared.events.backup import BackupRequested
from shared.events.repository import RepositoryPrune
from shared.runtime.context import Context
from tests.unit.services.backup.fakes import Broken, figures
from tests.unit.services.backup.world import World


async def test_a_backup_is_recorded_with_all_its_figures_and_a_second_delivery_is_a_no_op(world: World) -> None:
    job = await world.request()
    world.server.output = [Phase("cache"), Progress(1, 10, 5, "etc/x"), LogLine("info", "hello")]
    await world.backup(job)
    ended, (archive,), (repository,) = await world.job(job), await world.rows(Archive), await world.rows(Repository)
    assert (ended.state, archive.state, archive.files, repository.archive_count) == ("succeeded", "succeeded", 3, 1)
    assert (repository.original_size, repository.deduplicated_size) == (30, 10)
    assert world.storage.calls == ["open", "ensure", "close"]
    subjects = [row.subject for row in await world.rows(OutboxRow)]
    assert subjects.count("backup.completed") == subjects.count("backup.started") == 1
    await world.backup(job)
    assert world.server.created == 1


async def test_an_archive_of_an_earlier_attempt_is_recorded_and_not_made_again(world: World) -> None:
    job = await world.request()
    await world.db.run(lambda tx: tx.session.execute(update(Job).values(attempt=1)))
    name = f"web1-system-2026-01-01T000000Z-{job.id.hex}"
    world.storage.kept[name] = figures(name)
    await world.backup(job)
    assert world.server.created == 0
    assert [archive.name for archive in await world.rows(Archive)] == [name]


async def test_a_retry_without_an_earlier_archive_makes_one(world: World) -> None:
    job = await world.request()
    await world.db.run(lambda tx: tx.session.execute(update(Job).values(attempt=1)))
    await world.backup(job)
    assert world.server.created == 1


async def test_missing_sources_are_yellow_or_red(world: World) -> None:
    world.server.missing = ["/etc"]
    job = await world.request()
    await world.backup(job)
    ended = await world.job(job)
    assert (ended.state, ended.code) == ("failed", "sources_missing")
    assert (await world.rows(Archive))[0].state == "failed"
    assert "backup.failed" in [row.subject for row in await world.rows(OutboxRow)]


async def test_hooks_run_around_and_their_failures_are_told(db: Database, bus: MemoryBus) -> None:
    world = await World(db, bus).build(pre_hook="pre", post_hook="post", hook_seconds=5)
    job = await world.request()
    world.server.statuses = {"post": 4}
    await world.backup(job)
    assert world.server.hooks == ["pre", "post"]
    assert (await world.job(job)).warnings == ["the post-hook ended with status 4"]
    for status, words in ((3, "status 3"), (None, "stopped after 5 seconds")):
        world.server.statuses = {"pre": status}
        error = await world.refused(await world.request())
        assert error.code == "pre_hook_failed"
        assert words in error.message
    assert world.server.hooks[-1] == "post"
    world.server.statuses, world.server.fails = {"post": Transient("gone")}, Transient("borg fell", code="borg_failed")
    assert (await world.refused(await world.request())).code == "borg_failed"
    assert world.server.hooks[-1] == "post"


async def test_a_run_over_its_limit_is_permanent(db: Database, bus: MemoryBus) -> None:
    world = await World(db, bus).build(time_limit_seconds=1)

    async def long() -> None:
        await asyncio.sleep(600)

    world.server.on_borg = long
    error = await world.refused(await world.request())
    assert (error.code, isinstance(error, Permanent)) == ("time_limit", True)


async def test_a_limit_of_something_within_a_run_is_not_told_as_the_runs(world: World) -> None:
    world.server.fails = TimeoutError()  # type: ignore[assignment] - what nobody foresaw
    with pytest.raises(TimeoutError):
        await world.backup(await world.request())


async def test_while_another_writes_it_waits_by_name(world: World) -> None:
    (repository,) = await world.rows(Repository)
    await world.db.run(lambda tx: tx.leases.acquire(f"repository:{repository.id.hex}", "other", 60))
    error = await world.refused(await world.request())
    assert isinstance(error, Waiting)
    assert error.waiting_for == "web1/system"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (update(Server).values(host_key=None), "host_key_unknown"),
        (update(Server).values(state="new"), "server_not_ready"),
        (update(BackupJob).values(transport="direct"), "no_endpoint"),
        (delete(BackupNode), "no_endpoint"),
        (delete(BackupJob), "backup_job_missing"),
    ],
)
async def test_what_cannot_work_is_refused_before_anything_is_sent(world: World, change: Any, code: str) -> None:
    job = await world.request()
    await world.db.run(lambda tx: tx.session.execute(change))
    assert (await world.refused(job)).code == code
    assert world.storage.calls == []


async def test_an_outside_request_makes_one_job_however_often_it_is_delivered(world: World) -> None:
    for _ in range(3):
        await accept_backup_request(
            BackupRequested(backup_job="web1-system"), Context(world.db, world.bus, key="m1", lease_seconds=1)
        )
    assert len(await world.rows(Job)) == 1


@pytest.mark.parametrize(("name", "code"), [(None, "backup_job_missing"), ("nobody", "backup_job_unknown")])
async def test_an_outside_request_that_names_nothing_is_refused(world: World, name: str | None, code: str) -> None:
    with pytest.raises(Permanent) as caught:
        await accept_backup_request(
            BackupRequested(backup_job=name), Context(world.db, world.bus, key="m", lease_seconds=1)
        )
    assert caught.value.code == code


async def test_a_backup_job_that_is_off_is_not_run_from_outside(world: World) -> None:
    await world.db.run(lambda tx: tx.session.execute(update(BackupJob).values(enabled=False)))
    with pytest.raises(Permanent, match="switched off"):
        await accept_backup_request(
            BackupRequested(backup_job="web1-system"), Context(world.db, world.bus, key="m", lease_seconds=1)
        )


async def test_a_message_without_its_job_is_refused(world: World) -> None:
    for call in (
        make_backup(BackupRequested(), Context(world.db, world.bus, key="m", lease_seconds=1), storage=world.storage,
                    servers=world.server),
        work_on(ArchiveDelete(), Context(world.db, world.bus, key="m", lease_seconds=1), work=DELETE,
                storage=world.storage),
    ):  # fmt: skip
        with pytest.raises(Permanent, match="names its job"):
            await call


async def test_failures_are_announced_and_others_jobs_are_not(world: World) -> None:
    job = await world.request()
    await world.db.run(lambda tx: announce_failure(tx, job, Permanent("why", code="c")))
    await world.db.run(lambda tx: announce_failure(tx, Job(type="archive_delete"), Permanent("why")))
    assert [row.subject for row in await world.rows(OutboxRow)].count("backup.failed") == 1


async def test_a_repository_that_is_older_than_borg_remembers_is_frozen_with_its_reason_once(world: World) -> None:
    job = await world.request()
    error = Permanent("borg: replay", code="repository_rolled_back")
    for _ in range(2):
        await world.db.run(lambda tx: announce_failure(tx, job, error))
    assert [row.frozen_reason for row in await world.rows(Repository)] == ["borg: replay"]
    assert "repository.frozen" in [row.subject for row in await world.rows(OutboxRow)]


# -- deletion ---------------------------------------------------------------------------------------------


async def backed_up(world: World, count: int = 2) -> list[Archive]:
    for _ in range(count):
        await world.backup(await world.request())
    return sorted(await world.rows(Archive), key=lambda archive: archive.created_at)


async def test_a_deletion_deletes_compacts_measures_and_forgets(world: World) -> None:
    first, second = await backed_up(world)
    job = await world.db.run(lambda tx: request_delete(tx, first))
    await world.delete(job)
    assert (await world.job(job)).state == "succeeded"
    assert [archive.id for archive in await world.rows(Archive)] == [second.id]
    assert [measure.archive_id for measure in await world.rows(PastMeasure)] == [first.id]  # what it held is known
    assert (await world.rows(Repository))[0].archive_count == 1
    assert world.storage.calls[-3:] == [f"delete {first.name}", "compact", "close"]
    assert "archive.deleted" in [row.subject for row in await world.rows(OutboxRow)]
    await world.delete(job)  # a second delivery finds no claim


@pytest.mark.parametrize(("known", "state"), [("deleting", "succeeded"), ("missing", "succeeded"), ("", "warning")])
async def test_an_archive_that_another_hand_deleted_is_not_told_as_ours(world: World, known: str, state: str) -> None:
    first, _ = await backed_up(world)
    world.storage.kept.pop(first.name)
    if known:  # an earlier attempt of ours broke off, or the loss was told before
        await world.db.run(
            lambda tx: tx.session.execute(update(Archive).where(Archive.id == first.id).values({known: True}))
        )
    job = await world.db.run(lambda tx: request_delete(tx, first))
    again = await world.db.run(lambda tx: request_delete(tx, first))
    await world.delete(job)
    await world.delete(again)
    ended = await world.job(job)
    assert ended.state == state
    assert [f"{first.name} was not in the repository" in one for one in ended.warnings] == ([] if known else [True])
    assert (await world.job(again)).result == {"absent": True}


@pytest.mark.parametrize("name", ["", "::", "{now}", "a/b"])
async def test_an_archive_with_an_empty_or_broken_name_is_deleted_by_its_id(world: World, name: str) -> None:
    first, _ = await backed_up(world)
    await world.db.run(lambda tx: tx.session.execute(update(Archive).where(Archive.id == first.id).values(name=name)))
    await world.delete(await world.db.run(lambda tx: request_delete(tx, first)))
    assert first.borg_id not in [archive.borg_id for archive in world.storage.kept.values()]


async def test_a_record_without_id_and_name_touches_nothing(world: World) -> None:
    first, _ = await backed_up(world)
    await world.db.run(
        lambda tx: tx.session.execute(update(Archive).where(Archive.id == first.id).values(name="", borg_id=None))
    )
    await world.delete(await world.db.run(lambda tx: request_delete(tx, first)))
    assert not any(call.startswith("delete") for call in world.storage.calls)


async def test_a_loss_that_is_not_ours_withholds_the_compaction(world: World) -> None:
    first, second = await backed_up(world)
    world.storage.kept.pop(second.name)
    job = await world.db.run(lambda tx: request_delete(tx, first))
    await world.delete(job)
    ended = await world.job(job)
    assert ended.state == "warning"
    assert "without our doing" in ended.warnings[0]
    assert "compact" not in world.storage.calls


async def test_a_held_archive_refuses_until_its_time_is_over(world: World) -> None:
    first, _ = await backed_up(world)
    await world.db.run(lambda tx: tx.session.execute(update(Archive).values(held_reason="audit")))
    with pytest.raises(AppError) as caught:
        await world.delete(await world.db.run(lambda tx: request_delete(tx, first)))
    assert caught.value.code == "archive_held"
    past = datetime.now(UTC) - timedelta(seconds=1)
    await world.db.run(lambda tx: tx.session.execute(update(Archive).values(held_until=past)))
    await world.delete(await world.db.run(lambda tx: request_delete(tx, first)))


async def test_an_outside_deletion_by_id(world: World) -> None:
    first, _ = await backed_up(world)
    for _ in range(2):
        ctx = Context(world.db, world.bus, key="d1", lease_seconds=1)
        await accept_delete_request(ArchiveDelete(archive_id=first.id), ctx)
    assert len([job for job in await world.rows(Job) if job.type == "archive_delete"]) == 1
    for unknown in (None, new_id()):
        with pytest.raises(Permanent, match="no backup"):
            await accept_delete_request(
                ArchiveDelete(archive_id=unknown), Context(world.db, world.bus, key="d2", lease_seconds=1)
            )


async def test_with_four_eyes_an_outside_deletion_waits_for_a_person(world: World) -> None:
    """Once a message, however often it comes, and also after somebody has decided or four eyes were switched off."""
    first, _ = await backed_up(world)

    async def switch(*, on: bool) -> None:
        await world.db.run(lambda tx: four_eyes(tx.session))
        await world.db.run(lambda tx: tx.session.execute(update(FourEyes).values(enabled=on)))

    async def deliver(key: str) -> None:
        ctx = Context(world.db, world.bus, key=key, lease_seconds=1)
        await accept_delete_request(ArchiveDelete(archive_id=first.id), ctx)

    await switch(on=True)
    for key in ("d1", "d1", "d2", "d1"):
        await deliver(key)
    await world.db.run(lambda tx: tx.session.execute(update(Approval).values(state="rejected", open_key=None)))
    await switch(on=False)
    for key in ("d1", "d2"):
        await deliver(key)
    asked = await world.rows(Approval)
    assert sorted((one.request_key, one.kind, one.asked_by, one.target_id) for one in asked) == [
        ("d1", "delete_backup", "outside", str(first.id)), ("d2", "delete_backup", "outside", str(first.id)),
    ]  # fmt: skip
    assert [job for job in await world.rows(Job) if job.type == "archive_delete"] == []


async def days_apart(world: World, count: int) -> list[Archive]:
    """Backups of the last days, the newest last."""
    made = await backed_up(world, count)
    for age, archive in enumerate(reversed(made)):
        at = datetime.now(UTC) - timedelta(days=age)
        change = update(Archive).where(Archive.id == archive.id).values(created_at=at)
        await world.db.run(lambda tx, change=change: tx.session.execute(change))
    return made


async def lost(world: World) -> set[Any]:
    return {archive.id for archive in await world.rows(Archive) if archive.missing}


def deletions(world: World) -> list[str]:
    return [call.removeprefix("delete ") for call in world.storage.calls if call.startswith("delete ")]


async def test_a_prune_deletes_what_no_rule_keeps_compacts_and_forgets(world: World) -> None:
    made = await days_apart(world, 5)
    await world.keep(keep_daily=3)
    job = await world.prune()
    assert (job.state, job.result) == ("succeeded", {"deleted": 2, "kept": 3})
    assert sorted(deletions(world)) == sorted(archive.name for archive in made[:2])
    assert world.storage.calls[-2:] == ["compact", "close"]
    assert {archive.id for archive in await world.rows(Archive)} == {archive.id for archive in made[2:]}
    (repository,) = await world.rows(Repository)
    assert None not in (repository.pruned_at, repository.compacted_at)
    assert repository.archive_count == 3
    assert "repository.pruned" in [row.subject for row in await world.rows(OutboxRow)]


async def test_a_prune_takes_away_what_an_interrupted_run_left_once_a_later_one_came_to_its_end(world: World) -> None:
    await days_apart(world, 1)
    await world.keep(keep_daily=3)
    old = f"web1-system-2026-01-01T000000Z-{'a' * 32}.checkpoint"
    of_another = f"other-2026-01-01T000000Z-{'b' * 32}.checkpoint"
    newer = f"web1-system-2099-01-01T000000Z-{'c' * 32}.checkpoint.1"
    world.storage.left_behind = [old, of_another, newer, "foreign.checkpoint"]
    assert (await world.prune()).result == {"deleted": 0, "kept": 1}
    assert deletions(world) == [old]


async def test_a_prune_keeps_what_an_interrupted_run_left_as_long_as_later_ones_are_doubtful(world: World) -> None:
    """It may hold more than they do."""
    await days_apart(world, 2)
    await world.keep(keep_daily=3)
    left = f"web1-system-2026-01-01T000000Z-{'a' * 32}.checkpoint"
    world.storage.left_behind = [left]
    await world.db.run(lambda tx: tx.session.execute(update(Archive).values(trusted=False)))
    await world.prune()
    assert deletions(world) == []
    await world.db.run(lambda tx: tx.session.execute(update(Archive).values(accepted_at=Archive.created_at)))
    await world.prune()
    assert deletions(world) == [left]


async def test_a_backup_jobs_own_retention_holds_instead_of_the_repositorys(world: World) -> None:
    made = await days_apart(world, 4)
    await world.keep(keep_last=1)
    own = update(BackupJob).values(retention={"keep_last": 3})
    await world.db.run(lambda tx: tx.session.execute(own))
    assert (await world.prune()).result == {"deleted": 1, "kept": 3}
    # Without one of the repository, it holds alone: what no backup job speaks for stays.
    await world.db.run(lambda tx: tx.session.execute(update(Repository).values(retention=None)))
    orphan = update(Archive).where(Archive.id == made[-1].id).values(backup_job_id=None)
    await world.db.run(lambda tx: tx.session.execute(orphan))
    await world.db.run(lambda tx: tx.session.execute(update(BackupJob).values(retention={"keep_last": 1})))
    assert (await world.prune()).result == {"deleted": 1, "kept": 2}


async def test_a_second_delivery_of_a_prune_finds_no_claim(world: World) -> None:
    await days_apart(world, 5)
    await world.keep(keep_daily=3)
    job = await world.prune()
    ctx = Context(world.db, world.bus, key="k", lease_seconds=30)
    await work_on(RepositoryPrune(job_id=job.id), ctx, work=PRUNE, storage=world.storage)
    assert len(deletions(world)) == 2


async def test_held_archives_stay_whatever_the_rules_say(world: World) -> None:
    made = await days_apart(world, 4)
    hold = update(Archive).where(Archive.id == made[0].id).values(held_reason="audit")
    await world.db.run(lambda tx: tx.session.execute(hold))
    await world.keep(keep_last=2)
    assert (await world.prune()).result == {"deleted": 1, "kept": 3}
    assert deletions(world) == [made[1].name]


async def test_the_deletion_limit_lets_nothing_go_until_a_person_says_so(world: World) -> None:
    await days_apart(world, 8)
    await world.keep(keep_last=1)
    stopped = await world.prune()
    assert (stopped.state, deletions(world)) == ("warning", [])
    assert "more than the deletion limit allows" in stopped.warnings[0]
    assert (await world.prune(override_deletion_limit=True)).result == {"deleted": 7, "kept": 1}


async def test_unknown_archives_are_shown_and_displace_none(world: World) -> None:
    made = await days_apart(world, 4)
    for number in range(3):
        name = f"poison{number}"
        world.storage.kept[name] = figures(name)
    await world.keep(keep_daily=4)
    job = await world.prune()
    assert (job.state, deletions(world)) == ("warning", [])
    assert "no run of ours made" in job.warnings[0]
    assert len(await world.rows(Archive)) == len(made)


@pytest.mark.parametrize("when", ["before", "meanwhile", "all"])
async def test_a_loss_freezes_the_repository_and_nothing_is_compacted(world: World, when: str) -> None:
    made = await days_apart(world, 4)
    await world.keep(keep_daily=3)
    if when == "all":
        world.storage.kept.clear()
    elif when == "before":
        world.storage.kept.pop(made[3].name)
    else:
        world.storage.also = made[3].name
    job = await world.prune()
    (repository,) = await world.rows(Repository)
    assert (job.state, "compact" in world.storage.calls) == ("warning", False)
    assert "without our doing" in repository.frozen_reason
    assert "last seen whole" in repository.frozen_reason
    assert made[3].id in await lost(world)
    assert "repository.frozen" in [row.subject for row in await world.rows(OutboxRow)]
    for refused in (world.prune(), world.delete(await world.db.run(lambda tx: request_delete(tx, made[2])))):
        with pytest.raises(AppError) as caught:
            await refused
        assert caught.value.code == "repository_frozen"


async def test_a_backup_notices_a_loss_at_once_and_its_own_archive_is_good(world: World) -> None:
    first, _ = await backed_up(world)
    world.storage.kept.pop(first.name)
    job = await world.request()
    await world.backup(job)
    ended = await world.job(job)
    assert (ended.state, "without our doing" in ended.warnings[-1]) == ("warning", True)
    assert await lost(world) == {first.id}
    assert {archive.state for archive in await world.rows(Archive)} == {"succeeded"}


async def test_after_a_good_backup_a_repository_with_a_retention_is_pruned(world: World) -> None:
    change = update(Repository).values(retention={"keep_last": 3})
    await world.db.run(lambda tx: tx.session.execute(change))
    await world.backup(await world.request())
    assert [job.type for job in await world.rows(Job)].count("repository_prune") == 1
    world.server.missing = ["/etc"]  # no source at all: a failed run asks for none
    await world.backup(await world.request())
    assert [job.type for job in await world.rows(Job)].count("repository_prune") == 1


async def test_a_repository_without_a_retention_is_never_pruned(world: World) -> None:
    await backed_up(world)
    with pytest.raises(Permanent) as caught:
        await world.prune()
    assert caught.value.code == "retention_missing"
    assert deletions(world) == []


async def test_an_outside_prune_by_id_is_placed_once(world: World) -> None:
    await world.keep(keep_last=1)
    (repository,) = await world.rows(Repository)
    for _ in range(2):
        ctx = Context(world.db, world.bus, key="p1", lease_seconds=1)
        await accept_maintenance_request(
            RepositoryPrune(repository_id=repository.id), ctx, kind=JobType.REPOSITORY_PRUNE
        )
    assert [job.type for job in await world.rows(Job)] == ["repository_prune"]
    for unknown in (None, new_id()):
        with pytest.raises(Permanent, match="no repository"):
            ctx = Context(world.db, world.bus, key="p2", lease_seconds=1)
            await accept_maintenance_request(RepositoryPrune(repository_id=unknown), ctx, kind=JobType.REPOSITORY_PRUNE)


async def test_a_deletion_that_broke_off_is_no_loss_to_whoever_looks_next(world: World) -> None:
    made = await days_apart(world, 4)
    await world.keep(keep_daily=3)
    world.storage.dies_at = "compact"
    with pytest.raises(Broken):
        await world.prune()
    (repository,) = await world.rows(Repository)
    assert (repository.verified_complete_at, repository.verified_complete_segment) == (
        None,
        None,
    )  # it may have been compacted
    world.storage.dies_at = ""
    await world.backup(await world.request())
    (repository,) = await world.rows(Repository)
    assert (repository.frozen_reason, len(await world.rows(Archive))) == ("", 5)
    assert repository.verified_complete_segment is not None
    await world.prune()
    assert made[0].id not in {archive.id for archive in await world.rows(Archive)}
    assert not (await world.rows(Repository))[0].frozen_reason


async def test_what_is_gone_already_keeps_no_place_among_what_is_kept(world: World) -> None:
    """The newest was deleted by a job that never ended: were it counted, the last one that is there would go."""
    made = await days_apart(world, 3)
    change = update(Archive).where(Archive.id == made[2].id).values(deleting=True)
    await world.db.run(lambda tx: tx.session.execute(change))
    world.storage.kept.pop(made[2].name)
    await world.keep(keep_last=1)
    assert (await world.prune()).result == {"deleted": 2, "kept": 1}
    assert list(world.storage.kept) == [made[1].name]
    assert [archive.id for archive in await world.rows(Archive)] == [made[1].id]


async def test_a_hold_that_comes_while_a_prune_looks_is_kept(world: World) -> None:
    made = await days_apart(world, 3)
    await world.keep(keep_last=1)

    async def hold() -> None:
        change = update(Archive).where(Archive.id == made[0].id).values(held_reason="audit")
        await world.db.run(lambda tx: tx.session.execute(change))

    world.storage.on_list = hold
    await world.prune()
    assert set(world.storage.kept) == {made[0].name, made[2].name}


async def test_an_archive_that_is_held_while_its_deletion_looks_stays(world: World) -> None:
    first, _ = await backed_up(world)

    async def hold() -> None:
        await world.db.run(lambda tx: tx.session.execute(update(Archive).values(held_reason="audit")))

    world.storage.on_list = hold
    with pytest.raises(AppError) as caught:
        await world.delete(await world.db.run(lambda tx: request_delete(tx, first)))
    assert (caught.value.code, deletions(world)) == ("archive_held", [])


async def test_a_loss_at_the_compaction_itself_names_no_way_back(world: World) -> None:
    made = await days_apart(world, 3)
    await world.keep(keep_last=2)
    world.storage.lost_by_compaction = made[2].name
    await world.prune()
    (repository,) = await world.rows(Repository)
    assert await lost(world) == {made[2].id}
    assert "transaction" not in repository.frozen_reason


async def test_what_is_taken_back_is_guarded_again_and_a_second_loss_keeps_the_first_way_back(world: World) -> None:
    first, second = await backed_up(world)
    (repository,) = await world.rows(Repository)
    before = repository.verified_complete_segment
    kept = world.storage.kept.pop(first.name)
    await world.backup(await world.request())
    gone = world.storage.kept.pop(second.name)
    await world.backup(await world.request())
    (repository,) = await world.rows(Repository)
    assert repository.frozen_reason.count(f"as of transaction {before}") == 2
    assert await lost(world) == {first.id, second.id}
    facts = [row.subject for row in await world.rows(OutboxRow)]
    assert facts.count("repository.frozen") == 2  # told once for each loss, not at every look
    await world.backup(await world.request())
    assert [row.subject for row in await world.rows(OutboxRow)].count("repository.frozen") == 2
    world.storage.kept |= {first.name: kept, second.name: gone}
    await world.backup(await world.request())
    assert await lost(world) == set()
    assert (await world.rows(Repository))[0].frozen_reason  # a person lets it go


async def test_nothing_goes_while_the_clock_of_the_database_has_jumped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A year ahead, every archive is older than any retention keeps."""
    await days_apart(world, 4)
    await world.keep(keep_within_hours=720, deletion_limit_percent=100)

    async def ahead(_session: Any) -> datetime:
        return datetime.now(UTC) + timedelta(days=365)

    monkeypatch.setattr("services.backup.maintenance.prune.read_now", ahead)
    with pytest.raises(Permanent, match="clock"):
        await world.prune(override_deletion_limit=True)
    assert (deletions(world), len(world.storage.kept)) == ([], 4)


async def test_the_last_full_archive_outlives_a_source_that_stays_empty(world: World) -> None:
    """keep_last 2, a prune after each run: two nights after the source was emptied no full archive was left."""
    await world.backup(await world.request())
    (full,) = await world.rows(Archive)
    policy = update(Repository).values(
        retention={"keep_last": 2, "deletion_limit_percent": 100}, prune_after_backup=True
    )
    await world.db.run(lambda tx: tx.session.execute(policy))
    for night in range(5):
        world.server.missing = ["/etc"] if night % 2 else []
        world.server.status = 1  # a warning that nothing explains
        job = await world.request()
        await world.backup(job)
        assert (await world.job(job)).state in ("warning", "failed")
        assert not [one for one in await world.rows(Job) if one.type == "repository_prune"][night:]
        await world.prune()
    names = {archive.name for archive in await world.rows(Archive)}
    assert full.name in names & set(world.storage.kept)
    assert (
        len(names) <= 1 + 2 + 2 + 2
    )  # the full one; the rule's, the first and the newest of doubtful and of failed ones
