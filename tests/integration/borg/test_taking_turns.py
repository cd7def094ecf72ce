"""A backup and a recovery of one repository meet: one after the other, each sees what the other left, nothing is lost."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from services.backup.ports import Made, Wanted
from shared.borg.node import Grant
from shared.db.tables import Archive, Job
from shared.domain.job import JobType
from shared.errors import Waiting
from tests.integration.borg import unfenced
from tests.integration.borg.test_recover import ATTACKS
from tests.integration.borg.unfenced import Fleet

db, fleet = unfenced.db, unfenced.fleet
MAINTENANCE = (JobType.REPOSITORY_PRUNE, JobType.REPOSITORY_COMPACT, JobType.REPOSITORY_CHECK)


async def waits(meeting: Any) -> None:
    with pytest.raises(Waiting) as caught:
        await meeting
    assert caught.value.waiting_for == "web1/system"


async def test_a_backup_that_is_asked_for_while_a_recovery_runs_waits_and_loses_nothing(fleet: Fleet) -> None:
    fleet.server.attack = ATTACKS["manifest emptied"][0]
    await fleet.run()
    fleet.server.attack = None
    assert await fleet.codes()
    before = {row.name for row in await fleet.rows(Archive)}
    asked = await fleet.request()
    recover = fleet.storage.recover
    met: list[uuid.UUID] = []

    async def meanwhile(place: Any, grant: Grant, wanted: Wanted) -> Any:
        await waits(fleet.backup(asked))
        met.append(asked.id)
        found = await recover(place, grant, wanted)
        await waits(fleet.backup(await fleet.request()))
        return found

    fleet.storage.recover = meanwhile
    ended = await fleet.recover()
    fleet.storage.recover = recover
    assert (ended.state, await fleet.codes(), met) == ("succeeded", [], [asked.id])
    assert fleet.listed() == before
    assert (await fleet.run()).state == "succeeded"
    assert len(fleet.listed()) == len(before) + 1
    await fleet.assert_all_extract()


async def test_a_recovery_that_is_asked_for_while_a_backup_runs_waits_and_spares_what_it_makes(fleet: Fleet) -> None:
    """It would write a manifest without the archive that is being made, or take its objects for garbage."""
    create = fleet.server.create
    met: list[str] = []

    async def meanwhile(grant: Grant, archive: str, sources: Sequence[str], *more: Any) -> Made:
        await waits(fleet.recover())
        made = await create(grant, archive, sources, *more)
        await waits(fleet.recover())
        met.append(archive)
        return made

    fleet.server.create = meanwhile
    ended = await fleet.run()
    fleet.server.create = create
    assert (ended.state, len(met)) == ("succeeded", 1), ended.warnings
    assert set(met) <= fleet.listed()
    recovered = await fleet.recover()
    assert (recovered.state, recovered.result["removed"], recovered.result["lost"]) == ("succeeded", 0, 0)
    assert {row.name for row in await fleet.rows(Archive)} == fleet.listed()
    assert (await fleet.repository()).frozen_reason == ""
    await fleet.assert_all_extract()


async def test_no_maintenance_begins_while_a_recovery_runs(fleet: Fleet) -> None:
    await fleet.keep(keep_last=1)
    recover = fleet.storage.recover

    async def meanwhile(place: Any, grant: Grant, wanted: Wanted) -> Any:
        for kind in MAINTENANCE:
            await waits(fleet.maintain(kind))
        return await recover(place, grant, wanted)

    fleet.storage.recover = meanwhile
    assert (await fleet.recover()).state == "succeeded"
    assert len(fleet.listed()) == 2
    waiting = [job for job in await fleet.rows(Job) if job.type in {kind.value for kind in MAINTENANCE}]
    assert len(waiting) == len(MAINTENANCE)
