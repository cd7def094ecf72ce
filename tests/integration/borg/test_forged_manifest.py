"""A manifest that is whole and lies: the run is red, nothing of ours deletes by it, and one job puts it right."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from sqlalchemy import update

from services.backup.plan import load_repository
from shared.borg.segments import last_transaction
from shared.db.stores.requests import request_delete
from shared.db.tables import Archive, Repository
from shared.domain.job import JobType
from shared.errors import AppError
from tests.harness.borg_client import NODE, node
from tests.harness.forger import FORGERIES, LATE
from tests.integration.borg import unfenced
from tests.integration.borg.unfenced import Fleet, rewrite

db, fleet = unfenced.db, unfenced.fleet
WHOLE_WAY = ("a checkpoint for each archive", "two exchanged", "the last nonces", "the end of time")
"""Those of which every step is tried; of the others, that they are seen and put right."""
MAINTENANCE = (JobType.REPOSITORY_PRUNE, JobType.REPOSITORY_COMPACT, JobType.REPOSITORY_CHECK, JobType.ARCHIVE_DELETE)


async def attempted(fleet: Fleet, kind: JobType) -> AppError | None:
    try:
        if kind is JobType.ARCHIVE_DELETE:
            first = min(await fleet.rows(Archive), key=lambda row: row.name)
            await fleet.delete(await fleet.db.run(lambda tx: request_delete(tx, first)))
        else:
            await fleet.maintain(kind, **({"depth": "archives"} if kind is JobType.REPOSITORY_CHECK else {}))
    except AppError as error:
        return error
    return None


@pytest.mark.parametrize("forgery", WHOLE_WAY)
async def test_a_manifest_that_lies_is_red_deletes_nothing_and_is_put_right(fleet: Fleet, forgery: str) -> None:
    before = {row.name for row in await fleet.rows(Archive)}
    fleet.server.attack = lambda c: rewrite(c.repository, c.home, FORGERIES[forgery])
    ended = await fleet.run()
    fleet.server.attack = None
    assert (ended.state, ended.code) == ("failed", "hostile_client")
    assert "hostile_client" in await fleet.codes()
    await fleet.keep(keep_last=1)
    for kind in MAINTENANCE:
        refused = await attempted(fleet, kind)
        assert refused, kind
        assert refused.code in ("repository_frozen", "manifest_forged"), kind
    recovered = await fleet.recover()
    assert (recovered.state, await fleet.codes()) == ("succeeded", [])
    assert before <= fleet.listed()
    assert (await fleet.run()).state == "succeeded"
    await fleet.assert_all_extract()
    made = [row for row in await fleet.rows(Archive) if row.name not in before]
    # What the attacker's run left is kept, and why nobody may trust it.
    assert sorted([one["code"] for row in made for one in row.reasons]) == ["hostile_client"]
    assert (await attempted(fleet, JobType.REPOSITORY_COMPACT)) is None
    assert counter(fleet) < 1 << 41


def counter(fleet: Fleet) -> int:
    return int((fleet.place / "nonce").read_text(), 16)


async def test_every_lie_of_a_manifest_is_seen_before_anything_believes_it(fleet: Fleet) -> None:
    """Found by whoever takes the repository next: a worker that was killed in the attacker's run has told nobody."""
    await fleet.keep(keep_last=1)
    sound = fleet.directory / "sound"
    shutil.copytree(fleet.place, sound)
    security = fleet.directory / "state" / "borg" / ".config" / "borg" / "security"
    for number, forgery in enumerate(FORGERIES):
        rewrite(fleet.place, fleet.directory / "attacker", FORGERIES[forgery])
        proven = last_transaction(str(fleet.place))
        await settle(fleet, session="", proven_transaction=proven, frozen_for=[], frozen_reason="", frozen_at=None)
        kind = MAINTENANCE[number % len(MAINTENANCE)]
        error = await attempted(fleet, kind)
        assert error, forgery
        assert (error.code, await fleet.codes()) == ("manifest_forged", ["manifest_forged"]), forgery
        assert last_transaction(str(fleet.place)) == proven, forgery
        assert all(file.read_text() < "2100" for file in security.rglob("manifest-timestamp")), forgery
        shutil.rmtree(fleet.place)
        shutil.copytree(sound, fleet.place)


async def settle(fleet: Fleet, **values: Any) -> None:
    await fleet.db.run(lambda tx: tx.session.execute(update(Repository).values(**values)))


async def test_what_a_deletion_of_ours_took_by_another_name_is_brought_back(fleet: Fleet) -> None:
    """As before names were held against ids: nothing was rewritten by a server, and no proof says where it stands."""
    gone = min(await fleet.rows(Archive), key=lambda row: row.name)
    node(fleet.place, fleet.directory / "attacker", "delete", f"{{repo}}::{gone.name}")
    await settle(fleet, proven_transaction=last_transaction(str(fleet.place)))
    error = await fleet.run()
    assert (error.state, await fleet.codes()) == ("warning", ["archives_missing"])
    recovered = await fleet.recover()
    assert (recovered.state, await fleet.codes()) == ("succeeded", [])
    assert recovered.result["put_back"] > 0
    await fleet.assert_all_extract()


@pytest.mark.parametrize("fleet", [NODE], indirect=True, ids=["1.4.5"])
async def test_a_counter_that_was_pushed_to_its_end_is_put_right(fleet: Fleet) -> None:
    """An honest borg of an earlier version has reserved from where a forged manifest counts, and the node remembers it."""
    rewrite(fleet.place, fleet.directory / "attacker", LATE.format(2**63))
    await settle(fleet, proven_transaction=last_transaction(str(fleet.place)))
    (fleet.place / "nonce").write_text(f"{2**63:016x}")
    for file in (fleet.directory / "state" / "borg" / ".config" / "borg" / "security").rglob("nonce"):
        file.write_text(f"{2**64 - 3:016x}")
    assert (await fleet.recover()).state == "succeeded"
    assert counter(fleet) < 1 << 41
    assert (await fleet.run()).state == "succeeded"
    assert await attempted(fleet, JobType.ARCHIVE_DELETE) is None
    assert counter(fleet) < 1 << 41
    await fleet.assert_all_extract()


async def test_no_deletion_takes_another_archive_than_the_one_that_was_meant(fleet: Fleet) -> None:
    """The manifest may change between the look and the deletion: whoever holds the pool may write there."""
    first, second = sorted(await fleet.rows(Archive), key=lambda row: row.name)
    place = await fleet.db.run(lambda tx: load_repository(tx, fleet.definition.repository_id))
    before = fleet.listed()

    async def refused(name: str, borg_id: str) -> None:
        with pytest.raises(AppError) as caught:
            await fleet.storage.delete(place, grant, name, borg_id)
        assert caught.value.code == "manifest_forged"

    async with fleet.storage.open(place, 99) as grant:
        await refused(first.name, second.borg_id)
        rewrite(fleet.place, fleet.directory / "attacker", FORGERIES["a checkpoint for each archive"])
        await refused(first.name, first.borg_id)
        rewrite(fleet.place, fleet.directory / "attacker", FORGERIES["two exchanged"])
        await refused(first.name, first.borg_id)
        await fleet.storage.delete(place, grant, "none-of-that-name", first.borg_id)
    assert fleet.listed() >= before
    assert (await fleet.recover()).state == "succeeded"
    await fleet.assert_all_extract()
