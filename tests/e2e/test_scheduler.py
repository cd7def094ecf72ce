"""Several schedulers at once: killed, paused, with a clock that is a day off. Each due run is made, and made once."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.db.session import Database
from shared.db.tables import Job, Schedule
from shared.db.tables.base import db_now
from shared.secrets.envelope import KeyRing
from shared.testing.sshd import PrivateSshd
from tests.harness.faketime import wrong_clock
from tests.harness.fleet import Fleet, ServiceProcess, until
from tests.harness.invariants import assert_invariants


def scheduled(fleet: Fleet, data: Path, count: int = 3) -> list[dict[str, Any]]:
    """Backup jobs that run at no time soon, unless they are made due."""
    when = {"kind": "monthly", "days": [(datetime.now(UTC) + timedelta(days=14)).day], "times": ["02:30"]}
    schedules = [{"when": when, "overlap": "queue"}]
    return [fleet.backup_job([data], schedules=schedules) for _ in range(count)]


def in_database(fleet: Fleet, work: Any) -> Any:
    async def run() -> Any:
        db = Database(fleet.database_url, key_ring=KeyRing([bytes(32)]))
        try:
            return await db.run(work)
        finally:
            await db.close()

    return asyncio.run(run())


def make_due(fleet: Fleet, definitions: list[dict[str, Any]], seconds: float = 0.0) -> None:
    """Let them come due so many seconds from now, by the database's clock."""

    async def change(tx: Any) -> None:
        at = await tx.session.scalar(select(db_now(seconds)))
        mine = update(Schedule).where(Schedule.backup_job_id.in_([definition["id"] for definition in definitions]))
        await tx.session.execute(mine.values(due_at=at, next_run_at=at))

    in_database(fleet, change)


def made(fleet: Fleet, definitions: list[dict[str, Any]]) -> Counter[str]:
    async def count(tx: Any) -> Counter[str]:
        mine = select(Job.backup_job_id).where(Job.backup_job_id.in_([definition["id"] for definition in definitions]))
        return Counter(str(found) for found in await tx.session.scalars(mine))

    found: Counter[str] = in_database(fleet, count)
    return found


def all_made(fleet: Fleet, definitions: list[dict[str, Any]], times: int) -> None:
    wanted = Counter({definition["id"]: times for definition in definitions})
    until(lambda: made(fleet, definitions) >= wanted, lambda: f"all are made: {made(fleet, definitions)}")
    assert made(fleet, definitions) == wanted


def settle(fleet: Fleet, definitions: list[dict[str, Any]]) -> None:
    for definition in definitions:
        for job in fleet.get(f"/api/jobs?backup_job_id={definition['id']}")["items"]:
            fleet.finished(job, "succeeded")
    for definition in definitions:
        assert_invariants(fleet, definition)


@pytest.fixture
def second(fleet: Fleet) -> Iterator[ServiceProcess]:
    """Another scheduler, that does not lead."""
    process = ServiceProcess(fleet, "scheduler").wait_ready()
    yield process
    if process.process.poll() is None:
        process.stop()


def test_a_leader_that_is_killed_is_replaced_and_each_run_is_made_once(
    fleet: Fleet, data: Path, second: ServiceProcess
) -> None:
    definitions = scheduled(fleet, data)
    make_due(fleet, definitions)
    fleet.services["scheduler"].kill()
    all_made(fleet, definitions, 1)
    fleet.spawn("scheduler")
    make_due(fleet, definitions)
    all_made(fleet, definitions, 2)
    settle(fleet, definitions)


def test_a_leader_that_was_paused_makes_nothing_twice_when_it_wakes(
    fleet: Fleet, data: Path, second: ServiceProcess
) -> None:
    definitions = scheduled(fleet, data)
    leader = fleet.services["scheduler"]
    make_due(fleet, definitions, 2.0)
    leader.signal(signal.SIGSTOP)
    try:
        all_made(fleet, definitions, 1)
        make_due(fleet, definitions, 3.0)
    finally:
        leader.signal(signal.SIGCONT)  # it wakes and takes itself for the leader, when they come due again
    all_made(fleet, definitions, 2)
    settle(fleet, definitions)


@pytest.mark.parametrize("offset", ["+1d", "-1d"])
def test_a_scheduler_whose_clock_is_a_day_off_makes_what_is_due_now_and_nothing_else(
    fleet: Fleet, data: Path, offset: str
) -> None:
    *due, later = scheduled(fleet, data)
    make_due(fleet, [later], 3600.0)
    fleet.restart("scheduler", **wrong_clock(offset))
    try:
        began = datetime.now(UTC)
        make_due(fleet, due, 1.0)
        all_made(fleet, due, 1)
        assert not made(fleet, [later])
        for definition in due:
            shown = fleet.get(f"/api/backup-jobs/{definition['id']}")["schedules"][0]
            assert datetime.fromisoformat(shown["next_run_at"]) > began + timedelta(days=2)
            assert fleet.get(f"/api/missed-runs?backup_job_id={definition['id']}")["items"] == []
    finally:
        fleet.restart("scheduler")
    settle(fleet, due)


def test_a_server_that_is_down_for_its_whole_window_is_heard_of(fleet: Fleet, data: Path, tmp_path: Path) -> None:
    sshd = PrivateSshd(tmp_path / "away")
    sshd.start()
    host = fleet.add_server("away", sshd)
    sshd.stop()
    now = datetime.now(UTC)
    window = {"begins": f"{now:%H:%M}", "ends": f"{now + timedelta(hours=1):%H:%M}"}
    when = {"kind": "monthly", "days": [(now + timedelta(days=14)).day], "times": ["02:30"]}
    definition = fleet.backup_job(
        [data], host=host, max_failures=2, retry_seconds=1, schedules=[{"when": when, "window": window, "stop_at_end": True}]
    )  # fmt: skip
    make_due(fleet, [definition])
    all_made(fleet, [definition], 1)
    (run,) = fleet.get(f"/api/jobs?backup_job_id={definition['id']}")["items"]
    ended = fleet.finished(run, "failed")
    assert ended["failures"] == 1, "tried twice, and the second failure is the end"
    about = ("backup_failed", f"backup_job:{definition['name']}")
    alerts = "/api/alerts?state=open&limit=500"
    until(lambda: about in {(one["kind"], one["subject"]) for one in fleet.get(alerts)["items"]}, "an alert")
    (missed,) = fleet.get(f"/api/missed-runs?backup_job_id={definition['id']}")["items"]
    assert missed["code"] == "unreachable"
    until(lambda: "backup_missed" in {one["kind"] for one in fleet.get(alerts)["items"]}, "and of the missed run")
