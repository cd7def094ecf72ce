"""Rows that hold what this version cannot read, as after a downgrade: no list and no page of the gateway fails for them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from sqlalchemy import JSON, select, update

from shared.db.session import Database
from shared.db.tables import ApiToken, Base, Repository, Schedule, ServerStatus
from tests.contract.test_hostile_values import (  # noqa: F401 # pyright: ignore[reportUnusedImport] - fixtures are asked for by name
    World,
    everything_is_still_read,
    world,
)

VALUES: tuple[Any, ...] = (
    {"version": 99, "kind": "by_the_moon"}, {}, [], [1, 2], [{"code": 7}], ["x", None], "text", 12, 0.5, True,
    {"kind": "days", "times": ["02:30"], "zone": "Mars/Olympus"}, {"kind": "cron", "cron": "61 * * * *", "zone": "UTC"},
    {"days": "always"}, [[["deep"]]], {"keep_daily": "all"},
)  # fmt: skip
JSON_COLUMNS = [
    (table, column)
    for table in Base.metadata.sorted_tables
    for column in table.columns
    if isinstance(column.type, JSON)
]


@pytest.fixture
async def furnished(world: World, db: Database) -> World:  # noqa: F811 - fixtures are asked for by name
    """One row at least for each JSON column that the gateway shows."""
    when = {"kind": "days", "times": ["02:30"], "zone": "UTC"}
    body = (await world.ask("get", f"/api/backup-jobs/{world.ids['backup_job_id']}")).json()
    given = {name: body[name] for name in ("name", "server_id", "repository_id", "sources")}
    given |= {"schedules": [{"when": when, "window": {"zone": "UTC", "begins": "01:00", "ends": "05:00"}}]}
    answer = await world.http.put(f"/api/backup-jobs/{world.ids['backup_job_id']}", json=given)
    assert answer.status_code == 200, answer.text
    maintenance = {"quota_bytes": None, "schedules": [{"task": "check", "when": when}], "retention": {"keep_last": 3}}
    answer = await world.http.put(f"/api/repositories/{world.ids['repository_id']}", json=maintenance)
    assert answer.status_code == 200, answer.text
    status = ServerStatus(server_id=uuid.UUID(answer.json()["server_id"]), up=True)
    await db.run(lambda tx: keep(tx, status, ApiToken(name="odd", digest="0" * 64)))
    return world


async def keep(tx: Any, *rows: Any) -> None:
    tx.session.add_all(rows)
    await tx.session.flush()


async def test_a_value_that_cannot_be_read_fails_no_list(furnished: World, db: Database) -> None:
    """Each column has another value at each turn, and has had them all in the end."""
    for turn in range(len(VALUES)):
        async with db.engine.begin() as connection:
            for number, (table, column) in enumerate(JSON_COLUMNS):
                value = VALUES[(turn + number) % len(VALUES)]
                change = update(table).values({column: value})
                # With the token that asks, nothing but its own refusal would be seen.
                await connection.execute(change.where(table.c.name == "odd") if table.name == "api_tokens" else change)
        await everything_is_still_read(furnished)


async def test_what_cannot_be_read_is_named_and_can_be_given_anew(furnished: World, db: Database) -> None:
    unknown = {"kind": "by_the_moon"}
    await db.run(lambda tx: tx.session.execute(update(Schedule).values(spec=unknown, window=unknown)))
    await db.run(lambda tx: tx.session.execute(update(Repository).values(retention=unknown)))
    path = f"/api/backup-jobs/{furnished.ids['backup_job_id']}"
    job = (await furnished.ask("get", path)).json()
    (schedule,) = job["schedules"]
    assert schedule["unreadable"] == ["when", "window"]
    assert (schedule["when"], schedule["window"], schedule["next_runs"]) == (None, None, [])
    assert schedule["next_run_at"] is None
    assert "cannot read" in schedule["words"]
    assert "unreadable" not in job
    repository = (await furnished.ask("get", f"/api/repositories/{furnished.ids['repository_id']}")).json()
    assert (repository["unreadable"], repository["retention"]) == (["retention"], None)
    given = {name: job[name] for name in ("name", "server_id", "repository_id", "sources")}
    when = {"kind": "days", "times": ["03:00"], "zone": "UTC"}
    answer = await furnished.http.put(path, json=given | {"schedules": [{"when": when}]})
    assert answer.status_code == 200, answer.text
    (schedule,) = answer.json()["schedules"]
    assert "unreadable" not in schedule
    assert len(schedule["next_runs"]) == 5
    assert schedule["next_run_at"] == schedule["next_runs"][0].replace("+00:00", "Z")


async def test_no_next_run_is_promised_of_a_schedule_by_which_nothing_runs(furnished: World, db: Database) -> None:
    values: tuple[Any, ...] = ({"kind": "by_the_moon"}, {"kind": "cron", "cron": "61 * * * *", "zone": "UTC"}, [1])
    ids = furnished.ids
    paths = (f"/api/backup-jobs/{ids['backup_job_id']}", f"/api/repositories/{ids['repository_id']}")
    async with db.read() as session:
        sound = {row.id: row.spec for row in await session.scalars(select(Schedule))}
    for column in ("spec", "window", "blackout"):
        for value in values:
            await db.run(lambda tx, to={column: value}: tx.session.execute(update(Schedule).values(to)))
            for path in paths:
                (schedule,) = (await furnished.ask("get", path)).json()["schedules"]
                shown = (schedule["next_run_at"], schedule["next_runs"])
                assert shown == (None, []), f"{column} {value} {path}: {schedule}"
        await db.run(lambda tx: tx.session.execute(update(Schedule).values(window=None, blackout=None)))
        for key, spec in sound.items():
            put_back = update(Schedule).where(Schedule.id == key).values(spec=spec)
            await db.run(lambda tx, put_back=put_back: tx.session.execute(put_back))
    for path in paths:
        (schedule,) = (await furnished.ask("get", path)).json()["schedules"]
        assert len(schedule["next_runs"]) == 5
        assert schedule["next_run_at"]
