"""The hours to come, as the scheduler would make them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.api.features.schedules.forecast import forecast_runs
from shared.db.session import Database
from shared.db.tables import BackupJob, Pause, Repository, Schedule, Server, StoragePool
from shared.domain.schedule import SPEC, next_run

EVERY_DAY = [1, 2, 3, 4, 5, 6, 7]
DAILY = {"kind": "days", "every": 1, "times": ["12:00"], "zone": "UTC"}
HOURLY = {"kind": "hours", "every": 1}


def hours(begins: int, ends: int) -> dict[str, Any]:
    return {"zone": "UTC", "days": EVERY_DAY, "begins": f"{begins:02}:00", "ends": f"{ends:02}:00"}


async def scheduled(db: Database, spec: dict[str, Any], **values: Any) -> None:
    async def add(tx: Any) -> None:
        server, pool = Server(name="web1", host="h", facts={}), StoragePool(name="p", node="n", path="/p")
        tx.session.add_all([server, pool])
        await tx.session.flush()
        repository = Repository(name="r", server_id=server.id, pool_id=pool.id, path="/p/web1/r")
        tx.session.add(repository)
        await tx.session.flush()
        job = BackupJob(name="j", server_id=server.id, repository_id=repository.id, sources=["/etc"])
        tx.session.add(job)
        await tx.session.flush()
        due = next_run(SPEC.validate_python(spec), datetime.now(UTC))
        given = {"due_at": due, "next_run_at": due} | values
        tx.session.add(Schedule(spec=spec, period_seconds=86_400, backup_job_id=job.id, **given))

    await db.run(add)


async def begins(db: Database, span: int = 48) -> list[datetime]:
    async with db.read() as session:
        return [run.starts_at for run in await forecast_runs(session, timedelta(hours=span))]


async def test_each_run_is_foreseen_once(db: Database) -> None:
    await scheduled(db, HOURLY)
    found = await begins(db, 24)
    assert len(found) >= 23
    assert [one - found[0] for one in found] == [timedelta(hours=number) for number in range(len(found))]


async def test_a_run_waits_for_its_window_and_for_the_end_of_a_blackout(db: Database) -> None:
    await scheduled(db, DAILY, window=hours(20, 23), blackout=hours(19, 21))
    found = await begins(db)
    assert found
    assert {(one.hour, one.minute) for one in found} == {(21, 0)}


async def test_one_that_waits_already_is_not_forgotten(db: Database) -> None:
    now = datetime.now(UTC)
    opens = now + timedelta(hours=2)
    # The next one is due long after: one that would wait beyond it is missed.
    daily = DAILY | {"times": [f"{now + timedelta(hours=12):%H:%M}"]}
    await scheduled(db, daily, due_at=now - timedelta(hours=3), next_run_at=opens)
    assert opens in await begins(db)


async def test_what_would_be_missed_is_not_promised(db: Database) -> None:
    await scheduled(db, HOURLY, window=hours(2, 3))
    found = await begins(db)
    assert {one.hour for one in found} == {2}
    assert len(found) <= 3


@pytest.mark.parametrize("server", ["", "web1", "web2"])
async def test_a_pause_is_reckoned_with(db: Database, server: str) -> None:
    await scheduled(db, HOURLY)
    until = datetime.now(UTC) + timedelta(hours=12)
    await db.run(lambda tx: tx.session.merge(Pause(server=server, until=until)))
    found = await begins(db, 24)
    assert (min(found) < until) == (server == "web2"), "a pause of another server changes nothing"
    assert len(found) >= 11
