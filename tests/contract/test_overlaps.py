"""The night that is looked at holds every job that ran or waited in it, and no other, however long the history is."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from services.api.features.jobs.overlaps import overlapping, read_span
from services.api.kernel.dependencies import Bounds
from services.api.kernel.pages import newest_first
from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.tables import Job
from shared.domain.ids import new_id
from shared.errors import Invalid
from shared.events.streams import STREAMS
from tests.contract.test_long_lists import plan, statements
from tests.harness.world import World

BEGINS = datetime(2026, 3, 28, 12, tzinfo=UTC)
ENDS = datetime(2026, 3, 29, 12, tzinfo=UTC)
SPAN = "2026-03-28T12:00:00Z/2026-03-29T12:00:00Z"
INDEX = "ix_jobs_finished_at_created_at_id"


def at(hours: float) -> datetime:
    """So many hours after the span begins; it has 24."""
    return BEGINS + timedelta(hours=hours)


JOBS: dict[str, tuple[float, float | None, float | None, bool]] = {
    # asked for, begun, ended, whether it is of the span
    "over before": (-5, -4, -3, False),
    "ended as it begins": (-5, -4, 0, False),
    "ended in its first second": (-5, -4, 1 / 3600, True),
    "waited into it, and was cancelled there": (-5, None, 1, True),
    "waited before it, and ran in it": (-5, 1, 2, True),
    "in it": (3, 3, 4, True),
    "of no length, as it begins": (0, 0, 0, True),
    "of no length, in it": (5, 5, 5, True),
    "asked for in its last second": (24 - 1 / 3600, 25, 26, True),
    "asked for as it ends": (24, 24, 25, False),
    "afterwards": (30, 31, 32, False),
    "longer than all of it": (-100, -99, 100, True),
    "began in it, goes on": (23, 23.5, None, True),
    "waits since before it": (-1, None, None, True),
    "runs since before it": (-2, -1, None, True),
    "asked for afterwards, and waits": (40, None, None, False),
}


async def add(db: Database, server_id: uuid.UUID | None = None) -> None:
    rows = [
        {"id": new_id(), "type": "backup_create", "title": name, "server_id": server_id, "created_at": at(asked),
         "started_at": None if began is None else at(began), "finished_at": None if ended is None else at(ended),
         "state": "succeeded" if ended is not None else "queued" if began is None else "running"}
        for name, (asked, began, ended, _) in JOBS.items()
    ]  # fmt: skip
    await db.run(lambda tx: tx.session.execute(insert(Job), rows))


async def titles(db: Database, begins: datetime, ends: datetime) -> set[str]:
    async with db.read() as session:
        query = overlapping(select(Job), read_span(f"{begins.isoformat()}/{ends.isoformat()}"))
        rows = [job.title for job in await session.scalars(query)]
    assert len(rows) == len(set(rows)), "no job is there twice"
    return set(rows)


async def test_a_span_has_what_ran_or_waited_in_it(db: Database) -> None:
    await add(db)
    assert await titles(db, BEGINS, ENDS) == {name for name, (*_, inside) in JOBS.items() if inside}
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert await titles(db, soon, soon + timedelta(hours=5)) == set(), "nobody knows what will still run tomorrow"


@pytest.mark.parametrize(
    "text",
    ["", "/", "2026-03-28T12:00:00Z", "2026-03-28T12:00:00Z/", "/2026-03-28T12:00:00Z", "a/b", "2026-03-28/2026-03-29",
     "2026-03-28T12:00:00/2026-03-29T12:00:00", "2026-03-29T12:00:00Z/2026-03-28T12:00:00Z",
     "2026-03-28T12:00:00Z/2026-03-28T12:00:00Z", "2026-03-28T12:00:00Z/2026-04-06T12:00:00Z", f"{SPAN}/{SPAN}",
     "0001-01-01T00:00:00+14:00/0001-01-02T00:00:00Z", "9999-12-31T00:00:00Z/9999-12-31T23:59:59-12:00"],
)  # fmt: skip
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_span(text)
    assert refused.value.code == "bad_span"


def test_a_span_may_have_any_zone() -> None:
    span = read_span("2026-03-28T13:00:00+01:00/2026-03-29T14:00:00+02:00")
    assert (span.begins, span.ends) == (BEGINS, ENDS)


async def test_pages_of_a_span_are_whole_in_order_and_ones_own(db: Database) -> None:
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    world = World(db, bus)
    await world.prepare()
    await add(db, world.mine["server_id"])
    await add(db, world.other["server_id"])
    expected = sorted(name for name, (*_, inside) in JOBS.items() if inside)
    for more in ("", "&state=succeeded", f"&server_id={world.mine['server_id']}", "&type=repository_check"):
        seen: list[Any] = []
        after = ""
        while True:
            answer = await world.ask("eu", "GET", f"/api/jobs?overlaps={SPAN}&limit=3{more}{after}")
            assert answer.status_code == 200, answer.text
            seen += answer.json()["items"]
            if not answer.json()["next"]:
                break
            after = f"&after={answer.json()['next']}"
        wanted = [] if "type" in more else expected
        if "state" in more:
            wanted = [name for name in expected if JOBS[name][2] is not None]
        assert sorted(one["title"] for one in seen) == wanted, more
        assert all(one["server_id"] == str(world.mine["server_id"]) for one in seen)
        assert all(one["created_at"] >= other["created_at"] for one, other in pairwise(seen))
    refused = await world.ask("eu", "GET", "/api/jobs?overlaps=tonight")
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_span")
    first = (await world.ask("eu", "GET", f"/api/jobs?overlaps={SPAN}&limit=3")).json()["next"]
    mixed = await world.ask("eu", "GET", f"/api/jobs?limit=3&after={first}")
    assert (mixed.status_code, mixed.json()["code"]) == (422, "bad_cursor")


async def test_a_night_among_many_is_found_by_index(db: Database) -> None:
    many = 20_000
    for start in range(0, many, 1000):
        numbers = range(start, start + 1000)
        rows = [
            {"id": new_id(), "type": "backup_create", "state": "succeeded", "created_at": at(-number),
             "started_at": at(-number), "finished_at": at(0.5 - number)}
            for number in numbers
        ]  # fmt: skip
        await db.run(lambda tx, rows=rows: tx.session.execute(insert(Job), rows))
    async with db.read() as session:
        sqlite = db.engine.dialect.name == "sqlite"
        await session.execute(text("ANALYZE" if sqlite else "ANALYZE TABLE jobs"))
        for age in (30, 800):
            span = read_span(f"{at(-age * 24).isoformat()}/{at(-age * 24 + 24).isoformat()}")
            async with statements(session) as sent:
                cut = await newest_first(
                    session, overlapping(select(Job), span), (Job.created_at, Job.id), Bounds(50, None), few=True
                )
            assert len(cut.rows) in (24, 25)
            found = await plan(session, *sent[0])
            assert INDEX in found, found
            assert "ix_jobs_created_at_id" in found, found
            assert "SCAN jobs" not in found, found
