"""The gateway in process: problems, pages, tokens, OpenAPI."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from prometheus_client import generate_latest
from sqlalchemy import insert, update

from services.api.app import build_app
from shared.db.stores.secrets import repository_key
from shared.db.tables import Alert, ApiToken, Archive, BackupNode, DeadLetter, Job, MissedRun, Repository, Server
from shared.domain.ids import new_id
from shared.domain.job import JobState
from shared.domain.job_kinds import JOB_KINDS, KIND_OF
from shared.domain.messages.frozen import KEY_CHANGED
from shared.errors import Invalid, Transient
from shared.notify.port import Address, Message
from shared.runtime.presence import Presence
from shared.runtime.service import Parts, Service
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
    assert (again.status_code, again.json()["code"]) == (409, "server_name_taken")
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
    assert [j["waiting_for"] for j in rest.json()["items"] + first.json()["items"]].count("a free slot") == 1
    unlimited = {"fleet": None, "per_server": None, "per_pool": None}
    set_now = (await api.put("/api/limits", json=unlimited)).json()
    assert set_now == unlimited | {"servers": {}, "pools": {}, "version": set_now["version"]}
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


async def test_the_kinds_of_jobs_are_told_as_they_stand_in_their_table(api: httpx2.AsyncClient) -> None:
    kinds = (await api.get("/api/job-kinds")).json()
    assert [kind["type"] for kind in kinds] == [kind.type.value for kind in JOB_KINDS]
    backup = next(kind for kind in kinds if kind["type"] == "backup_create")
    assert (backup["takes_turns"], backup["node_bound"], backup["task"]) == (True, True, None)
    assert {"name": "reading", "unit": "bytes"} in backup["phases"]
    for kind in kinds:
        assert (await api.get(f"/api/jobs?type={kind['type']}")).status_code == 200


async def test_a_job_of_a_kind_that_is_not_retried_says_so(
    api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_ = await made(api)
    job = (await api.post(f"/api/backup-jobs/{all_['job']['id']}/run")).json()
    await api.post(f"/api/jobs/{job['id']}/cancel")
    monkeypatch.setitem(KIND_OF, "backup_create", KIND_OF["backup_create"]._replace(retryable=False))
    refused = await api.post(f"/api/jobs/{job['id']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "job_not_retryable")
    assert (await api.get(f"/api/jobs/{job['id']}")).json()["state"] == "cancelled"
    monkeypatch.undo()
    assert (await api.post(f"/api/jobs/{job['id']}/retry")).json()["state"] == "queued"


async def test_live_progress_comes_from_the_bus_and_its_absence_hurts_nobody(
    api: httpx2.AsyncClient, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_ = await made(api)
    job = (await api.post(f"/api/backup-jobs/{all_['job']['id']}/run")).json()
    await parts.db.run(lambda tx: tx.jobs.claim(uuid_of(job), lease="l", seconds=60))
    path = f"/api/jobs/{job['id']}"
    assert (await api.get(path)).json()["progress"] is None
    await parts.bus.notify(
        f"progress.{job['id']}", json.dumps({"job_id": job["id"], "phase": "reading", "files": 7}).encode()
    )
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
            assert operation["x-permission"] == "public" or operation["security"]


def uuid_of(item: dict[str, Any]) -> Any:
    return uuid.UUID(item["id"])


def test_states_of_the_api_are_the_domains() -> None:
    assert Job.__table__.c.state.default.arg == JobState.QUEUED.value


async def test_requests_are_counted_by_route_and_never_by_id(api: httpx2.AsyncClient, parts: Parts) -> None:
    await api.get(f"/api/servers/{uuid.uuid4()}")
    await api.get("/api/servers")
    await api.get("/api/nowhere/at/all")
    text = generate_latest(parts.registry).decode()
    assert 'borgfleet_http_requests_total{method="GET",route="/api/servers/{server_id}",status="4xx"} 1.0' in text
    assert 'borgfleet_http_requests_total{method="GET",route="/api/servers",status="2xx"} 1.0' in text
    assert 'route="other",status="4xx"} 1.0' in text
    assert "nowhere" not in text


async def test_thresholds_are_set_for_the_fleet_and_for_one_server_and_taken_back(api: httpx2.AsyncClient) -> None:
    await made(api)

    async def disk(server: str = "") -> tuple[float, str]:
        listed = (await api.get(f"/api/thresholds{server}")).json()
        found = next(threshold for threshold in listed if threshold["kind"] == "disk")
        return found["warning"], found["decided_by"]

    assert await disk() == (80.0, "built-in")
    body = {"warning": 70, "critical": 75}
    assert (await api.put("/api/thresholds/disk", json=body)).json()["decided_by"] == "fleet"
    for warning in (50, 60):
        await api.put("/api/thresholds/disk?server=web1", json=body | {"warning": warning})
    assert (await disk(), await disk("?server=web1")) == ((70.0, "fleet"), (60.0, "server"))
    assert (await api.put("/api/thresholds/disk?server=nobody", json=body)).status_code == 404
    assert (await api.put("/api/thresholds/nonsense", json=body)).status_code == 422
    assert (await api.delete("/api/thresholds/disk?server=web1")).status_code == 204
    assert await disk("?server=web1") == (70.0, "fleet")


async def test_a_threshold_of_a_tag_stands_between_the_fleets_and_a_servers_own(api: httpx2.AsyncClient) -> None:
    await made(api)
    server = (await api.get("/api/servers")).json()["items"][0]
    change = {"host": "192.0.2.1", "tags": ["db", "db", "eu"]}
    assert (await api.put(f"/api/servers/{server['id']}", json=change)).json()["tags"] == ["db", "eu"]
    assert len((await api.get("/api/servers?tag=eu")).json()["items"]) == 1
    assert (await api.get("/api/servers?tag=e")).json()["items"] == []
    body = {"warning": 33, "critical": None}
    assert (await api.put("/api/thresholds/cpu?tag=eu", json=body)).json()["decided_by"] == "tag:eu"
    (cpu, *_) = (await api.get("/api/thresholds?server=web1")).json()
    assert (cpu["kind"], cpu["warning"], cpu["decided_by"], cpu["server"]) == ("cpu", 33.0, "tag:eu", "web1")
    both = await api.put("/api/thresholds/cpu?tag=eu&server=web1", json=body)
    assert (both.status_code, "not for both" in both.text) == (422, True)
    assert (await api.delete("/api/thresholds/cpu?tag=eu")).status_code == 204
    (cpu, *_) = (await api.get("/api/thresholds?server=web1")).json()
    assert cpu["decided_by"] == "built-in"


class NoSender:
    """Accepts every address but one."""

    async def check(self, address: Address) -> None:
        if "127.0.0.1" in address.url:
            message = "refused to connect to 127.0.0.1: not a public address"
            raise Invalid(message, code="address_refused", remedy="notify.allowed_networks")

    async def send(self, address: Address, message: Message) -> None:
        raise NotImplementedError


@pytest.fixture
def no_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.api.app.ChildSender", lambda _networks: NoSender())


async def test_a_channel_is_added_tested_changed_and_forgotten_and_its_url_is_never_shown(
    no_sender: None, api: httpx2.AsyncClient
) -> None:
    body = {"name": "ops", "kind": "webhook", "url": "https://hooks.example.org/canary?token=canary", "tags": ["db"],
            "hours": {"zone": "Europe/Paris", "days": [1], "begins": "08:00", "ends": "18:00"}}  # fmt: skip
    added = await api.post("/api/notification-channels", json=body)
    assert added.status_code == 201, added.text
    channel = added.json()
    assert channel["signing_key"].startswith("whsec_")
    assert channel["label"] == "https://hooks.example.org/..."
    path = f"/api/notification-channels/{channel['id']}"
    for shown in (await api.get(path), await api.get("/api/notification-channels")):
        assert channel["signing_key"] not in shown.text
        assert "canary" not in added.text + shown.text
    sent = (await api.post(f"{path}/test")).json()
    assert (sent["what"], sent["state"]) == ("test", "waiting")
    assert (await api.get(f"/api/notifications/{sent['id']}")).json()["id"] == sent["id"]
    assert (await api.post(f"/api/notifications/{sent['id']}/retry")).status_code == 202
    listed = (await api.get(f"/api/notifications?channel_id={channel['id']}")).json()["items"]
    assert [one["id"] for one in listed] == [sent["id"]]
    change = {"url": "https://hooks.example.net/canary", "least_level": "critical", "kinds": ["disk"]}
    changed = (await api.put(path, json=change)).json()
    assert (changed["label"], changed["kinds"], changed["hours"]) == (
        "https://hooks.example.net/...",
        ["disk"],
        None,
    )
    assert (await api.delete(path)).status_code == 204
    assert (await api.get("/api/notifications")).json()["items"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://127.0.0.1/"}, {"kind": "pigeon"}, {"hours": {"zone": "Mars/Olympus"}}, {"hours": {"days": []}},
        {"hours": {"begins": "08:00+01:00"}}, {"kinds": ["nonsense"]}, {"digest_seconds": -1}, {"name": "a b"},
    ],
)  # fmt: skip
async def test_a_channel_that_cannot_work_is_refused(
    no_sender: None, api: httpx2.AsyncClient, wrong: dict[str, Any]
) -> None:
    body = {"name": "ops", "kind": "webhook", "url": "https://example.org/"} | wrong
    answer = await api.post("/api/notification-channels", json=body)
    assert answer.status_code == 422, answer.text
    assert (await api.get("/api/notification-channels")).json()["items"] == []


async def test_the_services_and_the_dead_letters_are_listed(api: httpx2.AsyncClient, parts: Parts) -> None:
    await parts.db.run(Presence(parts.db, [Service("stats"), Service("setup")]).write)
    letter = {"message_key": "k", "subject": "backup.requested", "code": "undecodable", "reason": "r", "deliveries": 1}
    await parts.db.run(lambda tx: tx.session.execute(insert(DeadLetter).values(**letter, remedy="see")))
    assert [one["service"] for one in (await api.get("/api/services")).json()] == ["setup", "stats"]
    (shown,) = (await api.get("/api/dead-letters")).json()["items"]
    assert (shown["subject"], shown["code"], shown["remedy"]) == ("backup.requested", "undecodable", "see")


async def test_a_backup_job_has_schedules_that_are_shown_in_words_with_their_next_runs(
    api: httpx2.AsyncClient, parts: Parts
) -> None:
    job = (await made(api))["job"]
    assert job["schedules"] == []
    path = f"/api/backup-jobs/{job['id']}"
    body = {key: job[key] for key in ("name", "server_id", "repository_id", "sources")}
    paris = {"when": {"kind": "days", "times": ["02:30"], "zone": "Europe/Paris"}, "window": {"begins": "02:00"}}
    changed = (await api.put(path, json=body | {"schedules": [paris]})).json()
    (schedule,) = changed["schedules"]
    assert schedule["words"] == "Every day at 02:30, Europe/Paris"
    assert len(schedule["next_runs"]) == 5
    assert all("T02:30:00+0" in run for run in schedule["next_runs"])
    assert (await api.put(path, json=body)).json()["schedules"][0]["id"] == schedule["id"]  # not named: as it was
    previewed = await api.post("/api/schedules/preview", json=paris)
    assert previewed.json()["next_runs"] == schedule["next_runs"]
    wrong = await api.put(path, json=body | {"schedules": [{"when": {"kind": "cron", "expression": "0 0 30 2 *"}}]})
    assert (wrong.status_code, "cron expression" in wrong.text) == (422, True)
    other = {**body, "name": "other", "schedules": [paris]}
    assert (await api.post("/api/backup-jobs", json=other)).status_code == 201
    night = (await api.get("/api/tonight?hours=48")).json()
    assert {run["name"]: run["collides_with"][0] for run in night} == {
        "web1-system": "other",
        "other": "web1-system",
    }
    assert (await api.put("/api/pauses?server=web1", json={})).status_code == 200
    assert (await api.get("/api/forecast?hours=48")).json() == []
    assert (await api.delete("/api/pauses?server=web1")).status_code == 204
    states = {
        one["backup_job"]: (one["state"], one["target_seconds"]) for one in (await api.get("/api/compliance")).json()
    }
    assert states["other"][0] == "ok"
    assert states["other"][1] in (2 * 86_400, 2 * 90_000)  # two periods; the longest one holds a clock change
    text = (await api.get("/api/compliance?csv=true")).text
    assert text.splitlines()[0].startswith("backup_job_id,backup_job,server,state")
    assert len(text.splitlines()) == 3
    await api.put(path, json=body | {"schedules": []})
    assert (await api.get(path)).json()["schedules"] == []
    missed = {"schedule_id": new_id(), "backup_job_id": uuid.UUID(job["id"]), "due_at": datetime.now(UTC)}
    await parts.db.run(lambda tx: tx.session.execute(insert(MissedRun).values(**missed, code="overlap", reason="r")))
    assert [one["code"] for one in (await api.get(f"/api/missed-runs?backup_job_id={job['id']}")).json()["items"]] == [
        "overlap"
    ]
    assert (await api.delete(path)).status_code == 204


async def test_a_retention_is_previewed_saved_and_followed(api: httpx2.AsyncClient, parts: Parts) -> None:
    all_ = await made(api)
    repository = f"/api/repositories/{all_['repository']['id']}"
    now = datetime.now(UTC)

    async def add(tx: Any) -> None:
        ids = {"repository_id": uuid.UUID(all_["repository"]["id"]), "server_id": uuid.UUID(all_["server"]["id"])}
        for age in range(5):
            at = now - timedelta(days=age)
            times = {"created_at": at, "started_at": at, "ended_at": at}
            tx.session.add(Archive(name=f"a{age}", borg_id=f"{age:064}", trusted=True, **ids, **times))

    await parts.db.run(add)
    refused = await api.post(f"{repository}/prune", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "retention_missing")
    shown = (await api.post(f"{repository}/retention/preview", json={"keep_daily": 2})).json()
    assert [one["kept_by"] for one in shown["backups"]] == ["daily 1", "daily 2", None, None, None]
    assert (shown["kept"], shown["dropped"], shown["deletion_limit_reached"]) == (2, 3, False)
    assert (await api.post(f"{repository}/retention/preview", json={})).status_code == 422
    saved = await api.put(repository, json={"retention": {"keep_daily": 2, "zone": "Europe/Paris"}})
    assert saved.json()["retention"]["zone"] == "Europe/Paris"
    assert (await api.put(repository, json={"retention": {"keep_daily": 0}})).status_code == 422
    queued = await api.post(f"{repository}/prune", json={"override_deletion_limit": True})
    assert (queued.status_code, queued.json()["type"], queued.json()["state"]) == (202, "repository_prune", "queued")


async def test_a_frozen_repository_is_let_go_by_name_and_with_a_reason(api: httpx2.AsyncClient, parts: Parts) -> None:
    all_ = await made(api)
    path = f"/api/repositories/{all_['repository']['id']}/unfreeze"
    assert (await api.post(path, json={"reason": "why"})).json()["code"] == "repository_not_frozen"

    async def freeze(tx: Any) -> None:
        await tx.session.execute(update(Repository).values(frozen_reason="1 is missing"))
        ids = {"repository_id": uuid.UUID(all_["repository"]["id"]), "server_id": uuid.UUID(all_["server"]["id"])}
        times = {"started_at": datetime.now(UTC), "ended_at": datetime.now(UTC)}
        tx.session.add_all(
            Archive(name=letter, borg_id=letter * 64, trusted=True, missing=letter == "a", **ids, **times)
            for letter in "ab"
        )

    await parts.db.run(freeze)
    assert (await api.post(path, json={})).status_code == 422
    freed = (await api.post(path, json={"reason": "deleted by mistake"})).json()
    assert (freed["frozen_reason"], freed["unfrozen_by"], freed["unfrozen_reason"]) == (
        "",
        "admin",
        "deleted by mistake",
    )
    backups = {one["name"]: one["missing"] for one in (await api.get("/api/backups")).json()["items"]}
    assert backups == {"a": True, "b": False}
    keeping = await api.post(f"{path.removesuffix('/unfreeze')}/retention/preview", json={"keep_last": 1})
    assert [one["name"] for one in keeping.json()["backups"]] == ["b"]


async def test_the_way_back_of_a_frozen_repository_is_shown_and_asked_for_with_a_reason(
    api: httpx2.AsyncClient, parts: Parts
) -> None:
    all_ = await made(api)
    repository = uuid.UUID(all_["repository"]["id"])
    path = f"/api/repositories/{repository}"
    codes = ("archives_missing", "repository_key_changed")
    causes: list[dict[str, Any]] = [{"code": code, "reason": f"because {code}"} for code in codes]
    causes[1]["message"] = KEY_CHANGED().to_json()

    async def freeze(tx: Any) -> None:
        values = {"frozen_reason": "so", "frozen_for": causes, "rewritten_after": 7, "manifest_transaction": 9}
        await tx.session.execute(update(Repository).values(**values, proven_transaction=12))
        await tx.secrets.put(repository_key(repository), "BORG_KEY canary")
        ids = {"repository_id": repository, "server_id": uuid.UUID(all_["server"]["id"])}
        times = {"started_at": datetime.now(UTC), "ended_at": datetime.now(UTC)}
        rows = {"a": {"missing": True}, "b": {}, "c": {"deleting": True, "missing": True}}
        tx.session.add_all(Archive(name=name, borg_id=name * 64, **row, **ids, **times) for name, row in rows.items())

    await parts.db.run(freeze)
    shown = await api.get(f"{path}/recover")
    assert "canary" not in shown.text
    preview = shown.json()
    assert (preview["recorded"], preview["missing"], [one["name"] for one in preview["comes_back"]]) == (2, 1, ["a"])
    assert (preview["undone_after"], preview["has_key"]) == (7, True)
    # What an older version stored has its own words; what has an entry is said in today's.
    old, new = preview["frozen_for"]
    assert old == causes[0] | {"message": None}
    assert (new["code"], new["reason"], new["message"]["key"]) == (
        KEY_CHANGED().code,
        KEY_CHANGED().text,
        KEY_CHANGED().key,
    )
    assert (await api.post(f"{path}/recover", json={})).status_code == 422
    queued = (await api.post(f"{path}/recover", json={"reason": "the server is clean"})).json()
    assert (queued["type"], queued["state"]) == ("repository_recover", "queued")
    async with parts.db.read() as session:
        job = await session.get_one(Job, uuid.UUID(queued["id"]))
    assert (job.params["reason"], job.params["by"]) == ("the server is clean", "admin")
    unknown = f"/api/repositories/{uuid.uuid4()}/recover"
    assert [(await api.get(unknown)).status_code, (await api.post(unknown, json={"reason": "x"})).status_code] == [
        404
    ] * 2
    # Let go by hand, what is there is the new starting point, and its key is the repository's key.
    assert (await api.post(f"{path}/unfreeze", json={"reason": "repaired"})).json()["frozen_for"] == []
    preview = (await api.get(f"{path}/recover")).json()
    assert (preview["has_key"], preview["undone_after"]) == (False, None)
    async with parts.db.read() as session:
        assert (await session.get_one(Repository, repository)).proven_transaction is None


async def test_a_backup_that_is_being_deleted_can_be_held_no_more(api: httpx2.AsyncClient, parts: Parts) -> None:
    all_ = await made(api)
    ids = {"repository_id": uuid.UUID(all_["repository"]["id"]), "server_id": uuid.UUID(all_["server"]["id"])}

    async def add(tx: Any) -> uuid.UUID:
        archive = Archive(name="a", deleting=True, started_at=datetime.now(UTC), ended_at=datetime.now(UTC), **ids)
        tx.session.add(archive)
        await tx.session.flush()
        return archive.id

    refused = await api.put(f"/api/backups/{await parts.db.run(add)}/hold", json={"reason": "audit"})
    assert (refused.status_code, refused.json()["code"]) == (409, "archive_leaving")


async def test_everything_or_one_server_is_paused_and_resumed(api: httpx2.AsyncClient) -> None:
    await made(api)
    assert (await api.put("/api/pauses", json={"reason": "move"})).json()["who"] == "admin"
    await api.put("/api/pauses?server=web1", json={"until": "2030-01-01T00:00:00Z"})
    assert (await api.put("/api/pauses?server=nobody", json={})).status_code == 404
    assert [one["server"] for one in (await api.get("/api/pauses")).json()] == ["", "web1"]
    assert (await api.delete("/api/pauses")).status_code == 204
    assert [one["server"] for one in (await api.get("/api/pauses")).json()] == ["web1"]


async def test_a_repositorys_quota_is_set_and_taken_back(api: httpx2.AsyncClient) -> None:
    repository = (await made(api))["repository"]
    path = f"/api/repositories/{repository['id']}"
    assert repository["quota_bytes"] is None
    assert (await api.put(path, json={"quota_bytes": 2**40})).json()["quota_bytes"] == 2**40
    assert (await api.put(path, json={"quota_bytes": 0})).status_code == 422
    assert (await api.put(path, json={})).json()["quota_bytes"] is None


async def test_alerts_are_listed_acknowledged_and_their_history_is_kept(api: httpx2.AsyncClient, parts: Parts) -> None:
    common: dict[str, Any] = {"kind": "disk", "level": "warning", "value": 81.0, "threshold": 80.0, "server": "web1"}

    async def add(tx: Any) -> list[Alert]:
        alerts = [
            Alert(subject="server:web1:/", open_key="disk|server:web1:/", state="firing", **common),
            Alert(subject="server:web1:/b", open_key="disk|server:web1:/b", state="pending", **common),
            Alert(subject="server:web1:/c", open_key=None, state="resolved", **common),
        ]
        tx.session.add_all(alerts)
        return alerts

    firing, _, resolved = await parts.db.run(add)
    listed = {
        state: (await api.get(f"/api/alerts{state}")).json()["items"]
        for state in ("", "?state=open", "?state=resolved")
    }
    assert [len(items) for items in listed.values()] == [2, 1, 1]
    known = await api.post(f"/api/alerts/{firing.id}/acknowledge", json={"note": "on it"})
    assert (known.json()["state"], known.json()["acknowledged_note"]) == ("acknowledged", "on it")
    refused = await api.post(f"/api/alerts/{resolved.id}/acknowledge", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "alert_not_firing")
    detail = (await api.get(f"/api/alerts/{firing.id}")).json()
    assert [(line["what"], line["note"]) for line in detail["history"]] == [("acknowledge", "on it")]
    assert (known.json()["acknowledged_by"], detail["history"][0]["who"]) == ("admin", "admin")


async def test_maintenance_windows_are_announced_and_ended(api: httpx2.AsyncClient) -> None:
    await made(api)
    body = {"server": "web1", "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-02T00:00:00Z", "reason": "disks"}
    window = (await api.post("/api/maintenance-windows", json=body)).json()
    assert (await api.get("/api/maintenance-windows")).json() == [window]
    backwards = body | {"starts_at": body["ends_at"]}
    assert (await api.post("/api/maintenance-windows", json=backwards)).status_code == 422
    assert (await api.post("/api/maintenance-windows", json=body | {"server": "nobody"})).status_code == 404
    assert (await api.delete(f"/api/maintenance-windows/{window['id']}")).status_code == 204
    assert (await api.get("/api/maintenance-windows")).json() == []


async def test_statistics_are_asked_for_and_looked_back_on(api: httpx2.AsyncClient) -> None:
    server = (await made(api))["server"]["id"]
    one = await api.post(f"/api/servers/{server}/collect-stats")
    assert (one.status_code, one.json()["type"], one.json()["title"]) == (202, "stats_collect", "web1")
    assert (await api.post("/api/collect-stats", json={})).json()["title"] == "all servers"
    missing = await api.post("/api/collect-stats", json={"servers": [str(uuid.uuid4())]})
    assert missing.status_code == 404
    history = await api.get(f"/api/servers/{server}/stats")
    assert (history.json()["points"], history.json()["step"]) == ([], 300)
    for query, code in (
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "bad_span"),
        ("from=2020-01-01T00:00:00Z&step=60", "step_too_small"),
    ):
        refused = await api.get(f"/api/servers/{server}/stats?{query}")
        assert (refused.status_code, refused.json()["code"]) == (422, code)


async def test_a_source_in_a_pool_of_the_server_itself_is_refused_where_that_is_known(
    api: httpx2.AsyncClient, parts: Parts
) -> None:
    """Its backups would hold themselves."""
    all_ = await made(api)
    body = {"name": "loop", "server_id": all_["server"]["id"], "repository_id": all_["repository"]["id"]}

    async def add(tx: Any) -> None:
        node = {"endpoint_host": "192.0.2.1", "endpoint_port": 22, "endpoint_user": "borg"}
        tx.session.add(BackupNode(name=all_["pool"]["node"], **node))

    inside = body | {"sources": ["/etc", "/pool/web1"]}
    elsewhere = await api.post("/api/backup-jobs", json=inside | {"name": "elsewhere"})
    assert elsewhere.status_code == 201  # that this server is the node is not known
    await parts.db.run(add)
    for source in ("/pool", "/pool/", "/pool/web1"):
        refused = await api.post("/api/backup-jobs", json=body | {"sources": ["/etc", source]})
        assert (refused.status_code, refused.json()["code"]) == (422, "source_is_ours"), refused.text
    changed = await api.put(f"/api/backup-jobs/{all_['job']['id']}", json=inside | {"name": "web1-system"})
    assert changed.json()["code"] == "source_is_ours"
    fine = await api.post("/api/backup-jobs", json=body | {"sources": ["/pool2", "/"]})
    assert fine.status_code == 201
