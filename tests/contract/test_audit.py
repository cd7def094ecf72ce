"""The audit log: what was done and what was refused is in it once, and nobody changes it unseen."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from services.api.audit.seal import Sealer
from services.api.audit.verify import verify
from services.api.features import ROUTERS
from services.api.kernel.guard import GuardedRoute, Open
from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.stores.audit import Actor, Deed
from shared.db.tables import AuditEntry, AuditSeal
from shared.domain.permissions import ROLES, Permission, Role
from shared.errors import AppError
from shared.events.streams import STREAMS
from shared.secrets.envelope import KeyRing
from tests.harness.world import World, about, body_for

UNSAFE = [
    (min(route.methods), route)
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, GuardedRoute) and not route.methods & {"GET", "HEAD"}
]
CHANGE_NOTHING = {
    "/api/repositories/{repository_id}/retention/preview",
    "/api/backup-jobs/{backup_job_id}/retention/preview",
    "/api/schedules/preview",
}
CANARY = "a-password-that-nobody-keeps"


@pytest.fixture
async def world(db: Database) -> World:
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    made = World(db, bus)
    await made.prepare()
    await made.token("all", ("admin", None))
    await made.token("nothing")
    return made


async def entries(db: Database) -> list[AuditEntry]:
    async with db.read() as session:
        return list(await session.scalars(select(AuditEntry).order_by(AuditEntry.at, AuditEntry.id)))


async def count(db: Database) -> int:
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(AuditEntry)) or 0


async def test_every_route_that_changes_something_records_once_that_it_refused(world: World) -> None:
    wrong: list[Any] = []
    asked = 0
    for method, route in UNSAFE:
        if not isinstance(route.allow.rule, Permission):
            continue
        before = await count(world.db)
        answer = await world.ask("nothing", method, about(route, {**world.mine, **unknown(route)}))
        rows = (await entries(world.db))[before:]
        asked += 1
        seen = [(row.action, row.outcome, row.code, row.actor_kind, row.actor_name) for row in rows]
        if answer.status_code != 403 or seen != [(route.name, "refused", "forbidden", "token", "t-nothing")]:
            wrong.append((method, route.path, answer.status_code, seen))
    assert wrong == []
    assert asked > 50


def unknown(route: GuardedRoute) -> dict[str, Any]:
    """Ids for what this world has none of."""
    names = {part[1:-1] for part in route.path.split("/") if part.startswith("{")}
    return {name: uuid.uuid4() for name in names - {"kind"}} | {"kind": "disk"}


async def test_every_change_that_was_done_is_in_the_log_once(world: World) -> None:
    """By what the route answered: done, or refused by the state of things; what does not fit changes nothing."""
    expected: dict[bool, list[tuple[str, str]]] = {True: [("done", "")], False: []}
    wrong: list[Any] = []
    done = 0
    for method, route in sorted(UNSAFE, key=lambda one: (one[0] == "DELETE", one[1].path)):
        if not isinstance(route.allow.rule, Permission) or route.path.startswith(("/api/users", "/api/tokens")):
            continue
        before = await count(world.db)
        try:
            body = body_for(route, world.mine)
        except KeyError:
            continue  # of a noun that no server has: its own test below
        ids = unknown(route) | world.mine
        answer = await world.ask("all", method, about(route, ids), body)
        rows = [(row.outcome, row.code) for row in (await entries(world.db))[before:]]
        told = answer.json() if answer.content else {}
        wanted = expected[answer.status_code < 300 and route.path not in CHANGE_NOTHING]
        wanted = [("refused", told["code"])] if answer.status_code in (403, 409) else wanted
        done += wanted == [("done", "")]
        if rows != wanted:
            wrong.append((method, route.path, answer.status_code, answer.text[:200], rows))
    assert wrong == []
    assert done > 15


async def test_a_row_says_who_did_what_to_which_and_no_secret(world: World) -> None:
    path = f"/api/servers/{world.mine['server_id']}"
    await world.ask("all", "PUT", path, {"host": "192.0.2.77", "password": CANARY})
    await world.ask("all", "POST", f"/api/backup-jobs/{world.mine['backup_job_id']}/run")
    await world.ask("all", "DELETE", f"/api/maintenance-windows/{world.other['window_id']}")
    changed, run, deleted = await entries(world.db)
    assert (changed.action, changed.noun, changed.target_name, changed.server_id) == (
        "change_server", "servers", "mine", world.mine["server_id"],
    )  # fmt: skip
    assert changed.target_id == str(world.mine["server_id"])
    assert '"host": "mine.example"' in str(changed.before)
    assert '"host": "192.0.2.77"' in str(changed.after)
    assert changed.token_id is not None
    assert changed.request_id
    assert (run.action, run.target_name, run.server_id) == ("run_backup_job", "mine-b", world.mine["server_id"])
    assert '"type": "backup_create"' in str(run.after)
    assert (deleted.action, deleted.server_id) == ("delete_window", world.other["server_id"])
    assert '"server": "other"' in str(deleted.before)
    for row in (changed, run, deleted):
        assert CANARY not in str(vars(row))


async def test_a_repeated_request_is_in_the_log_once(world: World) -> None:
    import httpx2

    headers = {"Authorization": f"Bearer {world.tokens['all']}", "Idempotency-Key": "once"}
    transport = httpx2.ASGITransport(app=world.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        for _ in range(3):
            answer = await client.post(f"/api/backup-jobs/{world.mine['backup_job_id']}/run")
            assert answer.status_code == 202
    assert await count(world.db) == 1


async def test_a_change_that_is_not_recorded_is_not_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any) -> None:
        raise AppError("the log cannot be written", code="test")

    monkeypatch.setattr("shared.db.stores.audit.Audit.add", fails)
    path = f"/api/servers/{world.mine['server_id']}"
    answer = await world.ask("all", "PUT", path, {"host": "192.0.2.78"})
    assert answer.status_code == 400
    assert "192.0.2.78" not in (await world.ask("all", "GET", path)).text


async def written(db: Database, rows: int, name: str = "n") -> None:
    for number in range(rows):
        deed = Deed("do", "things", str(number), f"{name}{number}", before={"a": 1.5}, after={"a": "é\u2028"})
        await db.run(lambda tx, deed=deed: tx.audit.add(Actor("user", "ada", uuid.uuid4()), deed))


async def verified(db: Database) -> Any:
    """The whole log, part by part."""
    after = rows = 0
    while True:
        found = await db.run(lambda tx, after=after: verify(tx, after))
        rows += found.rows
        if not found.more:
            return found.broken, rows
        after = found.last


async def sealed(db: Database, seals: int = 4, rows: int = 3) -> None:
    for number in range(seals):
        await written(db, rows, f"s{number}-")
        await db.run(lambda tx: tx.audit.seal())


TAMPERED: dict[str, tuple[Any, str]] = {
    "a row was changed": (update(AuditEntry).where(AuditEntry.target_name == "s1-1").values(actor_name="bob"), "row_changed"),
    "a time was changed": (text("UPDATE audit_entries SET at = '2020-01-01 00:00:00.000000' WHERE target_name = 's1-1'"), "row_changed"),
    "a row was taken away": (delete(AuditEntry).where(AuditEntry.target_name == "s1-1"), "rows_differ"),
    "the last row was taken away": (delete(AuditEntry).where(AuditEntry.target_name == "s3-2"), "rows_differ"),
    "all rows of a seal": (delete(AuditEntry).where(AuditEntry.seal == 2), "rows_differ"),
    "a row was moved": (update(AuditEntry).where(AuditEntry.target_name == "s1-1").values(seal=3), "rows_differ"),
    "a code was changed": (update(AuditEntry).where(AuditEntry.target_name == "s1-1").values(mac="0" * 64), "row_changed"),
    "a row lost its seal": (update(AuditEntry).where(AuditEntry.target_name == "s1-1").values(seal=None), "rows_differ"),
    "a seal was taken away": (delete(AuditSeal).where(AuditSeal.seq == 2), "seal_missing"),
    "the first seal was taken away": (delete(AuditSeal).where(AuditSeal.seq == 1), "seal_missing"),
    "the last seal was taken away": (delete(AuditSeal).where(AuditSeal.seq == 4), "seal_missing"),
    "a seal was rewritten": (update(AuditSeal).where(AuditSeal.seq == 2).values(count=2), "seal_changed"),
    "a seal's key is unknown": (update(AuditSeal).where(AuditSeal.seq == 2).values(key_id="0" * 16), "key_missing"),
}  # fmt: skip


@pytest.mark.parametrize("how", sorted(TAMPERED))
async def test_what_was_done_to_the_tables_is_found(db: Database, how: str) -> None:
    await sealed(db)
    assert await verified(db) == (None, 12)
    statement, what = TAMPERED[how]
    async with db.engine.begin() as connection:
        assert (await connection.execute(statement)).rowcount > 0
    broken, _ = await verified(db)
    assert (broken.what if broken else None) == what


async def test_a_row_that_was_added_is_found(db: Database) -> None:
    await sealed(db)
    async with db.engine.begin() as connection:
        row = (await connection.execute(select(AuditEntry.__table__).where(AuditEntry.target_name == "s1-1"))).one()
        again = dict(row._mapping) | {"id": uuid.uuid4()}
        await connection.execute(insert(AuditEntry).values(again | {"seal": None}))
    broken, _ = await verified(db)
    assert broken is not None
    assert (broken.what, broken.entry) == ("row_changed", again["id"])


async def test_a_fleet_of_another_key_cannot_forge_a_row(db: Database) -> None:
    await sealed(db, 1)
    other = Database(str(db.engine.url.render_as_string(hide_password=False)), key_ring=KeyRing([b"\1" * 32]))
    await written(other, 1, "forged")
    await other.close()
    broken, _ = await verified(db)
    assert broken is not None
    assert broken.what == "key_missing"
    async with db.engine.begin() as connection:
        mine = update(AuditEntry).where(AuditEntry.target_name == "forged0")
        await connection.execute(mine.values(key_id=KeyRing([bytes(32)]).current))
    broken, _ = await verified(db)
    assert broken is not None
    assert broken.what == "row_changed"


async def test_rows_of_an_older_key_are_verified_after_a_rotation(db: Database) -> None:
    await sealed(db, 2)
    url = str(db.engine.url.render_as_string(hide_password=False))
    rotated = Database(url, key_ring=KeyRing([b"\2" * 32, bytes(32)]))
    await sealed(rotated, 2)
    assert await verified(rotated) == (None, 12)
    await rotated.close()
    lost = Database(url, key_ring=KeyRing([b"\2" * 32]))
    broken, _ = await verified(lost)
    await lost.close()
    assert broken is not None
    assert broken.what == "key_missing"


async def test_several_gateways_write_and_seal_at_once(db: Database) -> None:
    """Rows commit in another order than their time says: none is forgotten, none sealed twice."""
    stop = asyncio.Event()
    writing = [asyncio.create_task(written(db, 12, f"g{number}-")) for number in range(4)]
    sealers = [Sealer(db) for _ in range(3)]

    async def seal_on(sealer: Sealer) -> None:
        while not all(task.done() for task in writing):
            try:
                await sealer.round(stop)
            except (AppError, SQLAlchemyError) as error:
                if "IntegrityError" in repr(error):
                    raise
            await asyncio.sleep(0)

    await asyncio.gather(*writing, *(seal_on(sealer) for sealer in sealers))
    for sealer in sealers:
        await sealer.round(stop)
    rows = await entries(db)
    assert len(rows) == 48
    assert [row.target_name for row in rows if row.seal is None] == []
    assert await verified(db) == (None, 48)


async def test_two_that_seal_at_once_without_a_lease_make_no_two_seals_of_one_row(db: Database) -> None:
    """The lease spares work: that the log stays whole does not hang on it."""
    for _ in range(5):
        await written(db, 4)
        await asyncio.gather(*(db.run(lambda tx: tx.audit.seal()) for _ in range(3)), return_exceptions=True)
        await db.run(lambda tx: tx.audit.seal())
    assert await verified(db) == (None, 20)


async def test_a_long_log_is_verified_in_parts(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.api.audit.verify.MOST_SEALS", 2)
    await sealed(db, 5, 2)
    await written(db, 1)
    assert await verified(db) == (None, 11)
    async with db.engine.begin() as connection:
        await connection.execute(delete(AuditSeal).where(AuditSeal.seq == 3))
    broken, _ = await verified(db)
    assert broken is not None
    assert (broken.what, broken.seal) == ("seal_missing", 3)


async def test_the_log_is_read_and_verified_by_those_who_may(world: World) -> None:
    await world.token("auditor", ("auditor", None))
    await world.ask("all", "POST", f"/api/backup-jobs/{world.mine['backup_job_id']}/run")
    await world.ask("nothing", "POST", f"/api/backup-jobs/{world.mine['backup_job_id']}/run")
    await Sealer(world.db).round(asyncio.Event())
    page = (await world.ask("auditor", "GET", "/api/audit?count=true")).json()
    assert [(row["actor_name"], row["outcome"], row["seal"]) for row in page["items"]] == [
        ("t-nothing", "refused", 1), ("t-all", "done", 1),
    ]  # fmt: skip
    assert page["total"] == 2
    one = page["items"][1]
    assert (await world.ask("auditor", "GET", f"/api/audit/{one['id']}")).json() == one
    for query, found in (
        ("actor=t-all", 1), ("action=run_backup_job", 2), ("outcome=refused", 1), ("actor=nobody", 0),
        (f"target_id={world.mine['backup_job_id']}", 2), (f"server_id={world.mine['server_id']}", 1),
        ("until=2020-01-01T00:00:00Z", 0), ("since=2020-01-01T00:00:00Z", 2),
    ):  # fmt: skip
        page = (await world.ask("auditor", "GET", f"/api/audit?{query}")).json()
        assert len(page["items"]) == found, (query, page)
    told = (await world.ask("auditor", "GET", "/api/audit/verify")).json()
    assert told == {"seals": 1, "rows": 2, "next": None, "broken": None, "unreadable": []} or told["broken"] is None
    for path in ("/api/audit", "/api/audit/verify", f"/api/audit/{one['id']}"):
        assert (await world.ask("eu", "GET", path)).status_code == 403


def test_an_action_names_one_operation() -> None:
    """Two operations on a noun under one name could not be told apart in the log."""
    names = [(route.path.split("/")[2], route.name) for _, route in UNSAFE]
    assert sorted({one for one in names if names.count(one) > 1}) == []
    assert {route.allow.rule for _, route in UNSAFE} <= {*Permission, *Open}
    assert ROLES[Role.AUDITOR] >= {Permission.AUDIT_READ}
