"""The database is put back to an older backup while the repository went on: the node's journal tells what was ours."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shared.borg.segments import last_transaction
from shared.db.stores.requests import request_delete
from shared.db.tables import Archive
from shared.domain.job import JobType
from shared.errors import AppError
from tests.harness.borg_client import node
from tests.harness.stage import DatabaseCopy
from tests.integration.borg import unfenced
from tests.integration.borg.test_recover import ATTACKS
from tests.integration.borg.unfenced import Fleet

db, fleet = unfenced.db, unfenced.fleet
ON_BOTH_DATABASES = unfenced.ON_BOTH_DATABASES
Restore = Callable[[], Awaitable[None]]


@pytest.fixture
async def restore(fleet: Fleet, request: pytest.FixtureRequest, tmp_path: Path) -> Restore:
    """Put the database back to what it is now, by its own means."""
    url = fleet.db.engine.url
    maria = None if url.get_backend_name() == "sqlite" else request.getfixturevalue("maria")
    rows = DatabaseCopy(url, tmp_path / "database.backup", maria)
    await asyncio.to_thread(rows.keep)
    return lambda: asyncio.to_thread(rows.put_back)


async def went_on(fleet: Fleet) -> None:
    """Three more nights, a prune that leaves two archives, and its compaction: done once for all tests."""

    async def do() -> None:
        for night in range(3):
            (fleet.server.directory / f"night{night}").write_bytes(os.urandom(30_000))
            assert (await fleet.run()).state == "succeeded"
        await fleet.keep(keep_last=2)
        assert (await fleet.prune(override_deletion_limit=True)).result == {"deleted": 3, "kept": 2}

    await fleet.prepared.once("three nights and a prune", do)


async def on_record(fleet: Fleet) -> set[str]:
    return {row.name for row in await fleet.rows(Archive)}


async def told(fleet: Fleet, job: Any) -> list[str]:
    return [one for one in job.warnings if "is older than the repository" in one]


@ON_BOTH_DATABASES
async def test_what_we_pruned_and_made_since_the_backup_is_ours_and_no_attack(fleet: Fleet, restore: Restore) -> None:
    before = await on_record(fleet)
    await went_on(fleet)
    there = fleet.listed()
    await restore()
    assert await on_record(fleet) == before
    await fleet.keep(keep_last=2)
    ended = await fleet.run()
    assert (ended.state, len(await told(fleet, ended)), await fleet.codes()) == ("warning", 1, []), ended.warnings
    assert len(ended.warnings) == 1
    rows = await fleet.rows(Archive)
    assert {row.name for row in rows} == fleet.listed() > there
    assert (len(rows), all(row.trusted for row in rows)) == (3, True)
    assert not any(row.missing or row.deleting for row in rows)
    assert (await fleet.verify()).state == "succeeded"
    assert all(row.proven_at for row in await fleet.rows(Archive))
    recovered = await fleet.recover()
    assert (recovered.state, fleet.listed()) == ("succeeded", {row.name for row in rows})
    pruned = await fleet.prune(override_deletion_limit=True)
    assert (pruned.state, pruned.result) == ("succeeded", {"deleted": 1, "kept": 2}), pruned.warnings
    assert (await fleet.maintain(JobType.REPOSITORY_CHECK, depth="archives")).state == "succeeded"
    assert (await fleet.run()).state == "succeeded"
    await fleet.assert_all_extract()


async def prune(fleet: Fleet) -> Any:
    return await fleet.prune(override_deletion_limit=True)


async def delete_first(fleet: Fleet) -> Any:
    first = min(await fleet.rows(Archive), key=lambda row: row.name)
    job = await fleet.db.run(lambda tx: request_delete(tx, first))
    await fleet.delete(job)
    return await fleet.job(job)


FIRST: dict[str, Callable[[Fleet], Awaitable[Any]]] = {
    "a verification": lambda fleet: fleet.verify(),
    "a prune": prune,
    "a compaction": lambda fleet: fleet.maintain(JobType.REPOSITORY_COMPACT),
    "a check": lambda fleet: fleet.maintain(JobType.REPOSITORY_CHECK, depth="archives"),
    "a recovery": lambda fleet: fleet.recover(),
    "a deletion of what is gone": delete_first,
}


@pytest.mark.parametrize("first", FIRST)
async def test_whatever_runs_first_knows_what_was_ours(fleet: Fleet, restore: Restore, first: str) -> None:
    await went_on(fleet)
    there = fleet.listed()
    await restore()
    await fleet.keep(keep_last=2)
    ended = await FIRST[first](fleet)
    assert (ended.state, len(await told(fleet, ended)), await fleet.codes()) == ("warning", 1, []), ended.warnings
    assert (await on_record(fleet), fleet.listed()) == (there, there)
    assert (await fleet.run()).state == "succeeded"
    await fleet.assert_all_extract()


async def test_what_another_hand_deleted_after_the_backup_is_a_loss_all_the_same(
    fleet: Fleet, restore: Restore
) -> None:
    await went_on(fleet)
    await restore()
    gone = max(fleet.listed())
    node(fleet.place, fleet.directory / "attacker", "delete", f"{{repo}}::{gone}")
    ended = await fleet.run()
    assert set(await fleet.codes()) >= {"written_outside", "archives_missing"}, ended.warnings
    assert [row.name for row in await fleet.rows(Archive) if row.missing] == [gone]
    assert (await fleet.recover()).state == "succeeded"
    assert gone in fleet.listed()
    await fleet.assert_all_extract()


@pytest.mark.parametrize("attack", ["archives deleted", "all objects overwritten"])
async def test_an_attack_that_was_found_after_the_backup_is_not_forgotten(
    fleet: Fleet, restore: Restore, attack: str
) -> None:
    fleet.server.attack = ATTACKS[attack][0]
    await fleet.run()
    fleet.server.attack = None
    codes = await fleet.codes()
    assert "history_rewritten" in codes
    await restore()
    assert await fleet.codes() == []
    await fleet.keep(keep_last=1)
    with pytest.raises(AppError) as caught:
        await fleet.prune()
    assert caught.value.code == "repository_frozen"
    assert "history_rewritten" in await fleet.codes()
    assert (await fleet.repository()).rewritten_after is not None
    await fleet.recover()
    assert {row.name for row in await fleet.rows(Archive) if not row.missing} <= fleet.listed()


async def test_a_deletion_that_broke_off_before_it_began_is_guarded_again(fleet: Fleet, restore: Restore) -> None:
    """The node noted what it was about to delete, died, and the database was restored: it is there, and stays ours."""
    first = min(await fleet.rows(Archive), key=lambda row: row.name)

    async def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    deleting, fleet.storage.delete = fleet.storage.delete, dies
    with pytest.raises(KeyboardInterrupt):
        await fleet.delete(await fleet.db.run(lambda tx: request_delete(tx, first)))
    fleet.storage.delete = deleting
    await restore()
    ended = await fleet.run()
    assert (len(await told(fleet, ended)), await fleet.codes()) == (1, []), ended.warnings
    assert not any(row.deleting for row in await fleet.rows(Archive))
    node(fleet.place, fleet.directory / "attacker", "delete", f"{{repo}}::{first.name}")
    await restore()
    await fleet.run()
    assert "archives_missing" in await fleet.codes()
    assert [row.name for row in await fleet.rows(Archive) if row.missing] == [first.name]


async def test_without_the_journal_too_it_freezes_and_says_both_that_it_may_be(fleet: Fleet, restore: Restore) -> None:
    await went_on(fleet)
    there = fleet.listed()
    await restore()
    shutil.rmtree(fleet.directory / "state" / "journals")
    before = last_transaction(str(fleet.place))
    await fleet.keep(keep_last=1)
    with pytest.raises(AppError) as caught:
        await fleet.prune()
    assert caught.value.code == "repository_frozen"
    reason = next(one["reason"] for one in (await fleet.repository()).frozen_for if one["code"] == "written_outside")
    assert "outside of any run" in reason
    assert "the database was restored from a backup" in reason
    assert (last_transaction(str(fleet.place)), fleet.listed()) == (before, there)


async def test_a_database_that_is_current_is_never_taken_for_an_older_one(fleet: Fleet) -> None:
    for _ in range(2):
        assert (await fleet.run()).state == "succeeded"
    await fleet.keep(keep_last=1)
    assert (await fleet.prune(override_deletion_limit=True)).state == "succeeded"
    assert (await fleet.repository()).restored_at is None
    journal = next((fleet.directory / "state" / "journals").iterdir())
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join(lines[:-3]) + "\n")  # the node's state directory was restored, and the database not
    assert (await fleet.run()).state == "succeeded"
    assert (await fleet.repository()).restored_at is None
