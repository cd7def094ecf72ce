"""Restore tests are asked for, scheduled and listed; only a good one ever makes anything look proven."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete, update

from services.stats.alerts.readings import readings
from services.stats.metrics.queries import load_figures
from shared.db.tables import Archive, Job, RestoreProof, Schedule
from shared.domain.alerts import AlertKind
from shared.domain.proofs import ProofState
from shared.runtime.service import Parts
from tests.unit.services.api.test_accept import archive
from tests.unit.services.api.test_api import api

__all__ = ["api"]
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Fleet:
    """A repository with one backup, over the API."""

    def __init__(self, api: httpx2.AsyncClient, parts: Parts, ids: dict[str, str]) -> None:
        self.api, self.parts, self.ids = api, parts, ids
        self.path = f"/api/repositories/{ids['repository_id']}"

    async def proven(self, state: str, *, hours: int = 0, **values: Any) -> None:
        ids = {name: uuid.UUID(self.ids[name]) for name in ("repository_id", "server_id", "backup_job_id")}
        at = NOW + timedelta(hours=hours)
        row = RestoreProof(kind="sample", state=state, started_at=at, ended_at=at, **ids | values)

        async def add(tx: Any) -> None:
            tx.session.add(row)

        await self.parts.db.run(add)

    async def get(self, path: str) -> Any:
        answer = await self.api.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ages(self) -> set[str | None]:
        """When server, repository, backup job and compliance say that it was proven."""
        rows = [
            (await self.get("/api/servers"))["items"][0], await self.get(f"/api/servers/{self.ids['server_id']}"),
            (await self.get("/api/repositories"))["items"][0], await self.get(self.path),
            (await self.get("/api/backup-jobs"))["items"][0],
            await self.get(f"/api/backup-jobs/{self.ids['backup_job_id']}"), (await self.get("/api/compliance"))[0],
        ]  # fmt: skip
        return {row["restore_proven_at"] for row in rows}


@pytest.fixture
async def fleet(api: httpx2.AsyncClient, parts: Parts) -> Fleet:
    (backup,) = await archive(api, parts, {"state": "succeeded"})
    shown = (await api.get(f"/api/backups/{backup}")).json()
    names = ("repository_id", "server_id", "backup_job_id")
    return Fleet(api, parts, {"backup_id": backup} | {name: shown[name] for name in names})


async def test_a_test_is_queued_on_the_node_with_what_was_asked_for(fleet: Fleet) -> None:
    body = {"kind": "named", "paths": ["/srv/www/", "srv/x"], "backup_job_id": fleet.ids["backup_job_id"]}
    answer = await fleet.api.post(f"{fleet.path}/restore-tests", json=body)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["type"], job["state"], job["repository_id"]) == ("restore_test", "queued", fleet.ids["repository_id"])
    async with fleet.parts.db.read() as session:
        params = (await session.get_one(Job, uuid.UUID(job["id"]))).params
    assert (params["kind"], params["paths"], params["compare_source"]) == ("named", ["srv/www", "srv/x"], True)
    assert (await fleet.api.post(f"{fleet.path}/restore-tests", json={})).status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "named"}, {"paths": ["a"]}, {"kind": "all", "files": 3}, {"kind": "named", "paths": ["../etc"]},
        {"kind": "named", "paths": [""]}, {"kind": "named", "paths": ["a/./b"]}, {"kind": "named", "paths": ["a\0b"]},
        {"kind": "named", "paths_b64": ["!!"]}, {"kind": "named", "paths_b64": ["Li4="]}, {"files": 0},
        {"files": 10**9}, {"max_bytes": 0}, {"kind": "some"}, {"sort": "new"},
        {"kind": "named", "paths": [f"{number:0900}" for number in range(200)]},
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused_before_anything_is_queued(fleet: Fleet, body: dict[str, Any]) -> None:
    assert (await fleet.api.post(f"{fleet.path}/restore-tests", json=body)).status_code == 422
    assert (await fleet.get("/api/jobs"))["items"] == []


async def test_what_is_not_of_the_repository_is_not_there(fleet: Fleet) -> None:
    for body in ({"archive_id": str(uuid.uuid4())}, {"backup_job_id": str(uuid.uuid4())}):
        assert (await fleet.api.post(f"{fleet.path}/restore-tests", json=body)).status_code == 404
    unknown = f"/api/repositories/{uuid.uuid4()}/restore-tests"
    assert (await fleet.api.post(unknown, json={})).status_code == 404
    assert (await fleet.api.get(unknown)).status_code == 404


async def test_only_a_good_proof_makes_anything_look_proven(fleet: Fleet) -> None:
    for hours, state in enumerate(state for state in ProofState if state is not ProofState.GOOD):
        await fleet.proven(state.value, hours=hours)
    assert await fleet.ages() == {None}
    await fleet.proven("good", hours=-1, full_restore_seconds=90.0)
    assert await fleet.ages() == {"2026-11-20T11:00:00Z"}
    await fleet.proven("good", hours=-2)
    assert await fleet.ages() == {"2026-11-20T11:00:00Z"}
    assert (await fleet.get(fleet.path))["full_restore_seconds"] == 90.0
    assert (await fleet.get(f"/api/backup-jobs/{fleet.ids['backup_job_id']}"))["full_restore_seconds"] == 90.0


async def test_proofs_are_listed_by_server_backup_job_repository_and_state(fleet: Fleet) -> None:
    await fleet.proven("good", files=3, bytes=300)
    await fleet.proven("damaged", hours=1, damaged=2)
    for path in ("/api/proofs", f"/api/proofs?server_id={fleet.ids['server_id']}", f"{fleet.path}/restore-tests",
                 f"/api/proofs?backup_job_id={fleet.ids['backup_job_id']}"):  # fmt: skip
        assert [one["state"] for one in (await fleet.get(path))["items"]] == ["damaged", "good"]
    (good,) = (await fleet.get("/api/proofs?state=good"))["items"]
    assert (good["server"], good["files"], good["bytes"], good["kind"]) == ("web1", 3, 300, "sample")
    assert (await fleet.get(f"/api/proofs?server_id={uuid.uuid4()}"))["items"] == []
    first = await fleet.get("/api/proofs?limit=1")
    assert len(first["items"]) == 1
    assert [one["state"] for one in (await fleet.get(f"/api/proofs?limit=1&after={first['next']}"))["items"]] == [
        "good"
    ]


async def test_a_policy_is_a_schedule_of_the_repository_each_week_unless_somebody_says_when(fleet: Fleet) -> None:
    policy = {"task": "restore_test", "restore_test": {"files": 20, "compare_source": False}}
    answer = await fleet.api.patch(fleet.path, json={"schedules": [policy]}, headers=MERGE)
    assert answer.status_code == 200, answer.text
    (shown,) = answer.json()["schedules"]
    assert (shown["task"], shown["check"], shown["restore_test"]["files"]) == ("restore_test", None, 20)
    assert shown["when"] == {"kind": "hours", "every": 168, "offset_minutes": 0, "zone": "UTC"}
    async with fleet.parts.db.read() as session:
        row = await session.get_one(Schedule, uuid.UUID(shown["id"]))
        assert (row.period_seconds, row.task, row.params["files"]) == (7 * 86_400, "restore_test", 20)
    given = {name: shown[name] for name in ("task", "when", "restore_test")}
    again = await fleet.api.patch(fleet.path, json={"schedules": [given]}, headers=MERGE)
    assert again.json()["schedules"][0]["id"] == shown["id"]  # the same policy keeps its next time
    assert again.headers["etag"] == answer.headers["etag"]
    late = await fleet.api.patch(fleet.path, json={"schedules": []}, headers=MERGE | {"If-Match": '"0"'})
    assert late.status_code == 412


@pytest.mark.parametrize(
    "schedule",
    [
        {"task": "check", "restore_test": {}, "when": {"kind": "hours", "every": 24}},
        {"task": "restore_test", "check": {}, "when": {"kind": "hours", "every": 24}},
        {"task": "restore_test", "restore_test": {"archive_id": str(uuid.uuid4())}},
        {"task": "restore_test", "restore_test": {"kind": "named"}},
        {"task": "check"},
    ],
)
async def test_a_policy_that_makes_no_sense_is_refused(fleet: Fleet, schedule: dict[str, Any]) -> None:
    assert (await fleet.api.patch(fleet.path, json={"schedules": [schedule]}, headers=MERGE)).status_code == 422


MERGE = {"Content-Type": "application/merge-patch+json"}


async def unproven(fleet: Fleet) -> dict[str, float | None]:
    async with fleet.parts.db.read() as session:
        found = await load_figures(session)
    return {one.subject: one.value for one in readings(found, growth={}) if one.kind is AlertKind.RESTORE_UNPROVEN}


async def policy(fleet: Fleet, days_ago: int, **asked: Any) -> None:
    """Let restore tests run each week, since so many days."""
    schedule = {"task": "restore_test", "restore_test": asked}
    answer = await fleet.api.patch(fleet.path, json={"schedules": [schedule]}, headers=MERGE)
    assert answer.status_code == 200, answer.text
    at = datetime.now(UTC) - timedelta(days=days_ago)

    async def aged(tx: Any) -> None:
        await tx.session.execute(update(Schedule).values(created_at=at))
        await tx.session.execute(update(Archive).values(created_at=at))

    await fleet.parts.db.run(aged)


def hours(days: float) -> int:
    return round((datetime.now(UTC) - timedelta(days=days) - NOW).total_seconds() / 3600)


async def test_what_is_tested_by_itself_and_not_proven_in_time_is_told(fleet: Fleet) -> None:
    shown = await fleet.get(fleet.path)
    about = f"repository:{shown['server']}/{shown['name']}"
    assert await unproven(fleet) == {}  # nobody asked for tests
    await policy(fleet, 3)
    assert (await unproven(fleet))[about] == pytest.approx(3 / 7, abs=0.02)
    await policy(fleet, 15)
    assert (await unproven(fleet))[about] == pytest.approx(15 / 7, abs=0.02)
    await fleet.proven("damaged", hours=hours(1))
    assert (await unproven(fleet))[about] == pytest.approx(15 / 7, abs=0.02)
    await fleet.proven("good", hours=hours(1))
    assert (await unproven(fleet))[about] == pytest.approx(1 / 7, abs=0.02)


async def test_a_policy_for_a_backup_job_is_about_that_and_one_without_backups_is_late_with_nothing(
    fleet: Fleet,
) -> None:
    name = (await fleet.get(f"/api/backup-jobs/{fleet.ids['backup_job_id']}"))["name"]
    await policy(fleet, 15, backup_job_id=fleet.ids["backup_job_id"])
    assert list(await unproven(fleet)) == [f"backup_job:{name}"]

    async def forget(tx: Any) -> None:
        await tx.session.execute(delete(Archive))

    await fleet.parts.db.run(forget)
    assert await unproven(fleet) == {}


@pytest.mark.parametrize("params", [None, [], {"backup_job_id": "none"}, {"backup_job_id": 7}, "text"])
async def test_a_policy_that_cannot_be_read_stops_no_figures(fleet: Fleet, params: Any) -> None:
    await policy(fleet, 15)
    await fleet.parts.db.run(lambda tx: tx.session.execute(update(Schedule).values(params=params)))
    assert list((await unproven(fleet)).values()) == [pytest.approx(15 / 7, abs=0.02)]


async def test_who_sends_a_backup_job_back_as_he_read_it_need_not_know_its_figures(fleet: Fleet) -> None:
    """A program that leaves out what it knows to be shown only was refused for each figure that came later."""
    path = f"/api/backup-jobs/{fleet.ids['backup_job_id']}"
    shown = (await fleet.api.get(path)).json()
    known = (
        "id",
        "server",
        "repository",
        "version",
        "created_at",
        "schedules",
        "last_good_at",
        "checked_at",
        "compacted_at",
    )
    body = {name: value for name, value in shown.items() if name not in known} | {"priority": 3}
    answer = await fleet.api.put(path, json=body)
    assert (answer.status_code, answer.json()["priority"]) == (200, 3), answer.text
    assert (await fleet.api.put(path, json=body | {"nonsense": 1})).status_code == 422
