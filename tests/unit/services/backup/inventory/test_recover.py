"""A recovery lets go what it cured and nothing else; a verification proves archives one after the other."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from services.backup.handlers import RECOVER, VERIFY
from services.backup.ports import Recovery, Stretch, Wanted
from services.backup.requests import accept_maintenance_request
from services.backup.work import work_on
from shared.db.tables import Archive, Job, OutboxRow, Repository
from shared.domain.ids import new_id
from shared.domain.job import JobType
from shared.errors import AppError, Permanent
from shared.events.repository import RepositoryRecover, RepositoryVerify
from shared.runtime.context import Context
from tests.unit.services.backup.world import World

CAUSES = ("archives_missing", "history_rewritten", "written_outside", "repository_key_changed", "hostile_client")


@pytest.fixture
async def kept(world: World) -> World:
    """Two backups, proven to transaction 5 and 9."""
    for transaction in (5, 9):
        world.server.on_create = transaction
        await world.backup(await world.request())
    world.server.on_create = None
    return world


async def repository(world: World) -> Repository:
    return (await world.rows(Repository))[0]


async def mark(world: World, **values: Any) -> None:
    await world.db.run(lambda tx: tx.session.execute(update(Repository).values(**values)))


async def freeze(world: World, *codes: str) -> None:
    causes = [{"code": code, "reason": f"because of {code}"} for code in codes]
    text = "; then ".join(one["reason"] for one in causes)
    await mark(world, frozen_for=causes, frozen_reason=text, rewritten_after=4)


async def recover(world: World) -> Job:
    return await world.maintain(JobType.REPOSITORY_RECOVER, reason="cleaned", by="me")


async def verify(world: World, **options: Any) -> Job:
    return await world.maintain(JobType.REPOSITORY_VERIFY, **options)


async def test_a_second_delivery_finds_no_claim(kept: World) -> None:
    ended = (await verify(kept), await recover(kept))
    calls = list(kept.storage.calls)
    ctx = Context(kept.db, kept.bus, key="k", lease_seconds=30)
    await work_on(RepositoryVerify(job_id=ended[0].id), ctx, work=VERIFY, storage=kept.storage)
    await work_on(RepositoryRecover(job_id=ended[1].id), ctx, work=RECOVER, storage=kept.storage)
    assert kept.storage.calls == calls


@pytest.mark.parametrize("cause", CAUSES)
async def test_what_is_cured_freezes_no_longer_and_the_rest_stays(kept: World, cause: str) -> None:
    await freeze(kept, cause, "hostile_client")
    ended = await recover(kept)
    found = await repository(kept)
    left = ["hostile_client"] * (2 if cause == "hostile_client" else 1)
    assert [one["code"] for one in found.frozen_for] == left
    assert (ended.state, found.unfrozen_by, found.unfrozen_reason) == ("warning", "me", "recovered: cleaned")
    assert found.frozen_reason
    assert found.frozen_at is None or found.frozen_reason
    (wanted,) = kept.storage.wanted
    assert (len(wanted.recorded), wanted.rewritten_after) == (2, 4)
    assert "BORG_KEY" not in repr(Wanted("BORG_KEY x", {}, None))
    assert "repository.recovered" in [row.subject for row in await kept.rows(OutboxRow)]


async def test_after_a_whole_recovery_everything_is_allowed_again(kept: World) -> None:
    await freeze(kept, *CAUSES[:4])
    await kept.db.run(lambda tx: tx.session.execute(update(Archive).values(missing=True)))
    assert (await recover(kept)).state == "succeeded"
    found = await repository(kept)
    assert (found.frozen_reason, found.frozen_for, found.frozen_at, found.rewritten_after) == ("", [], None, None)
    assert not any(row.missing for row in await kept.rows(Archive))
    assert (await kept.maintain(JobType.REPOSITORY_COMPACT)).state == "succeeded"


async def test_what_was_frozen_before_causes_had_codes_is_let_go_when_all_is_there(kept: World) -> None:
    await mark(kept, frozen_reason="2 recorded archives are missing", frozen_for=[])
    assert (await recover(kept)).state == "succeeded"
    assert (await repository(kept)).frozen_reason == ""


async def test_what_cannot_be_brought_back_is_lost_and_named(kept: World) -> None:
    await freeze(kept, "archives_missing")
    name = next(iter(kept.storage.kept))
    kept.storage.kept.pop(name)
    ended = await recover(kept)
    assert ended.state == "warning"
    assert name in ended.warnings[0]
    assert [row.missing for row in await kept.rows(Archive) if row.name == name] == [True]
    assert [one["code"] for one in (await repository(kept)).frozen_for] == ["archives_missing"]


async def test_objects_that_stand_nowhere_any_more_stay_a_cause(kept: World) -> None:
    await freeze(kept, "history_rewritten")
    kept.storage.recovery = Recovery(2, 5, 1, 0, key=True)
    ended = await recover(kept)
    assert ended.result == {"archives": 2, "put_back": 5, "lost": 1, "removed": 0, "key": True}
    found = await repository(kept)
    assert ([one["code"] for one in found.frozen_for], found.rewritten_after) == (["history_rewritten"], 4)


@pytest.mark.parametrize(("recovery", "checks"), [
    (Recovery(2, 0, 0, 0, key=False), 0), (Recovery(2, 5, 0, 0, key=True), 0), (Recovery(2, 0, 0, 3, key=False), 1),
    (Recovery(2, 5, 1, 0, key=False), 1),
])  # fmt: skip
async def test_after_a_recovery_that_left_objects_out_a_check_says_which_archives_need_them(
    kept: World, recovery: Recovery, checks: int
) -> None:
    kept.storage.recovery = recovery
    await recover(kept)
    asked = [job for job in await kept.rows(Job) if job.type == JobType.REPOSITORY_CHECK.value]
    assert [job.params for job in asked] == [{"depth": "archives"}] * checks


async def test_garbage_that_a_verification_finds_while_a_recovery_runs_is_left_to_the_next_one(kept: World) -> None:
    await freeze(kept, "archives_missing")
    await mark(kept, rewritten_after=None)

    async def found() -> None:
        await mark(kept, rewritten_after=7)

    kept.storage.on_list = found
    assert (await recover(kept)).state == "succeeded"
    assert (await repository(kept)).rewritten_after == 7
    kept.storage.on_list = None
    await recover(kept)
    assert [wanted.rewritten_after for wanted in kept.storage.wanted] == [None, 7]
    assert (await repository(kept)).rewritten_after is None


async def test_a_sound_repository_stays_as_it_is(kept: World) -> None:
    assert (await recover(kept)).state == "succeeded"
    assert (await repository(kept)).unfrozen_by == ""


async def test_each_backup_is_followed_by_a_verification_that_proves_it(kept: World) -> None:
    assert [row.segment for row in await kept.rows(Archive)] == [5, 9]
    assert [job.type for job in await kept.rows(Job)].count("repository_verify") == 2
    await mark(kept, verified_segment=2)
    kept.storage.stretches = [Stretch(5, 10, (), ()), Stretch(5, 0, (), ())]
    ended = await verify(kept)
    assert ended.result == {"finished": False, "objects": 10, "garbage": 0, "proven": 1}
    assert [bool(row.proven_at) for row in await kept.rows(Archive)] == [True, False]
    assert (await repository(kept)).verified_segment == 5
    assert (await verify(kept)).result == {"finished": True, "objects": 1, "garbage": 0, "proven": 1}
    assert (await verify(kept)).result == {"finished": True, "objects": 0}
    assert "repository.verified" in [row.subject for row in await kept.rows(OutboxRow)]


async def test_a_verification_ends_with_its_budget(kept: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await mark(kept, verified_segment=2)
    monkeypatch.setattr("services.backup.inventory.verify._BUDGET", -1)
    ended = await verify(kept)
    assert (ended.state, ended.result["finished"], ended.result["objects"]) == ("succeeded", False, 0)


async def test_garbage_freezes_marks_the_archive_that_brought_it_and_is_red(kept: World) -> None:
    await mark(kept, verified_segment=2)
    garbage = tuple((f"{number:064x}", 7) for number in range(5))
    kept.storage.stretches = [Stretch(9, 3, garbage, ())]
    ended = await verify(kept)
    assert (ended.state, ended.code) == ("failed", "hostile_client")
    assert ended.reason
    assert ended.reason.endswith("and 2 more")
    found = await repository(kept)
    assert ([one["code"] for one in found.frozen_for], found.rewritten_after) == (["hostile_client"], 6)
    assert [bool(row.damage) for row in await kept.rows(Archive)] == [False, True]
    assert [bool(row.proven_at) for row in await kept.rows(Archive)] == [True, False]


async def test_a_damaged_disk_is_no_attack(kept: World) -> None:
    await mark(kept, verified_segment=2)
    kept.storage.stretches = [Stretch(9, 3, (), ("segment 7: checksum",))]
    ended = await verify(kept)
    assert (ended.state, ended.code) == ("failed", "repository_damaged")
    found = await repository(kept)
    assert (found.frozen_reason, found.segments_damage) == ("", "segment 7: checksum")


@pytest.mark.parametrize("kind", [JobType.REPOSITORY_VERIFY, JobType.REPOSITORY_RECOVER])
async def test_a_repository_that_was_forgotten_ends_its_jobs(kept: World, kind: JobType) -> None:
    async def forget(tx: Any) -> Job:
        job = Job(type=kind.value, node="node1", title="x", params={}, repository_id=new_id())
        await tx.jobs.enqueue(job)
        return job

    job = await kept.db.run(forget)
    event: Any = RepositoryVerify if kind is JobType.REPOSITORY_VERIFY else RepositoryRecover
    work = VERIFY if kind is JobType.REPOSITORY_VERIFY else RECOVER
    ctx = Context(kept.db, kept.bus, key="k", lease_seconds=30)
    with pytest.raises(Permanent) as caught:
        await work_on(event(job_id=job.id), ctx, work=work, storage=kept.storage)
    assert caught.value.code == "repository_missing"
    again = Context(kept.db, kept.bus, key="k", lease_seconds=30)
    await work_on(event(job_id=job.id), again, work=work, storage=kept.storage)  # held by a live worker


async def test_outside_requests_make_jobs_of_both_kinds(kept: World) -> None:
    found = await repository(kept)
    for event, kind in (
        (RepositoryVerify(repository_id=found.id, budget_seconds=600), JobType.REPOSITORY_VERIFY),
        (RepositoryRecover(repository_id=found.id), JobType.REPOSITORY_RECOVER),
    ):
        await accept_maintenance_request(event, Context(kept.db, kept.bus, key=kind.value, lease_seconds=1), kind=kind)
    made = [job for job in await kept.rows(Job) if job.request_key in ("repository_verify", "repository_recover")]
    assert {job.params.get("budget_seconds") for job in made} == {600, None}


async def test_a_failed_script_leaves_the_repository_frozen(kept: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_arguments: Any) -> Recovery:
        message = "no"
        raise Permanent(message, code="passphrase_wrong")

    await freeze(kept, "archives_missing")
    monkeypatch.setattr(kept.storage, "recover", refuse)
    with pytest.raises(AppError):
        await recover(kept)
    assert (await repository(kept)).frozen_reason
