"""Samples rolled up, purged and read back, on both databases."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from services.api.features.servers.history import chosen_step, history
from services.stats.history.purge import DAY, FIVE_MINUTES, HOUR, StatsKeeper
from shared.config.settings import KeepSettings
from shared.db.session import Database
from shared.db.tables import Lease, Server, ServerRollup, ServerStats, db_now
from shared.errors import LeaseLost

NOW = int(time.time()) // HOUR * HOUR + 1800


async def add_server(db: Database) -> uuid.UUID:
    async def add(tx: Any) -> uuid.UUID:
        server = Server(name="web1", host="h", facts={})
        tx.session.add(server)
        await tx.session.flush()
        return server.id

    return await db.run(add)


async def add_samples(db: Database, server: uuid.UUID, samples: list[tuple[int, float | None]]) -> None:
    rows = [
        {"server_id": server, "collected_at": datetime.fromtimestamp(at, UTC), "bucket": at // 300 * 300,
         "cpu_usage_percent": cpu, "memory_percent": 50.0}
        for at, cpu in samples
    ]  # fmt: skip
    await db.run(lambda tx: tx.session.execute(insert(ServerStats), rows))


async def rollups(db: Database, step: int) -> list[ServerRollup]:
    async with db.read() as session:
        query = select(ServerRollup).where(ServerRollup.step == step).order_by(ServerRollup.bucket)
        return list(await session.scalars(query))


async def test_samples_become_five_minutes_and_hours_once_each(db: Database) -> None:
    server = await add_server(db)
    begun = NOW - 1800 - 2 * HOUR
    await add_samples(db, server, [(begun + 60 * n, float(n % 10)) for n in range(120)])
    keeper = StatsKeeper(db, KeepSettings())
    for _ in range(2):
        await keeper.tick(NOW)
    fine, coarse = await rollups(db, FIVE_MINUTES), await rollups(db, HOUR)
    assert (len(fine), len(coarse)) == (24, 2)
    assert (fine[0].samples, fine[0].cpu_min, fine[0].cpu_mean, fine[0].cpu_max) == (5, 0.0, 2.0, 4.0)
    assert (coarse[0].samples, coarse[0].cpu_min, coarse[0].cpu_mean, coarse[0].cpu_max) == (60, 0.0, 4.5, 9.0)
    assert coarse[0].swap_mean is None  # never known: unknown, not zero


async def test_an_unknown_mean_weighs_nothing_beside_known_ones(db: Database) -> None:
    server = await add_server(db)
    begun = NOW - 1800 - HOUR
    await add_samples(db, server, [(begun + 60 * n, None if n < 30 else 50.0) for n in range(60)])
    await StatsKeeper(db, KeepSettings()).tick(NOW)
    (hour,) = await rollups(db, HOUR)
    assert (hour.samples, hour.cpu_mean) == (60, 50.0)


async def test_a_bucket_not_yet_over_is_left_and_a_gap_is_stepped_over(db: Database) -> None:
    server = await add_server(db)
    await add_samples(db, server, [(NOW - 40 * HOUR, 10.0), (NOW - 3 * HOUR, None), (NOW - 60, 30.0)])
    await StatsKeeper(db, KeepSettings()).tick(NOW)
    fine = await rollups(db, FIVE_MINUTES)
    assert [row.cpu_mean for row in fine] == [10.0, None]
    await StatsKeeper(db, KeepSettings()).tick(NOW + 600)
    assert [row.cpu_mean for row in await rollups(db, FIVE_MINUTES)] == [10.0, None, 30.0]


async def test_what_is_too_old_goes_and_the_rest_stays(db: Database) -> None:
    server = await add_server(db)
    await add_samples(db, server, [(NOW - 49 * HOUR - n, 1.0) for n in range(2500)] + [(NOW - HOUR, 2.0)])
    days = [1, 13, 15, 300, 800]
    rows = [
        {"server_id": server, "step": step, "bucket": (NOW - day * 86_400) // HOUR * HOUR, "samples": 1}
        for day in days for step in (FIVE_MINUTES, HOUR)
    ]  # fmt: skip
    await db.run(lambda tx: tx.session.execute(insert(ServerRollup), rows))
    await StatsKeeper(db, KeepSettings()).tick(NOW)
    async with db.read() as session:
        assert await session.scalar(select(func.count()).select_from(ServerStats)) == 1
    ages = {step: [(NOW - row.bucket) // 86_400 for row in await rollups(db, step)] for step in (FIVE_MINUTES, HOUR)}
    assert max(ages[FIVE_MINUTES]) <= 14
    assert 300 in ages[HOUR]
    assert max(ages[HOUR]) <= 730


async def test_one_keeper_of_all_replicas_works_at_a_time(db: Database) -> None:
    assert await db.run(lambda tx: tx.leases.acquire("stats:housekeeping", "one", 60)) is not None
    assert await db.run(lambda tx: tx.leases.acquire("stats:housekeeping", "two", 60)) is None


async def test_a_keeper_that_slept_writes_nothing_beside_the_one_that_took_over(db: Database) -> None:
    """Its lease is repeated in each transaction that writes: a round may last longer than the lease."""
    server = await add_server(db)
    await add_samples(db, server, [(NOW - 2 * HOUR + 60 * n, 1.0) for n in range(60)])
    lead = StatsKeeper(db, KeepSettings()).task().lead
    keeper = StatsKeeper(db, KeepSettings())
    mine = keeper.task().lead
    assert mine is not None
    assert lead is not None
    assert await mine.taken()
    await db.run(lambda tx: tx.session.execute(update(Lease).values(until=db_now(-1))))
    assert await lead.taken()
    with pytest.raises(LeaseLost):
        await keeper.tick(NOW)
    assert await rollups(db, FIVE_MINUTES) == []


@pytest.mark.parametrize("of_days", [False, True], ids=["hours alone", "days"])
async def test_a_year_is_read_back_in_one_query_with_its_extremes(db: Database, of_days: bool) -> None:
    server = await add_server(db)
    hours = 365 * 24
    start = (int(time.time()) - hours * HOUR) // HOUR * HOUR
    rows = [
        {"server_id": server, "step": HOUR, "bucket": start + n * HOUR, "samples": 6,
         "cpu_min": 0.0, "cpu_mean": float(n % 24), "cpu_max": 99.0 if n == 100 else 50.0}
        for n in range(hours)
    ]  # fmt: skip
    for begun in range(0, hours, 1000):
        await db.run(lambda tx, begun=begun: tx.session.execute(insert(ServerRollup), rows[begun : begun + 1000]))
    end = datetime.now(UTC)
    begin = datetime.fromtimestamp(start, UTC)
    if of_days:
        await StatsKeeper(db, KeepSettings()).tick(time.time())
        assert len(await rollups(db, DAY)) >= 364
    async with db.read() as session:
        step, points = await history(session, server, begin, end, chosen_step(begin, end, None))
    assert step == DAY
    assert 365 <= len(points) <= 366
    assert sum(point.samples for point in points) == hours * 6
    assert max(point.cpu.max or 0 for point in points) == 99.0
    assert points[100].cpu.mean == 11.5
    assert points[100].memory.mean is None


async def test_the_last_hours_come_from_the_raw_samples(db: Database) -> None:
    server = await add_server(db)
    now = int(time.time()) // 60 * 60
    await add_samples(db, server, [(now - 600, 10.0), (now - 599, 30.0), (now - 60, None)])
    end = datetime.now(UTC)
    async with db.read() as session:
        step, points = await history(session, server, end - timedelta(hours=1), end, 60)
    assert step == 60
    assert [(point.samples, point.cpu.min, point.cpu.mean, point.cpu.max) for point in points] == [
        (2, 10.0, 20.0, 30.0), (1, None, None, None),
    ]  # fmt: skip


async def test_a_shutdown_ends_a_long_roll_up_after_the_piece_under_way(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fleet that was down for weeks has days to roll up: the process that stops meanwhile is not killed for it."""
    server = await add_server(db)
    await add_samples(db, server, [(NOW - 1800 - 9 * HOUR + 60 * n, 1.0) for n in range(9 * 60)])
    stopping, pieces, run = asyncio.Event(), [0], db.run

    async def counted(work: Any, **how: Any) -> Any:
        pieces[0] += 1
        if pieces[0] == 3:
            stopping.set()
        return await run(work, **how)

    monkeypatch.setattr(db, "run", counted)
    await StatsKeeper(db, KeepSettings()).tick(NOW, stopping)
    assert pieces[0] == 3
    assert len(await rollups(db, FIVE_MINUTES)) == 36  # three hours of nine; the next round goes on from there
