"""A database that was restored knows from the node's journal what was ours; a journal that fails costs no backup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from services.backup.handlers import make_backup
from services.backup.ports import RepositoryPlace
from shared.borg.journal import Entry, append, read
from shared.db.stores.requests import request_delete
from shared.db.tables import Archive, Job, Repository
from shared.domain.job import JobType
from shared.errors import AppError, LeaseLost, Permanent, Transient
from shared.events.backup import BackupRequested
from shared.runtime.context import Abort, Context
from tests.unit.services.backup.world import World

FULL = Permanent("no space", code="node_disk_full", remedy="free space")


@pytest.fixture
async def kept(world: World, tmp_path: Path) -> World:
    """Two backups; the repository ends at transaction 5."""
    world.storage.transaction, world.storage.journal = 5, tmp_path / "journal"
    await run(world)
    await run(world)
    return world


async def run(world: World) -> Job:
    job = await world.request()
    await world.backup(job)
    return await world.job(job)


async def repository(world: World) -> Repository:
    return (await world.rows(Repository))[0]


async def restored(world: World, **values: Any) -> None:
    """Take a repository's row, and the last archive's, back."""
    last = max(await world.rows(Archive), key=lambda row: row.created_at)

    async def put_back(tx: Any) -> None:
        await tx.session.execute(update(Repository).values(**{"journal_number": 2, "proven_transaction": 3} | values))
        await tx.session.execute(delete(Archive).where(Archive.id == last.id))

    await world.db.run(put_back)


async def test_what_the_journal_knows_is_on_record_again_and_nothing_is_pruned_for_a_day(kept: World) -> None:
    before = {row.borg_id: (row.name, row.state, row.trusted, row.job_id) for row in await kept.rows(Archive)}
    await kept.db.run(lambda tx: tx.session.execute(update(Repository).values(retention={"keep_last": 1})))
    await restored(kept)
    kept.storage.calls.clear()
    ended = await run(kept)
    assert (ended.state, len(ended.warnings)) == ("warning", 1)
    assert "is older than the repository web1/system" in ended.warnings[0]
    after = {row.borg_id: (row.name, row.state, row.trusted, row.job_id) for row in await kept.rows(Archive)}
    assert before.items() <= after.items()
    found = await repository(kept)
    assert (found.frozen_reason, found.proven_transaction, found.archive_count) == ("", 5, 3)
    assert found.restored_at
    assert JobType.REPOSITORY_PRUNE.value not in {job.type for job in await kept.rows(Job)}
    assert (await run(kept)).state == "succeeded"
    assert JobType.REPOSITORY_PRUNE.value not in {job.type for job in await kept.rows(Job)}
    accepted = update(Repository).values(restored_accepted_at=found.restored_at)
    await kept.db.run(lambda tx: tx.session.execute(accepted))
    await run(kept)
    assert JobType.REPOSITORY_PRUNE.value in {job.type for job in await kept.rows(Job)}


async def test_what_was_accepted_is_one_restore_and_not_the_next(kept: World) -> None:
    await restored(kept)
    await run(kept)
    accepted = update(Repository).values(restored_accepted_at=(await repository(kept)).restored_at)
    await kept.db.run(lambda tx: tx.session.execute(accepted))
    assert not (await repository(kept)).restored_pending
    await restored(kept)
    await run(kept)
    assert (await repository(kept)).restored_pending


async def test_a_cause_that_was_found_since_freezes_again_and_one_that_was_let_go_does_not(kept: World) -> None:
    cause = [{"code": "history_rewritten", "reason": "objects were deleted"}]
    await kept.db.run(lambda tx: tx.session.execute(update(Repository).values(frozen_for=cause, rewritten_after=2)))
    await run(kept)
    await restored(kept, frozen_for=[], rewritten_after=None)
    await run(kept)
    found = await repository(kept)
    assert (found.frozen_for, found.frozen_reason, found.rewritten_after) == (cause, "objects were deleted", 2)
    assert found.frozen_at
    freed: dict[str, Any] = {"frozen_for": [], "frozen_reason": "", "frozen_at": None, "rewritten_after": None}
    await kept.db.run(lambda tx: tx.session.execute(update(Repository).values(**freed)))
    await run(kept)
    await restored(kept, frozen_for=cause, frozen_reason="objects were deleted")
    await run(kept)
    found = await repository(kept)
    assert (found.frozen_for, found.frozen_reason, found.frozen_at) == ([], "", None)


async def test_a_deletion_that_cannot_be_noted_before_is_not_done(kept: World) -> None:
    first = min(await kept.rows(Archive), key=lambda row: row.created_at)
    await kept.keep(keep_last=1)
    kept.storage.forgets = FULL
    with pytest.raises(AppError) as caught:
        await kept.delete(await kept.db.run(lambda tx: request_delete(tx, first)))
    assert caught.value.code == "node_disk_full"
    with pytest.raises(AppError):
        await kept.prune(override_deletion_limit=True)
    assert not [call for call in kept.storage.calls if call.startswith("delete")]
    assert first.name in kept.storage.kept


async def test_a_journal_that_cannot_be_written_costs_no_backup(kept: World) -> None:
    kept.storage.forgets = FULL
    assert (await run(kept)).state == "succeeded"
    kept.storage.forgets = None
    # It is behind now: what is there without us has two explanations, until the journal knows the next session.
    kept.storage.transaction = 9
    ended = await run(kept)
    assert (ended.state, "the database was restored from a backup" in ended.warnings[0]) == ("warning", True)
    kept.storage.transaction = 12
    ended = await run(kept)
    assert [one for one in ended.warnings if "after transaction 9" in one] == [
        "something was written to the repository outside of any run, after transaction 9"
    ]


@pytest.mark.parametrize("where", ["standing", "made", "settled"])
async def test_a_run_whose_lease_is_lost_ends_there(kept: World, where: str) -> None:
    """It must not go on as if only the journal had failed."""
    first = min(await kept.rows(Archive), key=lambda row: row.created_at)
    remember = kept.storage.remember

    async def lost(repository: RepositoryPlace, *entries: Entry) -> None:
        if any({"standing": one.standing, "made": one.made, "settled": one.gone}[where] for one in entries):
            raise LeaseLost("passed on")
        await remember(repository, *entries)

    kept.storage.remember = lost  # pyright: ignore[reportAttributeAccessIssue] - a double of a double
    with pytest.raises(LeaseLost):
        if where == "settled":
            await kept.delete(await kept.db.run(lambda tx: request_delete(tx, first)))
        else:
            await kept.backup(await kept.request())


def last_number(world: World) -> int:
    assert world.storage.journal is not None
    standing = read(world.storage.journal).standing
    assert standing is not None
    return standing.number


async def test_whoever_lost_its_lease_notes_nothing_at_its_end(kept: World) -> None:
    job = await kept.request()
    numbers: list[int] = []
    ctx = Context(kept.db, kept.bus, key="k", lease_seconds=30)

    async def lose() -> None:
        ctx.abort = Abort.LEASE_LOST
        numbers.append(last_number(kept))
        raise Transient("gone", code="lease")

    kept.storage.on_list = lose
    with pytest.raises(AppError):
        await make_backup(BackupRequested(job_id=job.id), ctx, storage=kept.storage, servers=kept.server)
    await kept.db.run(ctx.release)
    assert last_number(kept) == numbers[0]


async def test_an_archive_that_is_about_to_go_comes_back_as_one(kept: World) -> None:
    """Made since, and its deletion broke off: whether it is there is looked at, and it is judged then."""
    assert kept.storage.journal is not None
    last = max(await kept.rows(Archive), key=lambda row: row.created_at)
    append(kept.storage.journal, [Entry(deleting={last.borg_id: last.name})])
    await restored(kept)
    kept.storage.kept.pop(last.name)
    ended = await run(kept)
    assert len(ended.warnings) == 1, ended.warnings
    row = next(row for row in await kept.rows(Archive) if row.borg_id == last.borg_id)
    assert (row.deleting, row.missing, (await repository(kept)).frozen_reason) == (True, False, "")
    assert read(kept.storage.journal).gone.keys() == {last.borg_id}
