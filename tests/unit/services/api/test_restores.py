"""Asking for a restore: what makes no sense is refused before anything is queued."""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from services.api.features.backups import restores
from shared.db.stores.requests import request_restore
from shared.db.tables import Archive, Job, db_now
from shared.errors import Conflict
from shared.runtime.service import Parts
from tests.unit.services.api.test_accept import archive
from tests.unit.services.api.test_api import api

__all__ = ["api"]


async def test_a_restore_is_queued_with_what_was_asked_for(api: httpx2.AsyncClient, parts: Parts) -> None:
    backup, *_ = await archive(api, parts, {"state": "succeeded"})
    latin = base64.b64encode(b"srv/caf\xe9").decode()
    body: dict[str, Any] = {"items": [{"path": "/srv/www/"}, {"path_b64": latin}], "target_path": "/var/restore/x"}
    answer = await api.post(f"/api/backups/{backup}/restores", json=body)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["type"], job["archive_id"], job["state"]) == ("archive_restore", backup, "queued")
    server = (await api.get(f"/api/backups/{backup}")).json()["server_id"]
    again = await api.post(f"/api/backups/{backup}/restores", json={"target_server_id": server})
    assert again.status_code == 202, again.text


@pytest.mark.parametrize(
    "body",
    [{"items": [{}]}, {"items": [{"path": "a", "path_b64": "YQ=="}]}, {"items": [{"path": "../etc"}]},
     {"items": [{"path_b64": "not base64"}]}, {"target_path": "relative"}, {"target_path": "/srv/../etc"},
     {"target_path": "/proc/x"}, {"owner": "me"}, {"verify": "never"}, {"mode": "merge"}],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(api: httpx2.AsyncClient, parts: Parts, body: dict[str, Any]) -> None:
    backup, *_ = await archive(api, parts, {"state": "succeeded"})
    assert (await api.post(f"/api/backups/{backup}/restores", json=body)).status_code == 422


async def test_a_merge_asks_for_the_preview_of_the_very_same(api: httpx2.AsyncClient, parts: Parts) -> None:
    backup, *_ = await archive(api, parts, {"state": "succeeded"})
    path, body = f"/api/backups/{backup}/restores", {"items": [{"path": "srv/www"}], "mode": "merge"}
    refused = await api.post(path, json=body)
    assert (refused.status_code, refused.json()["code"]) == (409, "confirm_needed")
    preview = (await api.post(f"{path}/preview", json=body)).json()
    assert preview["title"].endswith("(preview)")

    async def params(job: dict[str, Any]) -> dict[str, Any]:
        async with parts.db.read() as session:
            return (await session.get_one(Job, uuid.UUID(job["id"]))).params

    assert (await params(preview))["preview"] is True
    confirmed = body | {"confirm": preview["id"]}

    async def ended(state: str, minutes: int) -> None:
        values = {"state": state, "result": {"shown": "digest"}, "finished_at": db_now() if not minutes else
                  datetime.now(UTC) - timedelta(minutes=minutes)}  # fmt: skip
        await parts.db.run(
            lambda tx: tx.session.execute(update(Job).where(Job.id == uuid.UUID(preview["id"])).values(values))
        )

    async def code(asked: dict[str, Any]) -> str:
        answer = await api.post(path, json=asked)
        return "queued" if answer.status_code == 202 else answer.json()["code"]

    assert await code(confirmed) == "confirm_stale"
    await ended("failed", 0)
    assert await code(confirmed) == "confirm_stale"
    await ended("succeeded", 16)
    assert await code(confirmed) == "confirm_stale"
    await ended("succeeded", 0)
    for other in ({"existing": "replace"}, {"items": [{"path": "srv"}]}, {"mode": "swap"}, {"confirm": backup}):
        assert await code(confirmed | other) == "confirm_stale", other
    asked = await params((await api.post(path, json=confirmed)).json())
    assert (asked["mode"], asked["shown"], asked["preview"]) == ("merge", "digest", False)
    assert await code({"items": [{"path": "srv/www"}], "mode": "beside"}) == "queued"


@pytest.mark.parametrize("off", [timedelta(days=1), timedelta(days=-1)], ids=["behind", "ahead"])
@pytest.mark.parametrize(("minutes", "status"), [(1, 202), (16, 409)])
async def test_a_preview_is_as_old_as_the_database_says_however_wrong_our_clock_is(
    api: httpx2.AsyncClient, parts: Parts, monkeypatch: pytest.MonkeyPatch, off: timedelta, minutes: int, status: int
) -> None:
    """By our own clock an old preview was taken for a fresh one, and none was ever fresh enough."""
    backup, *_ = await archive(api, parts, {"state": "succeeded"})
    path, body = f"/api/backups/{backup}/restores", {"items": [{"path": "srv/www"}], "mode": "merge"}
    preview = (await api.post(f"{path}/preview", json=body)).json()["id"]
    now = datetime.now(UTC) + off

    async def by_the_database(_session: object) -> datetime:
        return now

    monkeypatch.setattr(restores, "read_now", by_the_database)
    values = {"state": "succeeded", "result": {"shown": "x"}, "finished_at": now - timedelta(minutes=minutes)}
    await parts.db.run(lambda tx: tx.session.execute(update(Job).where(Job.id == uuid.UUID(preview)).values(values)))
    assert (await api.post(path, json=body | {"confirm": preview})).status_code == status


SWAPPED = {"undo": {"possible": True, "items": [[0, "1", None]], "until": "2027-01-01T00:00:00+00:00"}, "stamp": "s"}


async def swapped(api: httpx2.AsyncClient, parts: Parts, **values: Any) -> str:
    """Make the job of a swap that has ended, as a worker would leave it."""
    backup, *_ = await archive(api, parts, {"state": "succeeded"})
    job = (await api.post(f"/api/backups/{backup}/restores", json={})).json()["id"]
    made = {"state": "succeeded", "result": SWAPPED, "params": {"mode": "swap", "items": ["YQ=="]}} | values
    await parts.db.run(lambda tx: tx.session.execute(update(Job).where(Job.id == uuid.UUID(job)).values(made)))
    return job


async def test_an_undo_is_queued_once_and_waits_for_nobody(api: httpx2.AsyncClient, parts: Parts) -> None:
    restore = await swapped(api, parts)
    answer = await api.post(f"/api/jobs/{restore}/undo")
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["type"], job["state"], job["node"]) == ("restore_undo", "queued", None)
    again = await api.post(f"/api/jobs/{restore}/undo")
    assert (again.status_code, again.json()["code"]) == (409, "undo_busy")
    assert job["id"] in again.json()["detail"]
    assert (await api.get(f"/api/jobs/{restore}")).json()["result"]["undo"]["possible"] is True


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"params": {"mode": "merge", "items": ["YQ=="]}}, "undo_no_swap"),
        ({"params": {}}, "undo_no_swap"),
        ({"type": "backup_create"}, "undo_no_swap"),
        ({"type": "restore_undo"}, "undo_no_swap"),
        ({"type": "stats_collect", "server_id": None}, "undo_no_swap"),
        ({"result": {"undo": {"possible": False, "job_id": str(uuid.UUID(int=7))}}}, "undo_done"),
        ({"result": {"undo": {"possible": False, "items": []}}}, "undo_nothing"),
        ({"result": {"stamp": "of a version that noted nothing"}}, "undo_nothing"),
        ({"result": {}, "state": "failed"}, "undo_nothing"),
        ({"result": {}, "state": "running"}, "undo_busy"),
        ({"params": {"mode": "swap", "target_server_id": str(uuid.UUID(int=8))}}, "undo_server_gone"),
    ],
)
async def test_what_cannot_be_undone_is_refused_by_name(
    api: httpx2.AsyncClient, parts: Parts, values: dict[str, Any], code: str
) -> None:
    answer = await api.post(f"/api/jobs/{await swapped(api, parts, **values)}/undo")
    assert (answer.status_code, answer.json()["code"]) == (409, code), answer.text
    assert answer.json()["remedy"]
    assert (await api.get("/api/jobs?type=restore_undo&state=queued")).json()["items"] == []


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"type": "archive_restore", "params": {"mode": "swap", "items": ["YQ=="]}}, 409),
        ({"type": "archive_restore", "params": {"mode": "merge", "items": ["YQ=="]}}, 409),
        ({"type": "archive_restore", "params": {"mode": "swap", "items": ["YQ=="], "preview": True}}, 202),
        ({"type": "archive_restore", "params": {"mode": "beside", "items": ["YQ=="]}}, 202),
        ({"type": "archive_restore", "params": {}}, 202),
        ({"type": "backup_create"}, 202),
    ],
)
async def test_what_is_retried_waits_for_an_undo_that_moves_the_same_things(
    api: httpx2.AsyncClient, parts: Parts, values: dict[str, Any], status: int
) -> None:
    restore = await swapped(api, parts)
    server = uuid.UUID((await api.get(f"/api/jobs/{restore}")).json()["server_id"])
    job = Job(**{"id": uuid.uuid4(), "server_id": server, "state": "failed", "params": {}} | values)
    other = str(job.id)

    async def add(tx: Any) -> None:
        tx.session.add(job)

    await parts.db.run(add)
    undo = (await api.post(f"/api/jobs/{restore}/undo")).json()["id"]
    answer = await api.post(f"/api/jobs/{other}/retry")
    assert answer.status_code == status, answer.text
    assert status == 202 or (answer.json()["code"], undo in answer.json()["detail"]) == ("undo_busy", True)


@pytest.mark.parametrize("mode", ["swap", "merge", "beside"])
async def test_a_new_restore_waits_for_an_undo_that_moves_the_same_things(
    api: httpx2.AsyncClient, parts: Parts, mode: str
) -> None:
    restore = await swapped(api, parts)
    await api.post(f"/api/jobs/{restore}/undo")

    async def ask(tx: Any) -> None:
        backup = await tx.session.get_one(Archive, (await tx.session.get_one(Job, uuid.UUID(restore))).archive_id)
        await request_restore(tx, backup, {"mode": mode, "items": ["YQ=="]})

    if mode == "beside":
        await parts.db.run(ask)
        return
    with pytest.raises(Conflict) as refused:
        await parts.db.run(ask)
    assert refused.value.code == "undo_busy"
    assert len((await api.get("/api/jobs?type=archive_restore")).json()["items"]) == 1


async def test_an_undo_is_not_retried_beside_another_nor_beside_a_restore(
    api: httpx2.AsyncClient, parts: Parts
) -> None:
    restore = await swapped(api, parts)
    undo = (await api.post(f"/api/jobs/{restore}/undo")).json()["id"]
    await api.post(f"/api/jobs/{undo}/cancel")
    second = (await api.post(f"/api/jobs/{restore}/undo")).json()["id"]
    answer = await api.post(f"/api/jobs/{undo}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "undo_busy"), answer.text
    await api.post(f"/api/jobs/{second}/cancel")
    assert (await api.post(f"/api/jobs/{undo}/retry")).status_code == 202


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ({}, 409),
        ({"params": {"preview": True}}, 202),
        ({"state": "succeeded"}, 202),
        ({"type": "backup_create"}, 202),
        ({"params": {"target_server_id": str(uuid.UUID(int=9))}}, 202),
    ],
)
async def test_it_waits_for_what_moves_things_on_that_server_alone(
    api: httpx2.AsyncClient, parts: Parts, other: dict[str, Any], status: int
) -> None:
    restore = await swapped(api, parts)

    async def begin(tx: Any) -> None:
        server = (await tx.session.get_one(Job, uuid.UUID(restore))).server_id
        tx.session.add(
            Job(**{"type": "archive_restore", "server_id": server, "state": "running", "params": {}} | other)
        )

    await parts.db.run(begin)
    assert (await api.post(f"/api/jobs/{restore}/undo")).status_code == status


async def test_what_is_unknown_is_not_found(api: httpx2.AsyncClient, parts: Parts) -> None:
    backup, *_ = await archive(api, parts, {"state": "succeeded"})
    nobody = "00000000-0000-0000-0000-000000000001"
    assert (await api.post(f"/api/backups/{nobody}/restores", json={})).status_code == 404
    answer = await api.post(f"/api/backups/{backup}/restores", json={"target_server_id": nobody})
    assert answer.status_code == 404
