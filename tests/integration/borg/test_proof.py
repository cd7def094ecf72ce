"""Real borg: pools that go in the middle of a run, segments that are gone or damaged, garbage of runs that failed."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Any

import pytest

from services.backup.node.apart import Disks
from shared.borg.segments import last_transaction
from shared.db.tables import Archive, Job
from shared.domain.job import JobType
from shared.errors import AppError, Permanent
from tests.harness.borg_client import Client, write_behind
from tests.harness.hanging import hanging
from tests.harness.patience import WAIT
from tests.integration.borg.unfenced import Fleet, db, fleet  # noqa: F401 # pyright: ignore[reportUnusedImport] - fixtures are asked for by name


async def test_a_pool_that_is_unmounted_in_the_middle_of_a_run_is_named_and_the_proof_keeps_its_starting_point(
    fleet: Fleet,  # noqa: F811 - the fixture
) -> None:
    before = await fleet.repository()
    pool, away = fleet.directory / "pool", fleet.directory / "away"

    def unmount(_client: Client) -> None:
        pool.rename(away)
        pool.mkdir()

    fleet.server.attack = unmount
    assert (await fleet.refused(await fleet.request())).code == "pool_not_mounted"
    found = await fleet.repository()
    assert (found.proven_transaction, found.session) == (before.proven_transaction, "server")
    with pytest.raises(AppError) as caught:
        await fleet.verify()
    assert caught.value.code == "pool_not_mounted"
    pool.rmdir()
    away.rename(pool)
    fleet.server.attack = None
    assert (await fleet.run()).state == "succeeded"
    assert (await fleet.repository()).frozen_reason == ""


async def test_a_flipped_bit_in_the_last_commit_is_damage_and_lets_no_borg_throw_the_last_run_away(
    fleet: Fleet,  # noqa: F811 - fixtures are asked for by name
) -> None:
    mark = (await fleet.repository()).proven_transaction
    last = last_transaction(str(fleet.place))
    file = next(fleet.place.glob(f"data/*/{last}"))
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    there = {one.name for one in fleet.place.glob("data/*/*")}
    assert (await fleet.refused(await fleet.request())).code == "segments_damaged"
    with pytest.raises(AppError) as caught:
        await fleet.maintain(JobType.REPOSITORY_COMPACT)
    assert caught.value.code == "repository_damaged"
    checked = await fleet.maintain(JobType.REPOSITORY_CHECK, depth="archives")
    assert (checked.state, checked.code) == ("failed", "repository_damaged")
    assert f"it ended at {last}" in (checked.reason or "")
    found = await fleet.repository()
    assert (found.proven_transaction, "repository_rolled_back" in await fleet.codes()) == (mark, False)
    assert found.segments_damage
    assert {one.name for one in fleet.place.glob("data/*/*")} == there
    assert (await fleet.recover()).state in ("succeeded", "warning")  # the last run's data is behind its commit
    assert (await fleet.run()).state in ("succeeded", "warning")


async def test_an_older_copy_of_a_repository_can_be_checked_and_recovered(fleet: Fleet) -> None:  # noqa: F811 - fixtures are asked for by name
    copy = fleet.directory / "copy"
    shutil.copytree(fleet.place, copy)
    await fleet.run()
    last = max(await fleet.rows(Archive), key=lambda row: row.segment).name
    shutil.rmtree(fleet.place)
    copy.rename(fleet.place)
    assert (await fleet.refused(await fleet.request())).code == "repository_rolled_back"
    checked = await fleet.maintain(JobType.REPOSITORY_CHECK, depth="archives")
    assert (checked.state, "it ended at" in (checked.reason or "")) == ("failed", True)
    assert "repository_rolled_back" in await fleet.codes()
    ended = await fleet.recover()
    assert (ended.state, last in ended.warnings[0]) == ("warning", True)
    assert (await fleet.repository()).proven_transaction == last_transaction(str(fleet.place))
    assert (await fleet.run()).state in ("succeeded", "warning")


@pytest.mark.parametrize("what", ["older segments", "the whole data directory"])
async def test_segments_that_are_gone_are_damage_and_prove_nothing(fleet: Fleet, what: str) -> None:  # noqa: F811 - fixtures are asked for by name
    row = max(await fleet.rows(Archive), key=lambda row: row.segment)
    if what == "older segments":
        for file in fleet.place.glob("data/*/*"):
            if int(file.name) < row.segment:
                file.unlink()
    else:
        (fleet.place / "data").rename(fleet.directory / "data-away")
    for _ in range(2):  # and it stays red until somebody has found out what is hit
        ended = await fleet.verify()
        assert (ended.state, ended.code, ended.result["proven"]) == ("failed", "segments_damaged", 0)
    assert not any(row.proven_at for row in await fleet.rows(Archive))
    assert await fleet.codes() == ["segments_damaged"]
    assert (await fleet.repository()).segments_damage


async def test_segments_that_our_own_compaction_took_are_no_damage(fleet: Fleet) -> None:  # noqa: F811 - fixtures are asked for by name
    """Nobody has read them before: what it keeps it writes again further on, and that is read."""
    (fleet.server.directory / "file0").write_bytes(os.urandom(200_000))
    await fleet.run()
    await fleet.keep(keep_last=1)
    before = {file.name for file in fleet.place.glob("data/*/*")}
    assert (await fleet.prune(override_deletion_limit=True)).state == "succeeded"
    assert before - {file.name for file in fleet.place.glob("data/*/*")}
    ended = await fleet.verify()
    assert (ended.state, ended.result["proven"]) == ("succeeded", 1)
    assert (await fleet.repository()).frozen_reason == ""


async def test_garbage_of_a_run_that_failed_is_found_and_no_honest_backup_is_blamed(fleet: Fleet) -> None:  # noqa: F811 - fixtures are asked for by name
    assert (await fleet.verify()).state == "succeeded"
    queued = {job.id for job in await fleet.rows(Job)}

    def attack(client: Client) -> None:
        write_behind(client.repository, {os.urandom(32): os.urandom(500)})
        message = "the client went away"
        raise Permanent(message, code="borg_failed")

    fleet.server.attack = attack
    await fleet.refused(await fleet.request())
    verifications = [
        job for job in await fleet.rows(Job) if job.type == JobType.REPOSITORY_VERIFY.value and job.id not in queued
    ]
    assert len(verifications) == 1
    fleet.server.attack = None
    honest = await fleet.run()
    ended = await fleet.verify()
    assert (ended.state, ended.code, ended.result["garbage"]) == ("failed", "hostile_client", 1)
    assert await fleet.codes() == ["hostile_client"]
    rows = await fleet.rows(Archive)
    assert not any(row.damage for row in rows)
    assert not next(row for row in rows if row.job_id == honest.id).proven_at  # it may be built on the garbage
    assert (await fleet.recover()).result["removed"] == 1
    await fleet.verify()
    assert all(row.proven_at for row in await fleet.rows(Archive))


class Impatient(Disks):
    """Waits for a disk that hangs for a moment only, and for all others as long as they take."""

    hanging = ""

    async def read(self, disk: str, *asked: Any) -> Any:
        self.seconds = 0.5 if disk == self.hanging else WAIT
        return await super().read(disk, *asked)


async def test_a_pool_that_hangs_in_the_middle_of_a_run_is_named(fleet: Fleet) -> None:  # noqa: F811 - fixtures are asked for by name
    before = (await fleet.repository()).proven_transaction
    disks = fleet.storage._disks = Impatient()
    with contextlib.ExitStack() as hangs:

        def hang(_client: Client) -> None:
            disks.hanging = str(hangs.enter_context(hanging(fleet.directory / "pool")))

        fleet.server.attack = hang
        assert (await fleet.refused(await fleet.request())).code == "pool_silent"
        found = await fleet.repository()
        assert (found.proven_transaction, found.session) == (before, "server")
    fleet.server.attack, disks.hanging = None, ""
    assert (await fleet.run()).state == "succeeded"
    assert (await fleet.repository()).frozen_reason == ""


async def test_a_verification_whose_pool_hangs_ends_and_names_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch  # noqa: F811 - fixtures are asked for by name
) -> None:  # fmt: skip
    """Without an answer it would be silent for its whole limit, and hold one of the node's few slots."""
    monkeypatch.setattr("services.backup.node.storage._VERIFY_SILENCE", -29.0)
    honest = fleet.storage.verify

    async def verify(*arguments: Any, **more: Any) -> Any:
        with hanging(fleet.place / "data"):
            return await honest(*arguments, **more)

    fleet.storage.verify = verify
    with pytest.raises(AppError) as caught:
        await fleet.verify()
    assert caught.value.code == "command_silent"
    assert str(fleet.directory / "pool") in caught.value.remedy
