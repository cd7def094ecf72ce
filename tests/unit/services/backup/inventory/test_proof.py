"""What was written to a repository without us freezes it; what we wrote, and what broke off, does not."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from services.backup.inventory.reconcile import is_noted
from services.backup.ports import Stretch
from shared.db.stores.requests import request_delete
from shared.db.stores.secrets import repository_key
from shared.db.tables import Archive, BackupJob, Job, OutboxRow, Repository
from shared.domain.job import JobType
from shared.errors import AppError, Permanent, Transient
from tests.unit.services.backup.world import World

KEY = "BORG_KEY 00ff\nAAAA\nBBBB\n"


@pytest.fixture
async def kept(world: World) -> World:
    """One backup, and the proof of it: the repository ends at transaction 5."""
    world.storage.transaction, world.storage.exported = 5, KEY
    await run(world)
    return world


async def run(world: World) -> Job:
    job = await world.request()
    await world.backup(job)
    return await world.job(job)


async def repository(world: World) -> Repository:
    return (await world.rows(Repository))[0]


def codes(found: Repository) -> list[str]:
    return [one["code"] for one in found.frozen_for]


async def mark(world: World, **values: Any) -> None:
    await world.db.run(lambda tx: tx.session.execute(update(Repository).values(**values)))


async def test_honest_sessions_one_after_the_other_freeze_nothing(kept: World) -> None:
    for transaction in (7, 9):
        found = await repository(kept)
        assert (found.session, found.proven_transaction) == ("", kept.storage.transaction)
        job = await kept.request()
        kept.server.on_create = transaction
        await kept.backup(job)
        assert (await kept.job(job)).state == "succeeded"
    found = await repository(kept)
    assert (found.frozen_reason, found.proven_transaction, found.manifest_transaction) == ("", 9, 9)
    assert kept.storage.copies == 3


@pytest.mark.parametrize(
    "kind", [JobType.REPOSITORY_PRUNE, JobType.REPOSITORY_COMPACT, JobType.ARCHIVE_DELETE, JobType.BACKUP_CREATE]
)
async def test_what_was_written_outside_of_a_lease_is_seen_before_anything_is_deleted(
    kept: World, kind: JobType
) -> None:
    await kept.keep(keep_last=1)
    kept.storage.transaction = 8
    kept.storage.calls.clear()
    if kind is JobType.BACKUP_CREATE:
        job = await run(kept)
        assert job.state == "warning"
        assert "outside of any run, after transaction 5" in job.warnings[0]
    else:
        with pytest.raises(AppError) as caught:
            await act(kept, kind)
        assert caught.value.code == "repository_frozen"
    assert not any(call.startswith(("delete", "compact")) for call in kept.storage.calls)
    assert codes(await repository(kept)) == ["written_outside"]
    assert "repository.frozen" in [row.subject for row in await kept.rows(OutboxRow)]


async def act(world: World, kind: JobType) -> None:
    if kind is JobType.ARCHIVE_DELETE:
        archive = (await world.rows(Archive))[0]
        await world.delete(await world.db.run(lambda tx: request_delete(tx, archive)))
    else:
        await world.maintain(kind)


async def test_what_a_server_deletes_in_its_own_run_freezes_and_is_said_by_that_run(kept: World) -> None:
    kept.storage.rewritten, kept.server.on_create = frozenset({b"a", b"b"}), 9
    ended = await run(kept)
    assert ended.state == "warning"
    assert ended.warnings == [
        "2 objects that were there before were deleted or replaced by the server, after transaction 5"
    ]
    found = await repository(kept)
    assert (codes(found), found.rewritten_after, found.proven_transaction) == (["history_rewritten"], 5, 9)
    await run(kept)
    assert (await repository(kept)).rewritten_after == 5  # the first: a recovery undoes all that followed


@pytest.mark.parametrize("error", [Permanent("no", code="x"), Transient("no", code="x")])
async def test_a_run_that_failed_is_judged_too_and_what_it_still_commits_is_its_own(
    kept: World, error: AppError
) -> None:
    kept.storage.rewritten, kept.storage.transaction = frozenset({b"a"}), 5
    kept.server.fails, kept.server.on_create = error, 8
    await kept.refused(await kept.request())
    found = await repository(kept)
    assert (codes(found), found.session, found.proven_transaction) == (["history_rewritten"], "server", 8)
    await mark(kept, frozen_reason="", frozen_for=[])
    kept.storage.rewritten, kept.server.fails, kept.server.on_create = frozenset(), None, None
    kept.storage.transaction = 10  # its borg committed once more, after its run was over
    await run(kept)
    assert (await repository(kept)).frozen_reason == ""


async def test_what_our_own_maintenance_moved_and_left_half_done_is_no_attack(kept: World) -> None:
    kept.storage.rewritten, kept.storage.transaction = frozenset({b"moved"}), 12
    await mark(kept, session="node")
    assert (await run(kept)).state == "warning"  # its own session deletes: that is told
    assert codes(await repository(kept)) == ["history_rewritten"]
    await mark(kept, frozen_reason="", frozen_for=[], session="node")
    kept.storage.transaction = 14
    assert (await kept.maintain(JobType.REPOSITORY_COMPACT)).state == "succeeded"
    found = await repository(kept)
    assert (found.frozen_reason, found.proven_transaction, found.session) == ("", 14, "")


async def test_a_changed_key_freezes_once_and_is_told_each_time(kept: World) -> None:
    async with kept.db.read() as _:
        assert await kept.db.run(lambda tx: tx.secrets.get(repository_key(kept.definition.repository_id))) == KEY
    kept.storage.exported = KEY.replace("\n", "\n\n")
    assert (await run(kept)).state == "succeeded"  # how it is broken into lines says nothing
    kept.storage.exported = KEY.replace("AAAA", "AAAB")
    for _ in range(2):
        ended = await run(kept)
        assert ended.state == "warning"
        assert len(ended.warnings) == 1
    assert codes(await repository(kept)) == ["repository_key_changed"]
    kept.storage.exported = ""
    assert (await run(kept)).warnings
    assert await kept.db.run(lambda tx: tx.secrets.get(repository_key(kept.definition.repository_id))) == KEY


async def test_an_older_copy_in_its_place_ends_the_run_before_borg_touches_it(kept: World) -> None:
    kept.storage.transaction = 3
    kept.storage.calls.clear()
    error = await kept.refused(await kept.request())
    assert error.code == "repository_rolled_back"
    assert kept.storage.calls == ["open"]


async def test_damage_is_told_as_damage_and_stops_maintenance(kept: World) -> None:
    damage = Permanent("segment 6 of the repository is missing", code="segments_damaged")
    kept.storage.rewritten, kept.server.on_create = damage, 9
    ended = await run(kept)
    assert (ended.state, ended.warnings) == ("warning", [damage.message])
    found = await repository(kept)
    assert (found.frozen_reason, found.segments_damage, found.proven_transaction) == ("", damage.message, 9)
    with pytest.raises(AppError) as caught:
        await kept.maintain(JobType.REPOSITORY_COMPACT)
    assert caught.value.code == "repository_damaged"


async def test_a_repository_from_before_proofs_were_made_begins_where_it_is(world: World) -> None:
    world.storage.transaction, world.storage.rewritten = 40, frozenset({b"by our own prunes"})
    world.server.on_create = 40
    await mark(world, session="")
    world.storage.rewritten = frozenset()
    assert (await run(world)).state == "succeeded"
    found = await repository(world)
    assert (found.proven_transaction, found.verified_segment) == (40, 40)


async def test_a_new_repository_has_everything_still_to_verify(world: World) -> None:
    world.server.on_create = 6
    assert (await run(world)).state == "succeeded"
    found = await repository(world)
    assert (found.proven_transaction, found.verified_segment) == (6, -1)
    world.storage.transaction = 6
    await world.maintain(JobType.REPOSITORY_COMPACT)
    assert (await repository(world)).verified_segment == -1  # it moves what nobody has read yet


async def test_a_copy_of_the_manifest_is_kept_of_whole_repositories_only(kept: World) -> None:
    kept.storage.kept.clear()
    ended = await run(kept)
    assert "without our doing" in ended.warnings[0]
    assert kept.storage.copies == 1


@pytest.mark.parametrize("left", [None, 3])
async def test_a_repository_that_ends_too_early_keeps_its_mark_whatever_runs(kept: World, left: int | None) -> None:
    kept.storage.transaction, kept.storage.uncommitted = left, True
    for _ in range(2):
        assert (await kept.refused(await kept.request())).code == "segments_damaged"
    checked = await kept.maintain(JobType.REPOSITORY_CHECK)
    assert (checked.state, checked.code) == ("failed", "repository_damaged")
    found = await repository(kept)
    assert (found.proven_transaction, found.session, bool(found.segments_damage)) == (5, "", True)
    kept.storage.transaction, kept.storage.uncommitted = 5, False
    assert (await kept.maintain(JobType.REPOSITORY_CHECK)).state == "succeeded"
    assert (await repository(kept)).segments_damage == ""


async def test_a_pool_that_goes_takes_no_mark_along(kept: World) -> None:
    async def unmount() -> None:
        kept.storage.transaction = None
        kept.storage.there = Permanent("not mounted", code="pool_not_mounted")

    kept.server.on_borg = unmount
    assert (await kept.refused(await kept.request())).code == "pool_not_mounted"
    found = await repository(kept)
    assert (found.proven_transaction, found.session) == (5, "server")


@pytest.mark.parametrize("code", ["pool_not_mounted", "pool_silent", "repository_missing"])
async def test_whatever_fails_because_the_pool_went_is_told_of_the_pool(kept: World, code: str) -> None:
    async def go() -> None:
        kept.storage.there = Transient("hangs", code=code) if code == "pool_silent" else Permanent("away", code=code)

    kept.server.fails, kept.server.on_create = Permanent("no manifest", code="manifest_unreadable"), None
    kept.server.on_hook["pre"] = go
    await kept.db.run(lambda tx: tx.session.execute(update(BackupJob).values(pre_hook="pre")))
    assert (await kept.refused(await kept.request())).code == code


async def test_a_check_and_a_recovery_run_on_an_older_copy_and_nothing_else_does(kept: World) -> None:
    kept.storage.transaction = 3
    assert (await kept.maintain(JobType.REPOSITORY_CHECK)).state == "failed"
    assert codes(await repository(kept)) == ["repository_rolled_back"]
    assert (await repository(kept)).proven_transaction == 5
    assert (await kept.refused(await kept.request())).code == "repository_rolled_back"
    await kept.maintain(JobType.REPOSITORY_RECOVER, reason="a test", by="me")
    assert (await repository(kept)).proven_transaction == 3
    await run(kept)


async def test_a_cause_whose_words_stand_in_another_one_is_a_cause_of_its_own(kept: World) -> None:
    longer = "13 objects that were there before were deleted or replaced by the server, after transaction 56"
    await mark(kept, frozen_reason=longer, frozen_for=[{"code": "history_rewritten", "reason": longer}])
    kept.storage.rewritten, kept.server.on_create = frozenset({b"a", b"b", b"c"}), 9
    await run(kept)
    found = await repository(kept)
    assert codes(found) == ["history_rewritten"] * 2
    frozen = [row for row in await kept.rows(OutboxRow) if row.subject == "repository.frozen"]
    assert len(frozen) == 1
    await run(kept)
    assert len((await repository(kept)).frozen_for) == 3  # after another transaction: another event


def test_what_was_frozen_before_causes_had_codes_is_noted_by_its_whole_text() -> None:
    found = Repository(frozen_reason="13 are missing; then a key was changed", frozen_for=[])
    assert is_noted(found, "x", "a key was changed")
    assert not is_noted(found, "x", "3 are missing")


async def queued(world: World) -> int:
    return len([job for job in await world.rows(Job) if job.type == JobType.REPOSITORY_VERIFY.value])


async def test_what_a_failed_run_wrote_is_verified_once_and_what_maintenance_wrote_is_not(kept: World) -> None:
    before = await queued(kept)
    kept.server.fails, kept.server.on_create = Transient("cut", code="x"), 8
    for _ in range(2):
        await kept.refused(await kept.request())
    assert await queued(kept) == before + 1
    kept.server.fails = None
    kept.server.on_create = 8
    await run(kept)
    assert await queued(kept) == before + 1
    kept.storage.transaction = 12
    await mark(kept, session="node")
    await kept.maintain(JobType.REPOSITORY_COMPACT)
    assert await queued(kept) == before + 1
    assert (await repository(kept)).compacted_segment == 12


async def test_a_run_killed_while_it_wrote_is_verified_when_the_next_one_begins(kept: World) -> None:
    before = await queued(kept)
    await mark(kept, session="server")
    kept.storage.transaction = 9
    await kept.maintain(JobType.REPOSITORY_COMPACT)
    assert await queued(kept) == before + 1


async def test_an_archive_is_kept_with_where_its_run_began(kept: World) -> None:
    kept.server.on_create = 9
    job = await run(kept)
    archive = next(row for row in await kept.rows(Archive) if row.job_id == job.id)
    assert (archive.began_segment, archive.segment) == (5, 9)


async def test_a_verification_that_was_quicker_than_the_record_is_made_again(kept: World) -> None:
    async def verified() -> None:
        await mark(kept, verified_segment=9)

    kept.server.on_create, kept.server.on_borg = 9, verified
    before = await queued(kept)
    await run(kept)
    found = await repository(kept)
    assert (found.verified_segment, await queued(kept)) == (5, before + 2)


@pytest.mark.parametrize(
    ("compacted", "session", "missing", "gone"),
    [
        (None, "", ((6, 7),), "6-7"), (5, "", ((6, 7),), "6-7"), (6, "", ((6, 7),), "7"), (7, "", ((6, 7),), ""),
        (None, "node", ((6, 7),), ""), (None, "server", ((6, 6), (8, 9)), "6, 8-9"), (6, "", ((6, 6),), ""),
    ],
)  # fmt: skip
async def test_a_gap_is_forgiven_only_where_maintenance_of_ours_came_after(
    kept: World, compacted: int | None, session: str, missing: Any, gone: str
) -> None:
    kept.server.on_create = 9
    await run(kept)
    await mark(kept, verified_segment=5, proven_transaction=9, compacted_segment=compacted, session=session)
    kept.storage.stretches = [Stretch(8, 3, (), (), (), missing), Stretch(9, 1, (), ())]
    ended = await kept.maintain(JobType.REPOSITORY_VERIFY)
    found = await repository(kept)
    if not gone:
        assert (ended.state, found.verified_segment, found.frozen_reason) == ("succeeded", 9, "")
        assert all(row.proven_at for row in await kept.rows(Archive))
        return
    assert (ended.state, ended.code) == ("failed", "segments_damaged")
    assert found.segments_damage.endswith(f": {gone}")
    assert (codes(found), found.verified_segment) == (
        ["segments_damaged"],
        int(gone.replace("-", ",").partition(",")[0]) - 1,
    )
    assert [bool(row.proven_at) for row in sorted(await kept.rows(Archive), key=lambda row: row.segment)] == [
        True,
        False,
    ]


async def test_a_segment_that_cannot_be_read_proves_nothing_that_came_after(kept: World) -> None:
    kept.server.on_create = 9
    await run(kept)
    await mark(kept, verified_segment=5)
    for _ in range(2):
        kept.storage.stretches = [Stretch(9, 3, (), ("segment 8: bad",), (8,))]
        assert (await kept.maintain(JobType.REPOSITORY_VERIFY)).code == "repository_damaged"
    assert (await repository(kept)).verified_segment == 7
    assert sum(bool(row.proven_at) for row in await kept.rows(Archive)) == 1


async def test_a_verification_while_the_pool_is_away_is_told_as_that(kept: World) -> None:
    kept.server.on_create = 9
    await run(kept)
    calls = len(kept.storage.stretches)
    kept.storage.there = Permanent("not mounted", code="pool_not_mounted")
    with pytest.raises(AppError) as caught:
        await kept.maintain(JobType.REPOSITORY_VERIFY)
    assert (caught.value.code, len(kept.storage.stretches)) == ("pool_not_mounted", calls)
