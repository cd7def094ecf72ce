"""The scheduler alone, on a real MariaDB: ticks at 100,000 schedules, a herd that is due at once."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from sqlalchemy import func, insert, select, update

from services.scheduler.schedules import Schedules
from shared.db.migrations import migrate
from shared.db.session import Database
from shared.db.tables import BackupJob, Job, Repository, Schedule, Server, StoragePool
from shared.domain.ids import new_id
from shared.secrets.envelope import KeyRing
from tests.harness.mariadb import MariaServer

TICKS = 300
SPEC = {"kind": "days", "every": 1, "times": ["02:30"], "zone": "Europe/Paris"}


def run(say: Callable[[str], None], *, schedules: int, herd: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="bfb-") as directory:
        maria = MariaServer(Path(directory) / "maria").start()
        try:
            asyncio.run(_measure(say, maria.database(), schedules, herd))
        finally:
            maria.stop()


async def _measure(say: Callable[[str], None], url: str, schedules: int, herd: int) -> None:
    await asyncio.to_thread(migrate, url)
    db = Database(url, key_ring=KeyRing([bytes(32)]), seconds=120.0)
    await _fill(db, schedules)
    leader = Schedules(db, CollectorRegistry())
    await leader.tick()
    seconds: list[float] = []
    for _ in range(TICKS):
        began = time.perf_counter()
        await leader.tick()
        seconds.append(time.perf_counter() - began)
    seconds.sort()
    say("\n## Schedules\n")
    say(f"A tick with nothing due, {schedules} schedules, {TICKS} times: p50 {statistics.median(seconds) * 1000:.1f} ms, "
        f"p99 {seconds[int(TICKS * 0.99)] * 1000:.1f} ms.")  # fmt: skip
    now = datetime.now(UTC)
    some = select(Schedule.id).limit(herd).subquery()
    due = update(Schedule).where(Schedule.id.in_(select(some))).values(due_at=now, next_run_at=now)
    await db.run(lambda tx: tx.session.execute(due))
    began = time.perf_counter()
    made = await leader.make_due()
    took = time.perf_counter() - began
    async with db.read() as session:
        jobs = await session.scalar(select(func.count()).select_from(Job))
    say(f"{made} schedules due in one second, one leader: {jobs} jobs made in {took:.1f} s ({made / took:.0f}/s).")
    lateness: list[float] = []
    for _ in range(30):
        moment = datetime.now(UTC) + timedelta(seconds=1)
        one = select(Schedule.id).limit(1).subquery()
        change = (
            update(Schedule)
            .where(Schedule.id.in_(select(one)))
            .values(due_at=moment, next_run_at=moment, overlap="queue")
        )
        await db.run(lambda tx, change=change: tx.session.execute(change))
        lateness.append(await _until_made(leader, moment))
    say(f"Start lateness at a tick each half second, 30 times: p50 {statistics.median(lateness):.2f} s, "
        f"worst {max(lateness):.2f} s.")  # fmt: skip
    await db.close()


async def _until_made(leader: Schedules, moment: datetime) -> float:
    """Tick as the service does until the run is made; return how late that was."""
    while not await leader.tick():
        await asyncio.sleep(0.5)
    return (datetime.now(UTC) - moment).total_seconds()


async def _fill(db: Database, count: int) -> None:
    async def add(tx: Any) -> None:
        server, pool = Server(name="s", host="h", facts={}), StoragePool(name="p", node="node1", path="/p")
        tx.session.add_all([server, pool])
        await tx.session.flush()
        repository = Repository(name="r", server_id=server.id, pool_id=pool.id, path="/p/s/r")
        tx.session.add(repository)
        await tx.session.flush()
        jobs = [{"id": new_id(), "name": f"j{n}", "server_id": server.id, "repository_id": repository.id,
                 "sources": ["/etc"]} for n in range(count)]  # fmt: skip
        later = datetime.now(UTC) + timedelta(days=1)
        row = {"spec": SPEC, "period_seconds": 86_400, "due_at": later, "next_run_at": later}
        for first in range(0, count, 5000):
            batch = jobs[first : first + 5000]
            await tx.session.execute(insert(BackupJob), batch)
            await tx.session.execute(
                insert(Schedule), [row | {"id": new_id(), "backup_job_id": j["id"]} for j in batch]
            )

    await db.run(add)
