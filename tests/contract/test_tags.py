"""Tags by id: what refers to one goes on under its new name, is never for more servers, and no older version is ignored."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import delete, insert, select, text, update

from services.api.app import build_app
from services.api.kernel.tags import having
from services.stats.alerts.audience import load_audience
from services.stats.alerts.evaluate import load_rules
from services.stats.metrics.queries import load_figures
from shared.bus.memory import MemoryBus
from shared.config.settings import Settings
from shared.db.queries.tags import tags_by_server_name
from shared.db.session import Database
from shared.db.stores.adoption import adopt
from shared.db.stores.tags import set_server_tags
from shared.db.tables import (
    AlertRule,
    ApiToken,
    MaintenanceWindow,
    NotificationChannel,
    Pause,
    Server,
    ServerTag,
    Tag,
)
from shared.domain.alerts import AlertKind
from shared.domain.ids import new_id
from shared.runtime.service import Parts

TOKEN = "bf_tags"
WINDOW = {"starts_at": "2026-01-01T00:00:00Z", "ends_at": "2090-01-01T00:00:00Z"}
ON = {"warning": 50, "critical": 60}


class NoSender:
    async def check(self, address: Any) -> None:
        pass


class Api:
    """The gateway, asked as a client does."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def __call__(self, method: str, path: str, status: int = 200, /, **body: Any) -> Any:
        answer = await self.http.request(method.upper(), path, json=body or None)
        assert answer.status_code == status, (method, path, body, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def server(self, name: str, *tags: str) -> Any:
        return await self("post", "/api/servers", 201, name=name, host="192.0.2.1", tags=list(tags))

    async def tag(self, name: str) -> Any:
        return next(one for one in (await self("get", "/api/tags"))["items"] if one["name"] == name)

    async def named(self, *tags: str) -> list[str]:
        query = "&".join(f"tag={tag}" for tag in tags)
        return [one["name"] for one in (await self("get", f"/api/servers?{query}"))["items"]]


@pytest.fixture
async def api(db: Database) -> AsyncIterator[Api]:
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()

    async def add(tx: Any) -> None:
        tx.session.add(ApiToken(name="admin", digest=digest))

    await db.run(add)
    app = build_app(Parts(Settings(), db, MemoryBus(), CollectorRegistry()))
    app.state.gateway = dataclasses.replace(app.state.gateway, sender=NoSender())
    transport = httpx2.ASGITransport(app=app)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield Api(client)


async def wishes(db: Database) -> dict[str, set[str]]:
    """Of which tags each channel hears: an empty set stands for all servers."""

    async def work(tx: Any) -> dict[str, set[str]]:
        names = {row.id: row.name for row in await tx.session.scalars(select(NotificationChannel))}
        audience = await load_audience(tx, {})
        return {names[key]: set(wish.tags) for key, wish in audience.wishes.items()}

    return await db.run(work)


async def rules(db: Database) -> Any:
    return await db.run(lambda tx: load_rules(tx, datetime.now(UTC)))


async def stored(db: Database, column: Any) -> Any:
    async with db.read() as session:
        return (await session.scalars(select(column))).all()


async def test_a_renamed_tag_is_the_same_to_all_that_refers_to_it(api: Api, db: Database) -> None:
    web, _ = await api.server("web1", "eu", "db"), await api.server("web2", "DB")
    await api("put", "/api/thresholds/disk?tag=db", **ON)
    await api("post", "/api/maintenance-windows", 201, tag="db", **WINDOW)
    await api(
        "post", "/api/notification-channels", 201, name="ops", kind="webhook", url="https://a.example", tags=["db"]
    )
    await api("post", "/api/groups", 201, name="dbs", all=["db"])
    tag = await api.tag("db")
    assert {key: tag[key] for key in ("servers", "channels", "thresholds", "windows", "groups")} == dict.fromkeys(
        ("servers", "channels", "thresholds", "windows", "groups"), 1
    )
    changed = await api("patch", f"/api/tags/{tag['id']}", name="database", colour="#1F77B4", description="rows")
    assert (changed["name"], changed["colour"], changed["version"]) == ("database", "#1f77b4", 2)
    assert (await api("get", f"/api/servers/{web['id']}"))["tags"] == ["eu", "database"]
    assert await api.named("database") == ["web1"]
    assert await api.named("db") == []
    assert await api.named("DB") == ["web2"]
    found = await rules(db)
    assert found.threshold(AlertKind.DISK, "web1").warning == 50
    assert (found.is_quiet("web1"), found.is_quiet("web2")) == (True, False)
    assert await wishes(db) == {"ops": {"database"}}
    (group,) = (await api("get", "/api/groups"))["items"]
    assert group["all"] == ["database"]
    threshold = next(one for one in await api("get", "/api/thresholds?server=web1") if one["kind"] == "disk")
    assert threshold["decided_by"] == "tag:database"
    async with db.read() as session:
        exported = {labels[2] for name, labels, value in await load_figures(session)
                    if name == "borgfleet_threshold" and labels[0] == "disk" and value == 50}  # fmt: skip
    assert exported == {"web1"}
    # What an older version reads says the same, and so nothing is taken back by it.
    assert sorted(await stored(db, Server.tags)) == [["DB"], ["eu", "database"]]
    assert await stored(db, NotificationChannel.tags) == [["database"]]
    assert await stored(db, AlertRule.tag) == await stored(db, MaintenanceWindow.tag) == ["database"]
    await db.run(adopt)
    assert await wishes(db) == {"ops": {"database"}}
    answer = await api("patch", f"/api/tags/{tag['id']}", 409, name="DB")
    assert answer["code"] == "tag_name_taken"


async def test_a_tag_in_use_is_not_deleted_and_says_by_what(api: Api, db: Database) -> None:
    await api.server("web1", "db")
    await api("put", "/api/thresholds/disk?tag=rule", **ON)
    await api("post", "/api/maintenance-windows", 201, tag="window", **WINDOW)
    await api(
        "post", "/api/notification-channels", 201, name="ops", kind="webhook", url="https://a.example", tags=["ch"]
    )
    await api("post", "/api/groups", 201, name="g", none=["group"])
    told = {"db": "1 server", "rule": "1 threshold", "window": "1 window", "ch": "1 channel", "group": "1 group"}
    for name, said in told.items():
        tag = await api.tag(name)
        for query in ("", "?from_servers=true"):
            if name == "db" and query:
                continue
            problem = await api("delete", f"/api/tags/{tag['id']}{query}", 409)
            assert (problem["code"], problem["detail"]) == ("in_use", f"the tag {name} is in use: {said}")
    assert await wishes(db) == {"ops": {"ch"}}
    await api("delete", f"/api/tags/{(await api.tag('db'))['id']}?from_servers=true", 204)
    (server,) = (await api("get", "/api/servers"))["items"]
    assert server["tags"] == []
    assert await stored(db, Server.tags) == [[]]
    await db.run(adopt)
    assert "db" not in await stored(db, Tag.name)


async def test_what_an_older_version_writes_is_taken_over(api: Api, db: Database) -> None:
    await api.server("web1", "old", "kept")
    await api.server("web2", "old")
    await api(
        "post", "/api/notification-channels", 201, name="ops", kind="webhook", url="https://a.example", tags=["old"]
    )

    async def older(tx: Any) -> None:
        await tx.session.execute(update(Server).where(Server.name == "web1").values(tags=["new", "kept", "new"]))
        await tx.session.execute(update(NotificationChannel).values(tags=["new"]))
        rule = {"warning": 1.0, "critical": 2.0, "for_seconds": 0, "hysteresis": 0, "enabled": True}
        about = ({"server": "web1"}, {"tag": "new"}, {"server": "gone"}, {"tag": "nobody"})
        for one in about:
            whom = {"server": "", "tag": ""} | one
            await tx.session.execute(insert(AlertRule).values(id=new_id(), kind="cpu", **whom, **rule))
            window = {"starts_at": datetime.now(UTC) - timedelta(1), "ends_at": datetime.now(UTC) + timedelta(1)}
            await tx.session.execute(insert(MaintenanceWindow).values(id=new_id(), **whom, **window, reason=""))
        await tx.session.execute(insert(Pause).values(id=new_id(), server="web1", reason="", who=""))

    await db.run(older)
    before = await rules(db)
    assert before.quiet == frozenset(), "what has no id yet is for nobody, and never for the fleet"
    assert before.threshold(AlertKind.CPU, "web2").warning == 80
    assert await wishes(db) == {"ops": {"old"}}
    await db.run(adopt)
    assert (await tags(db)) == {"web1": ["new", "kept"], "web2": ["old"]}
    assert await api.named("new") == ["web1"]
    assert await wishes(db) == {"ops": {"new"}}
    after = await rules(db)
    assert after.quiet == {"server:web1", "tag:new", "tag:nobody"}
    assert (after.is_quiet("web1"), after.is_quiet("web2")) == (True, False)
    assert None not in await stored(db, Pause.server_id)
    assert len([one for one in await stored(db, AlertRule.server_id) if one]) == 1


async def tags(db: Database) -> dict[str, list[str]]:
    async with db.read() as session:
        return await tags_by_server_name(session)


UNREADABLE: tuple[Any, ...] = (5, None, {}, "db", [5], [["db"]], [None, True], ["a b"], {"db": 1})


@pytest.mark.parametrize("number", range(len(UNREADABLE)))
async def test_a_list_that_cannot_be_read_empties_no_tags_and_lets_no_channel_hear_of_all(
    api: Api, db: Database, number: int
) -> None:
    server = await api.server("web1", "db")
    for name, of in (("all", []), ("ops", ["db"])):
        await api(
            "post", "/api/notification-channels", 201, name=name, kind="webhook", url="https://a.example", tags=of
        )
    for owner in (Server, NotificationChannel):
        await db.run(lambda tx, owner=owner: tx.session.execute(update(owner).values(tags=UNREADABLE[number])))
    await db.run(adopt)
    assert await tags(db) == {"web1": ["db"]}
    assert await wishes(db) == {"ops": {"db"}}, "the other's list may have held anything: it hears of nothing"
    shown = await api("get", f"/api/servers/{server['id']}")
    assert shown["tags"] == ["db"]
    assert shown["unreadable"] == ["tags"]
    given = await api("put", f"/api/servers/{server['id']}", host="192.0.2.1", tags=["web"])
    assert given["tags"] == ["web"]
    assert await stored(db, Server.tags) == [["web"]]


async def test_a_rule_goes_with_its_server_and_is_not_the_next_ones_of_that_name(api: Api, db: Database) -> None:
    server = await api.server("web1", "db")
    await api("put", "/api/thresholds/disk?server=web1", **ON)
    await api("post", "/api/maintenance-windows", 201, server="web1", **WINDOW)
    await api("put", "/api/pauses?server=web1", reason="move")
    await api("delete", f"/api/servers/{server['id']}", 204)
    await api.server("web1")
    await db.run(adopt)
    found = await rules(db)
    assert (found.by_kind, found.quiet) == ({}, frozenset())
    assert await api("get", "/api/pauses") == []
    assert (await api.tag("db"))["servers"] == 0


async def test_many_that_name_a_new_tag_at_once_make_it_once(db: Database) -> None:
    names = [f"s{n}" for n in range(6)]

    async def add(tx: Any) -> None:
        tx.session.add_all(Server(name=name, host="h", facts={}) for name in names)

    await db.run(add)

    async def give(name: str) -> None:
        async def work(tx: Any) -> None:
            server = await tx.session.scalar(select(Server).where(Server.name == name))
            await set_server_tags(tx.session, server, ["b", "a", "c"] if name > "s2" else ["c", "a", "b"])

        await db.run(work)

    await asyncio.gather(*map(give, names))
    assert sorted(await stored(db, Tag.name)) == ["a", "b", "c"]
    assert await tags(db) == {name: ["b", "a", "c"] if name > "s2" else ["c", "a", "b"] for name in names}


async def test_a_group_is_its_servers_by_their_tags_and_never_the_fleet(api: Api) -> None:
    for name, of in (
        ("a", ["db", "eu"]),
        ("b", ["db", "us"]),
        ("c", ["db", "eu", "staging"]),
        ("d", []),
        ("e", ["eu"]),
    ):
        await api.server(name, *of)
    cases: tuple[tuple[dict[str, list[str]], list[str]], ...] = (
        ({"all": ["db"]}, ["a", "b", "c"]),
        ({"all": ["db", "eu"]}, ["a", "c"]),
        ({"any": ["us", "eu"]}, ["a", "b", "c", "e"]),
        ({"all": ["db"], "any": ["us", "eu"], "none": ["staging"]}, ["a", "b"]),
        ({"none": ["db"]}, ["d", "e"]),
        ({"all": ["nobody"]}, []),
        ({"any": ["nobody"]}, []),
        ({"none": ["nobody"]}, ["a", "b", "c", "d", "e"]),
    )
    group: Any = None
    for number, (of, names) in enumerate(cases):
        group = await api("post", "/api/groups", 201, name=f"g{number}", **of)
        members = await api("get", f"/api/groups/{group['id']}/servers")
        assert [one["name"] for one in members["items"]] == names, of
    first = await api("get", f"/api/groups/{group['id']}/servers?limit=2")
    then = await api("get", f"/api/groups/{group['id']}/servers?limit=500&after={first['next']}")
    assert [one["name"] for one in [*first["items"], *then["items"]]] == ["a", "b", "c", "d", "e"]
    assert (await api("post", "/api/groups", 422, name="none"))["code"] == "group_empty"
    assert (await api("patch", f"/api/groups/{group['id']}", 422, none=[]))["code"] == "group_empty"
    assert (await api("post", "/api/groups", 422, name="x", all=["a"], none=["a"]))["code"] == "group_contradicts"
    assert (await api("post", "/api/groups", 409, name="g0", all=["a"]))["code"] == "group_name_taken"
    assert (await api("patch", f"/api/groups/{group['id']}", name="h", any=["us"], none=[]))["any"] == ["us"]
    assert (await api("get", f"/api/groups/{group['id']}"))["version"] == 2
    await api("delete", f"/api/groups/{group['id']}", 204)
    await api("get", f"/api/groups/{group['id']}", 404)


async def test_lists_by_tag_take_names_as_they_are(api: Api) -> None:
    await api.server("a", "db", "env=prod")
    await api.server("b", "DB", "d.b")
    assert await api.named("db") == ["a"]
    assert await api.named("db", "env=prod") == ["a"]
    assert await api.named("db", "DB") == []
    assert await api.named("nobody") == []
    for strange in ("*", "%25", "d%25", "db%20", "", "a=b=c", "=b", "a=", "n" * 64):
        await api("get", f"/api/servers?tag={strange}", 422)
    made = await api("post", "/api/tags", 201, name="later", colour="#abcdef")
    assert (made["servers"], made["version"]) == (0, 1)
    assert (await api("post", "/api/tags", 409, name="later"))["code"] == "tag_name_taken"
    await api("post", "/api/tags", 422, name="x", colour="red")
    page = await api("get", "/api/tags?limit=2")
    rest = await api("get", f"/api/tags?after={page['next']}")
    assert [one["name"] for one in [*page["items"], *rest["items"]]] == ["DB", "d.b", "db", "env=prod", "later"]
    await api("get", f"/api/tags/{uuid.uuid4()}", 404)
    await api("delete", f"/api/tags/{made['id']}", 204)


async def test_a_list_by_tag_reads_an_index_and_not_the_fleet(db: Database) -> None:
    servers: list[dict[str, Any]] = [
        {"id": new_id(), "name": f"s{n:04}", "host": "h", "facts": {}, "tags": []} for n in range(1000)
    ]
    named: list[dict[str, Any]] = [{"id": new_id(), "name": f"t{n:03}"} for n in range(200)]
    links: list[dict[str, Any]] = [
        {"server_id": one["id"], "tag_id": named[(n * 20 + k) % 200]["id"], "position": k}
        for n, one in enumerate(servers) for k in range(20)
    ]  # fmt: skip

    async def fill(tx: Any) -> None:
        await tx.session.execute(insert(Server), servers)
        await tx.session.execute(insert(Tag), named)
        await tx.session.execute(insert(ServerTag), links)

    await db.run(fill)
    maria = db.engine.dialect.name != "sqlite"
    async with db.engine.connect() as connection:
        if maria:
            await connection.execute(text("ANALYZE TABLE servers, server_tags, tags"))
        query = having(select(Server.name), ["t007"]).order_by(Server.name).limit(101)
        written = query.compile(db.engine.sync_engine, compile_kwargs={"literal_binds": True})
        how = "EXPLAIN" if maria else "EXPLAIN QUERY PLAN"
        plan = [tuple(row) for row in await connection.execute(text(f"{how} {written}"))]
        found = (await connection.scalars(query)).all()
    assert len(found) == 100, "a tenth of them"
    used = str(plan)
    assert "ix_server_tags_tag_id_server_id" in used, plan
    assert "SCAN server_tags" not in used, plan
    assert not [row for row in plan if maria and row[2] == "server_tags" and row[3] == "ALL"], plan


async def test_levels_and_tags_of_a_channel_are_told_apart(api: Api, db: Database) -> None:
    await api.server("web1", "db")
    channel = await api(
        "post",
        "/api/notification-channels",
        201,
        name="ops",
        kind="webhook",
        url="https://a.example",
        tags=["b", "a", "b"],
    )
    assert channel["tags"] == ["b", "a"]
    path = f"/api/notification-channels/{channel['id']}"
    assert (await api("get", path))["tags"] == ["b", "a"]
    assert (await api("put", path, enabled=True))["tags"] == []
    assert await wishes(db) == {"ops": set()}
    await db.run(lambda tx: tx.session.execute(delete(NotificationChannel)))
    await api("delete", f"/api/tags/{(await api.tag('a'))['id']}", 204)
