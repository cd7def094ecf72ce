from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from services.scheduler.sweeps import Sweeps
from shared.db.session import Database
from shared.db.stores.requests import request_collect
from shared.db.tables import Job, Server
from shared.domain.job import JobState


async def jobs(db: Database) -> list[Job]:
    async with db.read() as session:
        return list(await session.scalars(select(Job).order_by(Job.request_key)))


async def change(db: Database, **values: Any) -> None:
    await db.run(lambda tx: tx.session.execute(update(Job).values(**values)))


@pytest.fixture
async def fleet(db: Database) -> Database:
    async def add(tx: Any) -> None:
        tx.session.add(Server(name="one", host="h", host_key="ssh-ed25519 AAAA", facts={}))

    await db.run(add)
    return db


async def test_schedulers_that_tick_at_once_ask_once(fleet: Database) -> None:
    await asyncio.gather(*(Sweeps(fleet, 600).tick() for _ in range(5)))
    assert [job.request_key for job in await jobs(fleet)] == ["sweep:000000000001"]


async def test_the_next_sweep_is_asked_for_when_it_is_due_and_the_last_has_ended(fleet: Database) -> None:
    sweeps = Sweeps(fleet, 600)
    await sweeps.tick()
    await change(fleet, created_at=datetime.now(UTC) - timedelta(seconds=700))
    await sweeps.tick()
    assert len(await jobs(fleet)) == 1  # the last one still runs
    await change(fleet, state=JobState.SUCCEEDED.value)
    await sweeps.tick()
    await sweeps.tick()
    assert [job.request_key for job in await jobs(fleet)] == ["sweep:000000000001", "sweep:000000000002"]


@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(days=400)])
async def test_a_clock_set_back_makes_one_sweep_and_not_a_long_silence(fleet: Database, ahead: timedelta) -> None:
    sweeps = Sweeps(fleet, 600)
    await sweeps.tick()
    await change(fleet, created_at=datetime.now(UTC) + ahead, state=JobState.SUCCEEDED.value)
    for _ in range(3):
        await sweeps.tick()
    assert len(await jobs(fleet)) == 2


async def test_without_servers_or_switched_off_nothing_is_asked(db: Database) -> None:
    await Sweeps(db, 600).tick()
    await Sweeps(db, 0).tick()
    assert await jobs(db) == []


@pytest.mark.parametrize(
    "key",
    ["sweep:", "sweep:later", "sweep:99999999999x", "sweep:999999999999999999999", "sweep:5", "sweep:-00000000001"],
)
async def test_a_job_with_a_key_that_looks_like_a_sweeps_ends_no_sweeping(fleet: Database, key: str) -> None:
    """Keys are chosen by whoever asks: one that sorts behind all of ours, and has no number, must not be the last word."""
    await fleet.run(lambda tx: request_collect(tx, None, request_key=key))
    sweeps = Sweeps(fleet, 600)
    await sweeps.tick()
    await change(fleet, created_at=datetime.now(UTC) - timedelta(seconds=700), state=JobState.SUCCEEDED.value)
    await sweeps.tick()
    ours = [job.request_key for job in await jobs(fleet) if job.request_key != key]
    assert ours == ["sweep:000000000001", "sweep:000000000002"]
