"""A role for the servers with a tag shows, counts and changes nothing of any other server: every route is asked."""

from __future__ import annotations

import random
import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.orm import aliased

from services.api.features import ROUTERS
from services.api.kernel import merge
from services.api.kernel.guard import GuardedRoute
from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.stores.tags import set_server_tags
from shared.db.tables import (
    Archive,
    Base,
    Job,
    JobLog,
    MaintenanceWindow,
    Pause,
    Server,
    Tag,
)
from shared.db.visible import LIMITED, seeing
from shared.domain.files import SEARCH, Hit, SearchAnswer, SearchAsked, subject
from shared.domain.permissions import FLEET_ONLY, Permission
from shared.events.streams import STREAMS
from tests.harness.patience import WAIT
from tests.harness.world import NOW, RESTORE, WHY, World, about, body_for

ROUTES = [
    route
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, GuardedRoute)
    and isinstance(route.allow.rule, Permission)
    and route.allow.rule not in FLEET_ONLY
]
OF_NODES = ("/files", "/files/versions", "/stats", "/usage", "/diff/{other_id}")
"""What is asked of a node, or of what a node has told: none is here."""
OF_NO_SERVER = {"/api/files/search", "/api/fleet-key", "/api/job-kinds", "/api/schedules/preview"}
KNOWN = {
    "AlertRule", "ApiToken", "AuditCheck", "AuditSeal", "BackupNode", "ChannelTag", "CommitMark", "DeadLetter", "FourEyes",
    "Grant", "GroupTag", "IdempotencyKey", "KitEntry", "Lease", "LoginFlow", "LoginSession", "NotificationChannel",
    "OneTimeLink",
    "OutboxRow", "RecoveryCode", "RunLimits", "Secret", "ServerGroup", "ServiceInstance", "StoragePool", "Tag",
    "Throttle", "User",
}  # fmt: skip
"""Tables of the fleet, of accounts and of the machinery; what may be read of them needs a right for the fleet."""


@pytest.fixture
async def world(db: Database) -> World:
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    made = World(db, bus)
    await made.prepare()
    return made


async def test_no_route_shows_or_changes_a_server_of_another_tag_by_its_id(world: World) -> None:
    before = await world.rows()
    wrong: list[Any] = []
    asked = 0
    for route in ROUTES:
        named = "{" in route.path or route.path in {"/api/collect-stats", "/api/backup-wizard"}
        named = named or (route.path in {"/api/repositories", "/api/backup-jobs"} and "POST" in route.methods)
        if not named:
            continue
        (method,) = sorted(route.methods - {"HEAD"})[:1]
        answer = await world.ask("eu", method, about(route, world.other), body_for(route, world.other))
        asked += 1
        if answer.status_code != 404 or "other" in answer.text:
            wrong.append((method, route.path, answer.status_code, answer.text[:300]))
    assert wrong == []
    assert asked > 40
    assert await world.rows() == before


async def test_every_list_shows_what_is_ones_own_and_nothing_else(world: World) -> None:
    wrong: list[Any] = []
    asked = 0
    for route in ROUTES:
        if "GET" not in route.methods or "{" in route.path or route.path in OF_NO_SERVER:
            continue
        for path in (route.path, f"{route.path}?count=true&limit=1"):
            answer = await world.ask("eu", "GET", path)
            if answer.status_code == 422 and "?" in path:
                continue  # it has no pages
            asked += 1
            sees_own = "mine" in answer.text or str(world.mine["server_id"]) in answer.text
            whole = answer.json() if answer.status_code == 200 else {}
            counted = whole.get("total") if isinstance(whole, dict) else None
            if answer.status_code != 200 or "other" in answer.text or not sees_own or counted not in (None, 1):
                wrong.append((path, answer.status_code, answer.text[:400]))
    assert wrong == []
    assert asked > 12
    for who, name in (("eu", "mine"), ("us", "other")):
        for route in ROUTES:
            if "GET" in route.methods and "{" in route.path and not route.path.endswith(OF_NODES):
                own = world.mine if who == "eu" else world.other
                answer = await world.ask(who, "GET", about(route, own))
                assert answer.status_code == 200, (who, name, route.path, answer.text)


async def test_a_right_for_some_servers_does_not_reach_what_holds_for_all(world: World) -> None:
    late = (NOW + timedelta(days=900)).isoformat()
    cases: list[tuple[str, str, Any]] = [
        ("POST", "/api/servers", {"name": "new", "host": "192.0.2.9", "tags": ["eu"]}),
        ("PUT", f"/api/servers/{world.mine['server_id']}", {"host": "192.0.2.1", "tags": ["us"]}),
        ("PUT", f"/api/servers/{world.mine['server_id']}", {"host": "192.0.2.1", "tags": []}),
        ("PUT", "/api/pauses", {"reason": WHY}),
        ("DELETE", "/api/pauses", None),
        ("POST", "/api/maintenance-windows", {"starts_at": NOW.isoformat(), "ends_at": late}),
        ("POST", "/api/maintenance-windows", {"starts_at": NOW.isoformat(), "ends_at": late, "tag": "eu"}),
    ]
    for method, path, body in cases:
        answer = await world.ask("eu", method, path, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path, answer.text)
    for method, path, body in (
        ("PUT", f"/api/servers/{world.mine['server_id']}", {"host": "192.0.2.1", "tags": ["eu"]}),
        ("PUT", "/api/pauses?server=mine", {"reason": WHY}),
        ("DELETE", "/api/pauses?server=mine", None),
        ("POST", "/api/maintenance-windows", {"starts_at": NOW.isoformat(), "ends_at": late, "server": "mine"}),
    ):
        answer = await world.ask("eu", method, path, body)
        assert answer.status_code < 300, (method, path, answer.text)
    for method, path, body in (
        ("PUT", "/api/pauses?server=other", {"reason": WHY}),
        ("POST", "/api/maintenance-windows", {"starts_at": NOW.isoformat(), "ends_at": late, "server": "other"}),
    ):
        assert (await world.ask("eu", method, path, body)).status_code == 404
    await world.ask("eu", "DELETE", "/api/pauses?server=other")
    assert "other" in (await world.ask("us", "GET", "/api/pauses")).text


async def test_a_pause_of_the_whole_fleet_is_seen_and_not_taken_back(world: World) -> None:
    async def add(tx: Any) -> uuid.UUID:
        window = MaintenanceWindow(starts_at=NOW, ends_at=NOW + timedelta(days=900), reason="for all")
        tx.session.add_all([Pause(reason="for all"), window])
        await tx.session.flush()
        return window.id

    window_id = await world.db.run(add)
    for path in ("/api/pauses", "/api/maintenance-windows"):
        assert "for all" in (await world.ask("eu", "GET", path)).text
    assert (await world.ask("eu", "DELETE", f"/api/maintenance-windows/{window_id}")).status_code == 403


async def test_who_tags_a_server_cannot_widen_a_role(world: World) -> None:
    """A fleet's operator who is also administrator of a tag would make himself administrator of everything."""
    await world.token("both", ("operator", None), ("admin", "eu"))
    path = f"/api/servers/{world.other['server_id']}"
    answer = await world.ask("both", "PUT", path, {"host": "192.0.2.1", "tags": ["us", "eu"]})
    assert answer.status_code == 403, answer.text
    answer = await world.ask("both", "PUT", path, {"host": "192.0.2.1", "tags": ["us", "plain"]})
    assert answer.status_code == 200, answer.text


async def test_a_token_for_a_tag_is_limited_as_a_role_is(world: World) -> None:
    await world.token("narrow", ("admin", None), limited_to=["us"])
    shown = (await world.ask("narrow", "GET", "/api/servers")).json()["items"]
    assert [server["name"] for server in shown] == ["other"]
    assert (await world.ask("narrow", "GET", "/api/users")).status_code == 403


async def test_a_server_that_loses_its_tag_is_gone_at_once(world: World) -> None:
    async def untag(tx: Any) -> None:
        await set_server_tags(tx.session, await tx.session.get_one(Server, world.mine["server_id"]), [])

    await world.ask("eu", "GET", "/api/servers")  # who asks is remembered
    await world.db.run(untag)
    assert (await world.ask("eu", "GET", "/api/servers")).json()["items"] == []
    assert (await world.ask("eu", "GET", f"/api/servers/{world.mine['server_id']}")).status_code == 404


async def test_two_rights_of_one_request_hold_each_for_its_own_servers(world: World) -> None:
    """To restore elsewhere, or to try again, needs a second right: it may be for fewer servers than the first."""
    await world.token("mixed", ("restore_operator", None), ("admin", "us"))
    body = RESTORE | {"target_server_id": str(world.mine["server_id"])}
    answer = await world.ask("mixed", "POST", f"/api/backups/{world.other['backup_id']}/restores", body)
    assert answer.status_code == 403, answer.text
    body = RESTORE | {"target_server_id": str(world.other["server_id"])}
    answer = await world.ask("mixed", "POST", f"/api/backups/{world.mine['backup_id']}/restores", body)
    assert answer.status_code == 202, answer.text
    assert (await world.ask("us", "POST", f"/api/jobs/{world.other['job_id']}/retry")).status_code == 202


async def test_an_undo_on_another_server_needs_the_right_to_restore_there(world: World) -> None:
    await world.token("mixed", ("restore_operator", None), ("admin", "us"))
    undo = {"possible": True, "items": [[0, "1", None]]}

    async def swapped(to: str) -> uuid.UUID:
        job = Job(type="archive_restore", state="succeeded", server_id=world.mine["server_id"], result={"undo": undo},
                  params={"mode": "swap", "items": ["YQ=="], "target_server_id": to})  # fmt: skip

        async def add(tx: Any) -> uuid.UUID:
            tx.session.add(job)
            await tx.session.flush()
            return job.id

        return await world.db.run(add)

    unknown = await swapped(str(world.mine["server_id"]))
    assert (await world.ask("us", "POST", f"/api/jobs/{unknown}/undo")).status_code == 404
    assert (await world.ask("mixed", "POST", f"/api/jobs/{unknown}/undo")).status_code == 202
    elsewhere = await swapped(str(world.other["server_id"]))
    assert (await world.ask("mixed", "POST", f"/api/jobs/{elsewhere}/undo")).status_code == 202
    await world.token("own", ("restore_operator", None))
    assert (await world.ask("own", "POST", f"/api/jobs/{elsewhere}/undo")).status_code == 403


@pytest.mark.parametrize("kind", ["archive_restore", "restore_undo"])
async def test_a_retry_on_another_server_needs_the_right_to_restore_there(world: World, kind: str) -> None:
    await world.token("mixed", ("restore_operator", None), ("operator", None), ("admin", "us"))
    await world.token("own", ("restore_operator", None), ("operator", None))

    async def failed(to: uuid.UUID) -> uuid.UUID:
        job = Job(type=kind, state="failed", server_id=world.mine["server_id"], params={"target_server_id": str(to)})

        async def add(tx: Any) -> uuid.UUID:
            tx.session.add(job)
            await tx.session.flush()
            return job.id

        return await world.db.run(add)

    job = await failed(world.other["server_id"])
    refused = await world.ask("own", "POST", f"/api/jobs/{job}/retry")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), refused.text
    assert (await world.ask("mixed", "POST", f"/api/jobs/{job}/retry")).status_code == 202
    own = await failed(world.mine["server_id"])
    assert (await world.ask("own", "POST", f"/api/jobs/{own}/retry")).status_code == 202


async def test_the_limits_of_the_whole_fleet_hold_for_who_sees_a_part(world: World) -> None:
    """The runs of servers that one does not see take their slots all the same."""
    await world.token("all", ("admin", None))
    assert (await world.ask("all", "PUT", "/api/limits", {"fleet": 1})).status_code == 200
    first = await world.ask("all", "POST", f"/api/backup-jobs/{world.other['backup_job_id']}/run")
    assert (first.status_code, first.json()["waiting_for"]) == (202, None), first.text
    second = await world.ask("eu", "POST", f"/api/backup-jobs/{world.mine['backup_job_id']}/run")
    assert (second.status_code, second.json()["waiting_for"]) == (202, "a free slot"), second.text


@pytest.mark.parametrize("at_once", [2, 300])
async def test_pages_of_some_servers_are_whole_and_in_order(
    world: World, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(merge, "_AT_ONCE", at_once)
    chance = random.Random(at_once)
    expected: list[str] = []

    async def fill(tx: Any) -> None:
        for number in range(5):
            server = Server(name=f"s{number}", host="h", username="root", facts={})
            tx.session.add(server)
            await set_server_tags(tx.session, server, ["many" if number < 3 else "us"])
            for _ in range(chance.randint(2, 12)):
                created_at = NOW - timedelta(seconds=chance.randint(0, 20))  # some at the same moment
                job = Job(type="stats_collect", state=chance.choice(["failed", "succeeded"]), server_id=server.id)
                job.created_at = created_at
                tx.session.add(job)
                await tx.session.flush()
                if number < 3:
                    expected.append(str(job.id))

    await world.db.run(fill)
    await world.token("many", ("viewer", "many"))
    for query in ("", "state=failed&", "state=succeeded&"):
        seen: list[Any] = []
        path: str | None = f"/api/jobs?{query}limit=4"
        while path:
            page = (await world.ask("many", "GET", path)).json()
            seen += page["items"]
            path = f"/api/jobs?{query}limit=4&after={page['next']}" if page["next"] else None
        ids = [one["id"] for one in seen]
        assert len(ids) == len(set(ids))
        assert set(ids) == set(expected) if not query else set(ids) <= set(expected)
        assert seen == sorted(seen, key=lambda one: one["created_at"], reverse=True)
    assert len(expected) > 4


async def test_statements_of_every_form_are_limited(world: World) -> None:
    """A subquery, an alias, a join, a count, a change: a feature may ask in any way."""

    servers = frozenset({world.mine["server_id"]})
    other = world.other
    async with world.db.transaction() as tx:
        session = tx.session
        with seeing(session, servers):
            again = aliased(Server)
            assert await session.scalar(select(func.count()).select_from(Job)) == 1
            assert (await session.scalars(select(again.name))).all() == ["mine"]
            assert await session.get(Archive, other["backup_id"]) is None
            assert (await session.scalars(select(Tag.name).where(exists().where(Server.name == "other")))).all() == []
            inner = select(Job.server_id).where(Job.title == "other job")
            assert (await session.scalars(select(Tag.name).where(inner.exists()))).all() == []
            pairs = await session.execute(
                select(Server.name, Archive.name).join(Archive, Archive.server_id == Server.id)
            )
            assert [tuple(row) for row in pairs] == [("mine", "mine-a")]
            union = select(Server.name).where(Server.name == "mine").union_all(select(Server.name))
            assert sorted(row[0] for row in await session.execute(union)) == ["mine", "mine"]
            changed = await session.execute(update(Job).values(title="taken"))
            assert changed.rowcount == 1  # type: ignore[attr-defined] - of an UPDATE
            gone = await session.execute(delete(JobLog).where(JobLog.job_id == other["job_id"]))
            assert gone.rowcount == 0  # type: ignore[attr-defined] - of a DELETE
        with seeing(session, frozenset()):
            assert (await session.scalars(select(Server.name))).all() == []
        assert sorted((await session.scalars(select(Server.name))).all()) == ["mine", "other"]
        assert sorted((await session.scalars(select(Job.title))).all()) == ["other job", "taken"]


def test_every_table_says_whether_it_is_limited() -> None:
    """A new table with rows of servers would be shown whole to those who may see a few."""
    tables = {mapper.class_.__name__ for mapper in Base.registry.mappers}
    limited = {one.__name__ for one in LIMITED}
    assert tables - limited == KNOWN - limited
    with_server = {
        mapper.class_.__name__
        for mapper in Base.registry.mappers
        if {"server_id", "backup_job_id", "repository_id", "archive_id", "job_id", "server"}
        & set(mapper.columns.keys())
    }
    assert with_server - limited == set()


async def test_a_search_goes_through_the_repositories_of_ones_own_servers_whatever_a_node_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.api.features.files.times.CATALOGUE_SECONDS", WAIT)  # else a slow node is left out
    asked: list[SearchAsked] = []

    async def answered(payload: bytes) -> bytes:
        asked.append(SearchAsked.model_validate_json(payload))
        hits = [
            Hit(
                repository_id=of["repository_id"],
                path=b"srv/secret",
                type="-",
                size=1,
                mtime=1,
                borg_id="0" * 64,
                first_at=1,
                last_at=2,
                gone_since=None,
                whole=True,
            )
            for of in (world.mine, world.other)
        ]
        return SearchAnswer(rows=hits).model_dump_json().encode()

    listening = await world.bus.serve(subject(SEARCH, "node"), answered)
    answer = await world.ask("eu", "GET", "/api/files/search?q=secret")
    await listening.close()
    assert answer.status_code == 200, answer.text
    assert [one.repository_ids for one in asked] == [[world.mine["repository_id"]]]
    items = [one["repository_id"] for one in answer.json()["items"]]
    assert items == [str(world.mine["repository_id"])], answer.text
