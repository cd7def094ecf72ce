"""The gateway in process: problems, pages, tokens, OpenAPI."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from services.api.app import build_app
from shared.db.tables import ApiToken, Archive, Job, Server
from shared.domain.ids import new_id
from shared.domain.job import JobState
from shared.errors import Transient
from shared.runtime.service import Parts
from shared.ssh.asyncssh import new_key_pair
from shared.ssh.port import fingerprint

TOKEN = "bf_unit"


@pytest.fixture
async def api(parts: Parts) -> AsyncIterator[httpx2.AsyncClient]:
    async def add(tx: Any) -> None:
        tx.session.add(ApiToken(name="admin", digest=hashlib.sha256(TOKEN.encode()).hexdigest()))

    await parts.db.run(add)
    transport = httpx2.ASGITransport(app=build_app(parts))
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://test", headers={"Authorization": f"Bearer {TOKEN}"}
    ) as client:
        yield client


async def made(api: httpx2.AsyncClient) -> dict[str, Any]:
    async def post(path: str, body: dict[str, Any]) -> Any:
        answer = await api.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    server = await post("/api/servers", {"name": "web1", "host": "192.0.2.1", "password": "canary"})
    pool = await post("/api/storage-pools", {"name": "main", "path": "/pool"})
    repository = await post("/api/repositories", {"name": "system", "server_id": server["id"], "pool_id": pool["id"]})
    job = {"name": "web1-system", "server_id": server["id"], "repository_id": repository["id"], "sources": ["/etc"]}
    return {"server": server, "pool": pool, "repository": repository, "job": await post("/api/backup-jobs", job)}


async def test_what_is_made_is_read_back_without_its_secrets(api: httpx2.AsyncClient) -> None:
    all_ = await made(api)
    for path in ("servers", "storage-pools", "repositories", "backup-jobs"):
        answer = await api.get(f"/api/{path}")
        assert len(answer.json()["items"]) == 1
        assert "canary" not in answer.text
    server_path = f"/api/servers/{all_['server']['id']}"
    changed = await api.put(server_path, json={"host": "192.0.2.2", "port": 2222, "password": "canary2"})
    assert (changed.json()["host"], changed.json()["port"]) == ("192.0.2.2", 2222)
    assert (await api.get(server_path)).json()["name"] == "web1"
    in_use = await api.delete(server_path)
    assert (in_use.status_code, in_use.json()["code"]) == (409, "server_in_use")
    other = (await api.post("/api/servers", json={"name": "web2", "host": "192.0.2.3"})).json()
    assert (await api.delete(f"/api/servers/{other['id']}")).status_code == 204
    assert all_["repository"]["path"] == "/pool/web1/system"


async def test_a_name_taken_is_a_conflict(api: httpx2.AsyncClient) -> None:
    await made(api)
    again = await api.post("/api/servers", json={"name": "web1", "host": "192.0.2.1"})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert again.headers["content-type"] == "application/problem+json"


async def test_a_backup_job_is_changed_toggled_run_and_deleted(api: httpx2.AsyncClient) -> None:
    all_ = await made(api)
    path = f"/api/backup-jobs/{all_['job']['id']}"
    queued = await api.post(f"{path}/run")
    assert (queued.status_code, queued.json()["state"], queued.json()["title"]) == (202, "queued", "web1 - system")
    assert (await api.post(f"{path}/toggle")).json()["enabled"] is False
    refused = await api.post(f"{path}/run")
    assert (refused.status_code, refused.json()["code"]) == (409, "backup_job_disabled")
    body = {k: all_["job"][k] for k in ("name", "server_id", "repository_id")} | {"sources": ["/home"]}
    assert (await api.put(path, json=body)).json()["sources"] == ["/home"]
    assert (await api.get(path)).json()["server"] == "web1"
    assert (await api.delete(path)).status_code == 204
    assert (await api.get(path)).status_code == 404


async def test_a_repository_of_another_server_is_refused(api: httpx2.AsyncClient) -> None:
    all_ = await made(api)
    other = (await api.post("/api/servers", json={"name": "web2", "host": "192.0.2.3"})).json()
    body = {"name": "x", "server_id": other["id"], "repository_id": all_["repository"]["id"], "sources": ["/etc"]}
    answer = await api.post("/api/backup-jobs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "wrong_repository")


async def test_the_wizard_makes_all_or_nothing(api: httpx2.AsyncClient) -> None:
    all_ = await made(api)
    body = {"server_id": all_["server"]["id"], "pool_id": all_["pool"]["id"], "repository": "data",
            "job": {"name": "web1-data", "sources": ["/srv"]}}  # fmt: skip
    assert (await api.post("/api/backup-wizard", json=body)).status_code == 202
    half = body | {"repository": "other"}
    assert (await api.post("/api/backup-wizard", json=half)).status_code == 409
    names = [r["name"] for r in (await api.get("/api/repositories")).json()["items"]]
    assert names == ["data", "system"]


async def test_jobs_are_listed_filtered_cancelled_retried_and_logged(api: httpx2.AsyncClient, parts: Parts) -> None:
    all_ = await made(api)
    run = f"/api/backup-jobs/{all_['job']['id']}/run"
    jobs = [(await api.post(run)).json() for _ in range(3)]
    first = await api.get("/api/jobs?limit=2")
    rest = await api.get(f"/api/jobs?limit=2&after={first.json()['next']}")
    assert [j["id"] for j in (*first.json()["items"], *rest.json()["items"])] == [j["id"] for j in reversed(jobs)]
    assert rest.json()["next"] is None
    for query in (
        "state=queued",
        "type=backup_create",
        f"server_id={all_['server']['id']}",
        f"backup_job_id={all_['job']['id']}",
    ):
        assert len((await api.get(f"/api/jobs?{query}")).json()["items"]) == 3
    path = f"/api/jobs/{jobs[0]['id']}"
    assert (await api.post(f"{path}/cancel")).json()["state"] == "cancelled"
    assert (await api.post(f"{path}/cancel")).json()["code"] == "job_ended"
    assert (await api.post(f"{path}/retry")).json()["state"] == "queued"
    assert (await api.post(f"{path}/retry")).json()["code"] == "job_not_retryable"

    async def talk(tx: Any) -> None:
        job = await tx.jobs.claim(uuid_of(jobs[0]), lease="l", seconds=60)
        await tx.jobs.log(job, 1, [(datetime.now(UTC), "info", "borg", "", f"line {n}") for n in range(3)])

    await parts.db.run(talk)
    log = (await api.get(f"{path}/log?limit=2")).json()
    assert [line["message"] for line in log["items"]] == ["line 0", "line 1"]
    assert [x["message"] for x in (await api.get(f"{path}/log?after={log['next']}")).json()["items"]] == ["line 2"]


async def test_live_progress_comes_from_the_bus_and_its_absence_hurts_nobody(
    api: httpx2.AsyncClient, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_ = await made(api)
    job = (await api.post(f"/api/backup-jobs/{all_['job']['id']}/run")).json()
    await parts.db.run(lambda tx: tx.jobs.claim(uuid_of(job), lease="l", seconds=60))
    path = f"/api/jobs/{job['id']}"
    assert (await api.get(path)).json()["progress"] is None
    await parts.bus.notify(f"progress.{job['id']}", b'{"phase": "reading", "files": 7}')
    assert (await api.get(path)).json()["progress"]["files"] == 7

    async def down(*_: Any) -> bytes:
        raise Transient("away")

    monkeypatch.setattr(parts.bus, "last", down)
    assert (await api.get(path)).status_code == 200


async def test_backups_are_listed_held_released_and_deleted(api: httpx2.AsyncClient, parts: Parts) -> None:
    all_ = await made(api)
    now = datetime.now(UTC)

    async def add(tx: Any) -> None:
        tx.session.add(Archive(repository_id=uuid_of(all_["repository"]), server_id=uuid_of(all_["server"]), name="a",
                               borg_id="1", started_at=now, ended_at=now, backup_job_id=uuid_of(all_["job"])))  # fmt: skip

    await parts.db.run(add)
    for query in ("", f"?server_id={all_['server']['id']}", f"?backup_job_id={all_['job']['id']}"):
        (backup,) = (await api.get(f"/api/backups{query}")).json()["items"]
    assert backup["title"] == "web1 - system"
    path = f"/api/backups/{backup['id']}"
    assert (await api.get(path)).json()["name"] == "a"
    naive = await api.put(f"{path}/hold", json={"reason": "audit", "until": "2030-01-01T00:00:00"})
    assert naive.status_code == 422
    assert (await api.put(f"{path}/hold", json={"reason": "audit"})).json()["held_reason"] == "audit"
    assert (await api.delete(path)).json()["code"] == "archive_held"
    assert (await api.delete(f"{path}/hold")).json()["held_reason"] is None
    assert (await api.delete(path)).json()["type"] == "archive_delete"


async def test_lists_page_by_name_and_a_foreign_cursor_is_refused(api: httpx2.AsyncClient) -> None:
    for number in range(5):
        await api.post("/api/servers", json={"name": f"s{number}", "host": "192.0.2.1"})
    seen: list[str] = []
    after = ""
    while after is not None:
        page = (await api.get(f"/api/servers?limit=2&after={after}" if after else "/api/servers?limit=2")).json()
        seen += [item["name"] for item in page["items"]]
        after = page["next"]
    assert seen == [f"s{number}" for number in range(5)]
    for path in ("/api/jobs", "/api/backups"):
        for cursor in ("garbage!", "Z2FyYmFnZQ=="):
            answer = await api.get(f"{path}?after={cursor}")
            assert (answer.status_code, answer.json()["code"]) == (422, "bad_cursor")


async def test_tokens_paths_and_methods_that_are_not_ours(api: httpx2.AsyncClient) -> None:
    for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": ""}):
        answer = await api.get("/api/servers", headers=headers)
        assert (answer.status_code, answer.json()["code"], answer.headers["www-authenticate"]) == (
            401,
            "unauthenticated",
            "Bearer",
        )
    assert (await api.get("/api/nothing")).json()["code"] == "not_found"
    assert (await api.patch("/api/servers")).json()["code"] == "method_not_allowed"
    for noun in ("servers", "backup-jobs", "backups", "jobs"):
        answer = await api.get(f"/api/{noun}/{new_id()}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_wrong_body_names_its_fields_and_repeats_no_password(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/api/servers", json={"name": "../x", "host": "h", "password": ["canary"], "typo": 1})
    fields = {error["field"] for error in answer.json()["errors"]}
    assert fields == {"body.name", "body.password", "body.typo"}
    assert "canary" not in answer.text


async def test_a_database_that_is_away_is_503_with_retry_after(
    api: httpx2.AsyncClient, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise Transient("away", code="database_silent", retry_after=1.0)

    monkeypatch.setattr(parts.db, "run", away)
    answer = await api.get("/api/fleet-key")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_host_key_approval_and_setup(api: httpx2.AsyncClient, parts: Parts) -> None:
    all_ = await made(api)
    key = " ".join(new_key_pair("x")[1].split()[:2])
    path = f"/api/servers/{all_['server']['id']}"

    async def offer(tx: Any) -> None:
        server = await tx.session.get_one(Server, uuid_of(all_["server"]))
        server.host_key_offered, server.state = key, "host_key"

    await parts.db.run(offer)
    assert (await api.get(path)).json()["offered_fingerprint"] == fingerprint(key)
    approved = await api.post(f"{path}/host-key", json={"fingerprint": fingerprint(key)})
    assert (approved.json()["state"], approved.json()["host_key_fingerprint"]) == ("new", fingerprint(key))
    assert (await api.post(f"{path}/setup")).json()["type"] == "server_setup"


async def test_the_api_describes_itself_with_examples_and_problems(api: httpx2.AsyncClient) -> None:
    described = (await api.get("/api/openapi.json")).json()
    for path in ("/api/servers", "/api/storage-pools", "/api/repositories", "/api/backup-jobs", "/api/backups", "/api/jobs",
                 "/api/backup-jobs/{backup_job_id}/run", "/api/jobs/{job_id}/cancel", "/api/jobs/{job_id}/retry"):  # fmt: skip
        assert path in described["paths"], path
    assert described["components"]["schemas"]["ServerIn"]["properties"]["name"]["examples"]
    for operations in described["paths"].values():
        for operation in operations.values():
            assert "401" in operation["responses"]
            assert operation["security"]


def uuid_of(item: dict[str, Any]) -> Any:
    return uuid.UUID(item["id"])


def test_states_of_the_api_are_the_domains() -> None:
    assert Job.__table__.c.state.default.arg == JobState.QUEUED.value
