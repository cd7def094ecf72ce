"""Two that edit one thing at once: one wins, the other is told what changed. What services write is no edit."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update

from shared.db.session import Database
from shared.db.tables import BackupJob, Base, Server, ServerStatus
from shared.db.tables.base import Versioned, db_now
from shared.db.unit_of_work import UnitOfWork
from tests.contract.test_idempotency import add_tokens, gateway, key
from tests.harness.if_match import IF_MATCH

Api = httpx2.AsyncClient
NIGHTLY = {"when": {"kind": "days", "times": ["02:30"], "zone": "UTC"}}


@pytest.fixture
async def api(db: Database, tmp_path: Path) -> AsyncIterator[Api]:
    await add_tokens(db)
    async with gateway(db, tmp_path) as client:
        yield client


async def made(api: Api, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def server(api: Api, name: str = "web1") -> str:
    return f"/api/servers/{(await made(api, '/api/servers', {'name': name, 'host': '192.0.2.1'}))['id']}"


async def backup_job(api: Api) -> str:
    place = {"server_id": (await server(api)).rpartition("/")[2]}
    place["pool_id"] = (await made(api, "/api/storage-pools", {"name": "main", "path": "/pool"}))["id"]
    place["repository_id"] = (await made(api, "/api/repositories", place | {"name": "system"}))["id"]
    del place["pool_id"]
    job = await made(api, "/api/backup-jobs", place | {"name": "web1-system", "sources": ["/etc"]})
    return f"/api/backup-jobs/{job['id']}"


async def pool(api: Api) -> str:
    return f"/api/storage-pools/{(await made(api, '/api/storage-pools', {'name': 'main', 'path': '/pool'}))['id']}"


async def repository(api: Api) -> str:
    job = (await api.get(await backup_job(api))).json()
    return f"/api/repositories/{job['repository_id']}"


async def channel(api: Api) -> str:
    body = {"name": "on-call", "kind": "webhook", "url": "https://192.0.2.7/"}
    return f"/api/notification-channels/{(await made(api, '/api/notification-channels', body))['id']}"


async def window(api: Api) -> str:
    body = {"starts_at": "2027-01-31T22:00:00+01:00", "ends_at": "2027-02-01T04:00:00+01:00"}
    return f"/api/maintenance-windows/{(await made(api, '/api/maintenance-windows', body))['id']}"


async def tag(api: Api) -> str:
    return f"/api/tags/{(await made(api, '/api/tags', {'name': 'eu'}))['id']}"


async def group(api: Api) -> str:
    return f"/api/groups/{(await made(api, '/api/groups', {'name': 'databases', 'all': ['db']}))['id']}"


async def limits(api: Api) -> str:
    await server(api)
    return "/api/limits"


async def user(api: Api) -> str:
    return f"/api/users/{(await made(api, '/api/users', {'name': 'ada'}))['user']['id']}"


@dataclass(frozen=True)
class Thing:
    """One kind of thing that people change, and two changes of it."""

    make: Callable[[Api], Awaitable[str]]
    one: dict[str, Any]
    other: dict[str, Any]
    put: tuple[str, ...] = ()
    """What PUT takes of what GET shows; empty: there is no PUT."""


JOB = ("name", "server_id", "repository_id", "sources", "excludes", "retention", "rpo_seconds", "enabled")
THINGS = {
    "server": Thing(server, {"port": 2222}, {"tags": ["eu"]}, ("host", "port", "username", "tags")),
    "backup job": Thing(backup_job, {"sources": ["/srv"]}, {"rpo_seconds": 3600}, JOB),
    "schedules of a backup job": Thing(backup_job, {"schedules": [NIGHTLY]}, {"enabled": False}, JOB),
}
REPOSITORY = ("quota_bytes", "retention", "prune_after_backup", "compact_threshold_percent")
CHANNEL = ("enabled", "least_level", "kinds", "tags", "hours", "digest_seconds", "recovered")
THINGS |= {
    "pool": Thing(pool, {"name": "fast"}, {"name": "slow"}, ("name",)),
    "repository": Thing(repository, {"quota_bytes": 5}, {"compact_threshold_percent": 20}, REPOSITORY),
    "schedules of a repository": Thing(
        repository, {"schedules": [NIGHTLY | {"task": "check"}]}, {"prune_after_backup": False}, REPOSITORY
    ),
    "channel": Thing(channel, {"tags": ["eu"]}, {"digest_seconds": 60}, CHANNEL),
    "window": Thing(window, {"reason": "a"}, {"tag": "eu"}, ("starts_at", "ends_at", "reason")),
    "tag": Thing(tag, {"name": "europe"}, {"colour": "#1f77b4"}),
    "group": Thing(group, {"any": ["eu"]}, {"description": "x"}),
    "user": Thing(user, {"display_name": "Ada"}, {"email": "ada@example.org"}),
    "limits": Thing(
        limits, {"servers": {"web1": 3}}, {"fleet": 7}, ("fleet", "per_server", "per_pool", "servers", "pools")
    ),
}
ONE_FIELD, SCHEDULED = THINGS["pool"], ("schedules of a repository", "repository")
NEVER_DELETED = [THINGS[name] for name in ("pool", "limits", *SCHEDULED)]
things = pytest.mark.parametrize("thing", THINGS.values(), ids=THINGS.keys())


async def read(api: Api, path: str) -> tuple[dict[str, Any], str]:
    answer = await api.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == f'"{answer.json()["version"]}"'
    return answer.json(), answer.headers["etag"]


async def change(api: Api, thing: Thing, path: str, how: dict[str, Any], method: str, tag: str) -> httpx2.Response:
    body = how
    if method == "PUT":
        now, _ = await read(api, path)
        body = {name: now[name] for name in thing.put} | how
    return await api.request(method, path, json=body, headers={"If-Match": tag} if tag else {})


def shows(found: dict[str, Any], how: dict[str, Any]) -> bool:
    if "schedules" in how:
        return [one["when"]["times"] for one in found["schedules"]] == [["02:30:00"]]
    return all(found[name] == value for name, value in how.items())


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@things
async def test_of_two_that_change_the_same_version_at_once_one_wins_and_one_is_told(
    api: Api, thing: Thing, method: str
) -> None:
    if method == "PUT" and not thing.put:
        pytest.skip("it has no PUT")
    path = await thing.make(api)
    before, tag = await read(api, path)
    answers = await asyncio.gather(*(change(api, thing, path, how, method, tag) for how in (thing.one, thing.other)))
    assert sorted(one.status_code for one in answers) == [200, 412], [one.text for one in answers]
    won = next(one for one in answers if one.status_code == 200)
    lost = next(one for one in answers if one.status_code == 412).json()
    now, newer = await read(api, path)
    assert newer == won.headers["etag"] == f'"{before["version"] + 1}"'
    assert shows(now, thing.one if won is answers[0] else thing.other)
    assert not shows(now, thing.other if won is answers[0] else thing.one)
    assert (lost["code"], lost["params"]["version"]) == ("changed_meanwhile", now["version"])
    assert lost["params"]["changed_by"] == "admin"
    assert lost["params"]["changed_at"]
    named = set(lost["params"]["fields"] or ())
    assert named & {*(thing.one if won is answers[0] else thing.other), "tags"} or "servers" in thing.one
    assert lost["remedy"]


@things
async def test_patches_of_different_fields_at_once_both_stay(api: Api, thing: Thing) -> None:
    if thing is ONE_FIELD:
        pytest.skip("it has one field")
    path = await thing.make(api)
    before, _ = await read(api, path)
    answers = await asyncio.gather(*(change(api, thing, path, how, "PATCH", "") for how in (thing.one, thing.other)))
    assert [one.status_code for one in answers] == [200, 200], [one.text for one in answers]
    now, _ = await read(api, path)
    assert shows(now, thing.one)
    assert shows(now, thing.other)
    assert now["version"] == before["version"] + 2


@things
async def test_what_changes_nothing_raises_no_version_and_still_has_to_match(api: Api, thing: Thing) -> None:
    path = await thing.make(api)
    first = await change(api, thing, path, thing.one, "PATCH", "")
    again = await change(api, thing, path, thing.one, "PATCH", first.headers["etag"])
    assert (again.status_code, again.headers["etag"]) == (200, first.headers["etag"]), again.text
    stale = await change(api, thing, path, thing.one, "PATCH", '"1"')
    assert (stale.status_code, stale.json()["code"]) == (412, "changed_meanwhile")


@things
async def test_a_deletion_honours_if_match(api: Api, thing: Thing) -> None:
    if thing in NEVER_DELETED:
        pytest.skip("it is not deleted")
    path = await thing.make(api)
    assert (await change(api, thing, path, thing.one, "PATCH", "")).status_code == 200
    assert (await api.delete(path, headers={"If-Match": '"1"'})).status_code == 412
    assert (await api.get(path)).status_code == 200
    _, tag = await read(api, path)
    assert (await api.delete(path, headers={"If-Match": tag})).status_code in {204, 409}


@things
async def test_lists_show_the_version(api: Api, thing: Thing) -> None:
    path = await thing.make(api)
    await change(api, thing, path, thing.one, "PATCH", "")
    now, _ = await read(api, path)
    if "id" in now:
        listed = (await api.get(path.rpartition("/")[0])).json()
        items = listed if isinstance(listed, list) else listed["items"]
        (now,) = (one for one in items if one["id"] == now["id"])
    assert now["version"] == 2


async def test_the_answer_tells_of_all_that_changed_since(api: Api) -> None:
    path = await server(api)
    for how in ({"port": 2222}, {"username": "backup"}, {"tags": ["eu"]}):
        assert (await api.patch(path, json=how)).status_code == 200
    since = {'"1"': ["port", "tags", "username"], '"3"': ["tags"], '"1", "2"': ["tags", "username"]}
    for tag, fields in since.items():
        answer = await api.patch(path, json={"port": 22}, headers={"If-Match": tag})
        assert (answer.status_code, answer.json()["params"]["fields"]) == (412, fields), answer.text
    assert answer.json()["params"]["version"] == 4


@pytest.mark.parametrize("thing", [THINGS["pool"], THINGS["window"]], ids=["pool", "window"])
async def test_a_put_that_old_programs_do_not_know_asks_for_a_version(api: Api, thing: Thing) -> None:
    path = await thing.make(api)
    answer = await change(api, thing, path, thing.one, "PUT", "")
    assert (answer.status_code, answer.json()["code"]) == (428, "precondition_required"), answer.text
    assert (await read(api, path))[1] == '"1"'
    assert (await change(api, thing, path, thing.one, "PUT", "*")).status_code == 200


async def test_a_threshold_has_the_version_of_what_was_set_for_exactly_these_servers(api: Api) -> None:
    await server(api)
    path = "/api/thresholds/disk?server=web1"
    refused = await api.patch(path, json={"warning": 71}, headers={"If-Match": '"1"'})
    assert (refused.status_code, refused.json()["key"]) == (412, "changed_meanwhile.gone"), "nothing was set"
    first = await api.patch(path, json={"warning": 71})
    assert (first.status_code, first.headers["etag"], first.json()["decided_by"]) == (200, '"1"', "server"), first.text
    changes = ({"critical": 97}, {"for_seconds": 30})
    answers = await asyncio.gather(*(api.patch(path, json=how, headers={"If-Match": '"1"'}) for how in changes))
    assert sorted(one.status_code for one in answers) == [200, 412]
    lost = next(one for one in answers if one.status_code == 412).json()["params"]
    assert (lost["changed_by"], lost["version"]) == ("admin", 2)
    assert lost["fields"] in (["critical"], ["for_seconds"])
    found = {one["kind"]: one for one in (await api.get("/api/thresholds?server=web1")).json()}
    assert (found["disk"]["version"], found["cpu"]["version"]) == (2, 0)
    assert (await api.delete(path, headers={"If-Match": '"1"'})).status_code == 412
    assert (await api.delete(path, headers={"If-Match": '"2"'})).status_code == 204


async def test_roles_are_a_part_of_their_user_and_pauses_have_versions(api: Api) -> None:
    path = await user(api)
    viewer, operator = {"grants": [{"role": "viewer"}]}, {"grants": [{"role": "operator"}]}
    first = await api.put(f"{path}/grants", json=viewer, headers={"If-Match": '"1"'})
    assert (first.status_code, first.headers["etag"]) == (200, '"2"'), first.text
    again = await api.put(f"{path}/grants", json=viewer, headers={"If-Match": '"2"'})
    assert (again.status_code, again.headers["etag"]) == (200, '"2"'), "nothing was changed"
    lost = await api.put(f"{path}/grants", json=operator, headers={"If-Match": '"1"'})
    assert (lost.status_code, lost.json()["params"]["fields"]) == (412, ["grants"]), lost.text
    for reason, tag in (("a", "1"), ("b", "2"), ("b", "2")):
        answer = await api.put("/api/pauses", json={"reason": reason})
        assert answer.headers["etag"] == f'"{tag}"'
    assert (await api.put("/api/pauses", json={}, headers={"If-Match": '"1"'})).status_code == 412
    assert (await api.delete("/api/pauses", headers={"If-Match": '"1"'})).status_code == 412
    assert (await api.delete("/api/pauses", headers={"If-Match": '"2"'})).status_code == 204


async def test_a_tag_that_gets_another_name_is_a_change_of_what_shows_it(api: Api) -> None:
    path = await server(api)
    assert (await api.patch(path, json={"tags": ["eu", "db"]})).headers["etag"] == '"2"'
    tags = {one["name"]: f"/api/tags/{one['id']}" for one in (await api.get("/api/tags")).json()["items"]}
    assert (await api.patch(tags["eu"], json={"name": "europe"})).status_code == 200
    assert (await read(api, path))[0]["tags"] == ["europe", "db"]
    assert (await api.delete(f"{tags['db']}?from_servers=true")).status_code == 204
    now, etag = await read(api, path)
    assert (now["tags"], etag) == (["europe"], '"4"')
    stale = await api.patch(path, json={"tags": ["eu"]}, headers={"If-Match": '"2"'})
    assert (stale.status_code, stale.json()["params"]["changed_by"]) == (412, None), stale.text


@pytest.mark.parametrize("way", ["all", "any", "none"])
async def test_nobody_saves_the_old_name_of_a_tag_anew_in_a_group_a_window_or_a_threshold(api: Api, way: str) -> None:
    renamed = await tag(api)
    body = {"starts_at": "2027-01-31T22:00:00+01:00", "ends_at": "2027-02-01T04:00:00+01:00", "tag": "eu"}
    group_in = {"name": "sites", "all": ["db"] if way != "all" else [], way: ["eu"]}
    paths = [f"/api/groups/{(await made(api, '/api/groups', group_in))['id']}"]
    paths.append(f"/api/maintenance-windows/{(await made(api, '/api/maintenance-windows', body))['id']}")
    others = [await window(api), await group(api)]
    assert (await api.patch("/api/thresholds/disk?tag=eu", json={"warning": 71})).headers["etag"] == '"1"'
    assert (await api.patch(renamed, json={"name": "europe"})).status_code == 200
    found = await asyncio.gather(*(read(api, one) for one in paths))
    assert [one["version"] for one, _ in found] == [2, 2]
    assert (found[0][0][way], found[1][0]["tag"]) == (["europe"], "europe")
    assert [(await read(api, one))[1] for one in others] == ['"1"', '"1"'], "they name no such tag"
    (rule,) = [one for one in (await api.get("/api/thresholds?tag=europe")).json() if one["kind"] == "disk"]
    assert (rule["version"], rule["warning"]) == (2, 71)
    for path, how in zip(paths, ({way: ["eu"]}, {"tag": "eu", "reason": "x"}), strict=True):
        assert (await api.patch(path, json=how, headers={"If-Match": '"1"'})).status_code == 412
    for name in ("eu", "europe"):
        stale = await api.patch(f"/api/thresholds/disk?tag={name}", json={"warning": 72}, headers={"If-Match": '"1"'})
        assert stale.status_code == 412, name
    assert [one["name"] for one in (await api.get("/api/tags")).json()["items"]] == ["db", "europe"]


async def test_an_edit_of_a_secret_is_an_edit(api: Api) -> None:
    path = await server(api)
    answer = await api.patch(path, json={"password": "once"}, headers={"If-Match": '"1"'})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"'), answer.text
    assert "once" not in answer.text


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_if_match_is_read_as_the_standard_says(api: Api, method: str) -> None:
    body = None if method == "DELETE" else {"host": "192.0.2.2"}
    wrong: list[Any] = []
    for number, (lines, status) in enumerate(IF_MATCH.values()):
        path = await server(api, f"web{number}")
        answer = await api.request(method, path, json=body, headers=[("If-Match", line) for line in lines])
        there = await api.get(path)
        changed = there.status_code == 404 or there.json()["host"] == "192.0.2.2"
        code = answer.json()["code"] if answer.content and answer.status_code != 200 else ""
        expected = {200: "", 412: "changed_meanwhile", 400: "if_match_malformed"}[status]
        done = 204 if (method, status) == ("DELETE", 200) else status
        if (answer.status_code, code, changed) != (done, expected, status == 200):
            wrong.append((lines, answer.status_code, code, changed))
    assert wrong == []


PATCHES: dict[str, tuple[dict[str, Any], int, dict[str, Any] | str]] = {
    "empty": ({}, 200, {}),
    "one field": ({"compression": "lz4"}, 200, {"compression": "lz4"}),
    "null takes the default": ({"compression": None}, 200, {"compression": "zstd,3"}),
    "null removes": ({"rpo_seconds": None}, 200, {"rpo_seconds": None}),
    "null takes schedules away": ({"schedules": None}, 200, {"schedules": []}),
    "a list is replaced whole": ({"sources": ["/a", "/b"]}, 200, {"sources": ["/a", "/b"]}),
    "nested": ({"retention": {"keep_daily": 3}}, 200, {"retention": {"keep_last": 5, "keep_daily": 3}}),
    "nested null removes": ({"retention": {"keep_daily": None}}, 200, {"retention": {"keep_last": 5, "keep_daily": 0}}),
    "a whole object removed": ({"retention": None}, 200, {"retention": None}),
    "null of what has to be there": ({"name": None}, 422, "/name"),
    "unknown": ({"sorces": ["/a"]}, 422, "/sorces"),
    "unknown, removed": ({"sorces": None}, 422, "/sorces"),
    "unknown within": ({"retention": {"keep_dayly": 3}}, 422, "/retention/keep_dayly"),
    "unknown within, removed": ({"retention": {"keep_dayly": None}}, 422, "/retention/keep_dayly"),
    "what is shown, and is not defined": ({"version": 7}, 422, "/version"),
    "wrong type": ({"sources": "/a"}, 422, "/sources"),
    "wrong type within": ({"retention": {"keep_daily": "x"}}, 422, "/retention/keep_daily"),
    "an object that becomes a number": ({"retention": 5}, 422, "/retention"),
    "an empty list": ({"sources": []}, 422, "/sources"),
}


@pytest.mark.parametrize("kind", ["application/merge-patch+json", "application/json; charset=utf-8"])
async def test_a_patch_changes_what_it_names(api: Api, kind: str) -> None:
    path = await backup_job(api)
    full = {"retention": {"keep_last": 5, "keep_daily": 7}, "compression": "lz4", "rpo_seconds": 3600}
    first, _ = await read(api, path)
    whole = {name: first[name] for name in JOB} | full | {"schedules": [NIGHTLY]}
    for what, (patch, status, expected) in PATCHES.items():
        assert (await api.put(path, json=whole)).status_code == 200
        before, _ = await read(api, path)
        answer = await api.patch(path, json=patch, headers={"Content-Type": kind})
        assert answer.status_code == status, f"{what}: {answer.text}"
        now, _ = await read(api, path)
        if isinstance(expected, str):
            assert [(one["location"], one["pointer"]) for one in answer.json()["errors"]] == [("body", expected)], what
            assert now == before, what
            continue
        kept = {name: value for name, value in (now["retention"] or {}).items() if name in ("keep_last", "keep_daily")}
        shown = now | {"retention": kept if now["retention"] else None}
        assert {name: shown[name] for name in expected} == expected, what
        same = set(now) - set(patch) - {"version"}
        assert {name: now[name] for name in same} == {name: before[name] for name in same}, what
        assert now["version"] == before["version"] + (now != before), what


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        ("application/json-patch+json", b'[{"op": "remove", "path": "/host"}]', 415, "not_merge_patch"),
        ("text/plain", b"{}", 415, "not_json"),
        ("application/merge-patch+json", b"[]", 422, "invalid"),
        ("application/merge-patch+json", b"null", 422, "invalid"),
        ("application/merge-patch+json", b'"x"', 422, "invalid"),
        ("application/merge-patch+json", b"{", 400, "malformed_json"),
        ("application/merge-patch+json", b'{"port": 1, "port": 2}', 400, "malformed_json"),
        ("application/merge-patch+json", b"", 422, "invalid"),
    ],
)
async def test_what_is_no_merge_patch_is_refused(api: Api, kind: str, body: bytes, status: int, code: str) -> None:
    path = await server(api)
    answer = await api.patch(path, content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert (await read(api, path))[1] == '"1"'


async def test_what_services_write_raises_no_version(api: Api, db: Database) -> None:
    job = await backup_job(api)
    path = f"/api/servers/{(await read(api, job))[0]['server_id']}"
    _, tag = await read(api, path)

    async def serve(tx: UnitOfWork) -> None:
        row = await tx.session.get_one(Server, uuid.UUID(path.rpartition("/")[2]))
        row.state, row.facts, row.last_seen_at = "ready", {"os": "Debian"}, await tx.session.scalar(select(db_now()))
        tx.session.add(ServerStatus(server_id=row.id, up=True, checked_at=row.last_seen_at))
        await tx.session.execute(update(BackupJob).values(priority=BackupJob.priority))

    await db.run(serve)
    for other in (f"{path}/setup", f"{job}/run"):
        assert (await api.post(other)).status_code == 202
    assert (await read(api, path))[1] == tag
    assert (await read(api, job))[1] == '"1"'
    assert (await api.patch(path, json={"port": 2222}, headers={"If-Match": tag})).status_code == 200


async def test_a_lost_answer_is_given_again_with_its_tag(api: Api) -> None:
    path = await server(api)
    headers = {"If-Match": '"1"'} | key("k")
    answers = [await api.patch(path, json={"port": 2222}, headers=headers) for _ in range(2)]
    assert [one.status_code for one in answers] == [200, 200], "the second one is no 412"
    assert [one.headers["etag"] for one in answers] == ['"2"', '"2"']
    assert answers[1].headers["idempotency-replayed"] == "true"
    for other in ({"If-Match": '"2"'}, {"If-Match": "*"}, {}):
        answer = await api.patch(path, json={"port": 2222}, headers=other | key("k"))
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused"), other


async def test_what_was_read_before_another_changed_it_is_done_again(
    api: Api, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no lock held the row, as in SQLite and in routes that take none, the version decides."""
    path = await server(api)
    tries = 0
    raised = "services.api.kernel.versions.Versions._raise"
    real: Any = __import__("services.api.kernel.versions", fromlist=["Versions"]).Versions._raise

    def meanwhile(self: Any, session: Any, context: Any, instances: Any) -> None:
        nonlocal tries
        rows = [row for row in session.dirty if isinstance(row, Server)]
        if rows:
            tries += 1
        if rows and tries == 1:
            table = Server.__table__
            session.connection().execute(update(table).values(version=table.c.version + 1))
        real(self, session, context, instances)

    monkeypatch.setattr(raised, meanwhile)
    answer = await api.patch(path, json={"port": 2222})
    assert (answer.status_code, answer.json()["port"], tries) == (200, 2222, 2), answer.text


def test_each_definition_is_made_of_columns_that_there_are() -> None:
    tables = [one.class_ for one in Base.registry.mappers if issubclass(one.class_, Versioned)]
    assert len(tables) > 10
    for table in tables:
        columns = set(table.__table__.c.keys())
        assert table.DEFINITION, table
        assert columns - {"version"} > table.DEFINITION, table


@pytest.mark.parametrize("kind", ["limits", "backup job"])
async def test_a_definition_that_holds_the_version_it_was_made_from_replaces_no_other(api: Api, kind: str) -> None:
    """As of a program that sends back what GET shows, with its changes."""
    thing = THINGS[kind]
    path = await thing.make(api)
    shown, _ = await read(api, path)
    body = {name: shown[name] for name in (*thing.put, "version")}
    assert (await api.put(path, json=body | thing.one)).status_code == 200
    late = await api.put(path, json=body | thing.other)
    assert (late.status_code, late.json()["code"]) == (412, "changed_meanwhile")
    assert (await api.put(path, json=body | thing.other, headers={"If-Match": "*"})).status_code == 200
