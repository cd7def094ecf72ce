"""Scheduled runs and their hours, on fakes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from services.backup.failures import announce_failure
from services.backup.window import Window
from shared.db.tables import Archive, Job, MissedRun, OutboxRow, Repository
from shared.domain.ids import new_id
from shared.domain.job import JobType
from shared.domain.scheduled import Scheduled, asked_for, scheduled_of
from shared.errors import AppError, Permanent, Transient
from tests.unit.services.backup.fakes import figures
from tests.unit.services.backup.world import World

UPKEEP = (JobType.REPOSITORY_PRUNE, JobType.REPOSITORY_COMPACT, JobType.REPOSITORY_CHECK)


def hours(left: float, **values: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    return Scheduled(schedule_id=new_id(), due_at=now, begin_by=now + timedelta(seconds=left), **values).params()


async def scheduled(world: World, params: dict[str, Any], **values: Any) -> Job:
    job = await world.request()
    await world.db.run(lambda tx: tx.session.execute(update(Job).values(params=params, **values)))
    return await world.job(job)


async def subjects(world: World) -> list[str]:
    return [row.subject for row in await world.rows(OutboxRow)]


def test_what_is_asked_for_by_hand_keeps_no_hours() -> None:
    params = {"depth": "data"} | hours(60, stop=True)
    found = scheduled_of(params)
    assert found is not None
    assert found.stop
    assert asked_for(params) == {"depth": "data"}
    assert scheduled_of(asked_for(params)) is None


async def test_a_backup_whose_turn_comes_after_its_window_is_a_missed_one(world: World) -> None:
    job = await scheduled(world, hours(-1))
    error = await world.refused(job)
    assert (error.code, world.server.created) == ("window_passed", 0)
    await world.db.run(lambda tx: announce_failure(tx, job, error))
    (kept,) = await world.rows(MissedRun)
    assert (kept.code, kept.backup_job_id, kept.repository_id) == ("window", world.definition.id, None)
    assert "backup.missed" in await subjects(world)


async def test_within_its_window_it_begins_and_may_last_longer(world: World) -> None:
    await world.backup(await scheduled(world, hours(600)))
    assert len(await world.rows(Archive)) == 1


async def test_what_an_earlier_attempt_made_is_recorded_though_the_window_is_over(world: World) -> None:
    job = await scheduled(world, hours(-1, stop=True), attempt=1)
    name = f"web1-system-2026-01-01T000000Z-{job.id.hex}"
    world.storage.kept[name] = figures(name)
    await world.backup(job)
    assert [archive.name for archive in await world.rows(Archive)] == [name]


async def test_a_server_that_was_never_there_makes_a_missed_run_of_a_scheduled_one_alone(world: World) -> None:
    unreachable = Permanent("web1 cannot be reached", code="server_unreachable")
    by_hand = await world.request()
    await world.db.run(lambda tx: announce_failure(tx, by_hand, unreachable))
    assert await world.rows(MissedRun) == []
    job = await scheduled(world, hours(60))
    await world.db.run(lambda tx: announce_failure(tx, job, Transient("borg fell", code="borg_failed")))
    assert await world.rows(MissedRun) == []
    await world.db.run(lambda tx: announce_failure(tx, job, unreachable))
    assert [one.code for one in await world.rows(MissedRun)] == ["unreachable"]
    assert (await subjects(world)).count("backup.failed") == 3


@pytest.mark.parametrize("kind", UPKEEP)
async def test_maintenance_that_finds_its_window_closed_is_missed(world: World, kind: JobType) -> None:
    await world.backup(await world.request())
    await world.keep(keep_last=1)
    world.storage.calls.clear()
    with pytest.raises(Permanent) as caught:
        await world.maintain(kind, **hours(-1))
    assert [call for call in world.storage.calls if call not in ("open", "close")] == []
    (job,) = [one for one in await world.rows(Job) if one.type == kind]
    await world.db.run(lambda tx: announce_failure(tx, job, caught.value))
    (kept,), (repository,) = await world.rows(MissedRun), await world.rows(Repository)
    assert (kept.code, kept.task, kept.repository_id) == ("window", kind.value, repository.id)
    assert "repository.missed" in await subjects(world)


async def test_maintenance_ends_with_its_window_if_it_has_to(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forever(*_: object) -> None:
        await asyncio.Event().wait()

    async def nearly_over(*_: object) -> Window:
        return Window(seconds_left=0.2)

    monkeypatch.setattr(world.storage, "compact", forever)
    monkeypatch.setattr("services.backup.window.window_of", nearly_over)
    with pytest.raises(AppError) as caught:
        await world.maintain(JobType.REPOSITORY_COMPACT)
    assert (caught.value.code, isinstance(caught.value, Permanent)) == ("time_limit", True)


async def test_a_limit_of_something_within_is_not_told_as_the_end_of_the_window(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def limited(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(world.storage, "compact", limited)
    with pytest.raises(TimeoutError):
        await world.maintain(JobType.REPOSITORY_COMPACT, **hours(600, stop=True))


@pytest.mark.parametrize(("budget", "expected"), [(None, 600), (120, 120), (7200, 600)])
async def test_a_checks_budget_ends_with_its_window(world: World, budget: int | None, expected: int) -> None:
    given: list[int | None] = []
    check_segments = world.storage.check_segments

    async def noted(place: Any, grant: Any, seconds: int | None, hear: Any) -> Any:
        given.append(seconds)
        return await check_segments(place, grant, seconds, hear)

    world.storage.check_segments = noted  # pyright: ignore[reportAttributeAccessIssue] - listens in
    await world.maintain(JobType.REPOSITORY_CHECK, depth="segments", budget_seconds=budget, **hours(600, stop=True))
    assert given[0] is not None
    assert expected - 10 <= given[0] <= expected
