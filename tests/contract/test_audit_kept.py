"""The audit log as it is kept: verified by itself, compared with what was published, exported, pruned by whole seals."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import delete, func, select, text, update

from services.api.audit.nightly import Nightly
from services.api.audit.seal import Sealer
from services.api.audit.verify import published, verify
from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.stores.audit import AUDIT_SEAL_FIELDS, Actor, Deed
from shared.db.tables import AuditCheck, AuditEntry, AuditSeal, OutboxRow
from shared.errors import Transient
from shared.events.audit import AuditSealed
from shared.events.streams import AUDIT, STREAMS
from tests.harness.world import World


@pytest.fixture
async def memory() -> MemoryBus:
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    return bus


async def write(db: Database, rows: int = 1) -> None:
    for number in range(rows):
        await db.run(lambda tx, n=number: tx.audit.add(Actor("user", "ada"), Deed("do", "things", str(n), f"n{n}")))


async def seal(db: Database, seals: int) -> None:
    sealer = Sealer(db)
    for _ in range(seals):
        await write(db)
        await sealer.round(asyncio.Event())
    await sealer._lead.release()


async def deliver(db: Database, bus: MemoryBus) -> list[AuditSealed]:
    """Publish what the outbox holds, as the relay does."""
    async with db.read() as session:
        rows = (await session.scalars(select(OutboxRow).order_by(OutboxRow.created_at))).all()
    mine = [row for row in rows if row.subject == AuditSealed.subject]
    for row in mine:
        await bus.publish(row.subject, row.payload.encode(), {"Nats-Msg-Id": str(row.id)})
    return [AuditSealed.model_validate_json(row.payload) for row in mine]


async def broken(db: Database, bus: MemoryBus) -> Any:
    witness = await published(bus)
    found = (await db.run(lambda tx: verify(tx, 0, witness))).broken
    return (found.what, found.seal) if found else None


async def checked(db: Database) -> AuditCheck:
    async with db.read() as session:
        return await session.get_one(AuditCheck, 1)


async def run(db: Database, *statements: Any) -> None:
    async with db.engine.begin() as connection:
        for statement in statements:
            await connection.execute(statement)


async def test_every_tenth_seal_is_published_and_a_tail_that_is_cut_off_is_found(
    db: Database, memory: MemoryBus
) -> None:
    await seal(db, 21)
    sent = await deliver(db, memory)
    assert [one.seq for one in sent] == [10, 20]
    assert await broken(db, memory) is None
    await run(db, delete(AuditEntry).where(AuditEntry.seal >= 20), delete(AuditSeal).where(AuditSeal.seq >= 20))
    found = await db.run(lambda tx: verify(tx, 0))
    assert found.broken is None, "the tables alone do not tell"
    assert await broken(db, memory) == ("seal_missing", 20)
    await seal(db, 2)  # other rows under the same numbers are no way out
    assert await broken(db, memory) == ("seal_changed", 20)


async def test_what_anybody_publishes_as_a_seal_proves_nothing(db: Database, memory: MemoryBus) -> None:
    await seal(db, 1)
    async with db.read() as session:
        row = await session.get_one(AuditSeal, 1)
    true = {name: getattr(row, name) for name in AUDIT_SEAL_FIELDS}
    for told in (
        b"", b"{}", b"[1]", b"\xff", AuditSealed(**true | {"seq": 99}).model_dump_json().encode(),
        AuditSealed(**true | {"mac": "0" * 64}).model_dump_json().encode(),
        AuditSealed(**true | {"key_id": "unknown"}).model_dump_json().encode(),
    ):  # fmt: skip
        await memory.publish(AuditSealed.subject, told, {})
        assert await broken(db, memory) is None, told


async def test_a_bus_that_is_silent_keeps_nobody_from_verifying(db: Database, memory: MemoryBus) -> None:
    await seal(db, 1)
    memory.down = True
    assert await broken(db, memory) is None


async def test_nobody_deletes_a_published_seal(bus: Any, subject: str) -> None:
    """On a real nats-server, not even who may do all."""
    if isinstance(bus, MemoryBus):
        return
    await bus.publish(AuditSealed.subject, b"{}", {})
    js = bus._js
    number = (await js.get_last_msg(AUDIT.name, AuditSealed.subject)).seq
    for attempt in (js.delete_msg(AUDIT.name, number), js.purge_stream(AUDIT.name)):
        with pytest.raises(Exception, match=r"deny|delete|purge|not permitted"):
            await attempt
    assert await bus.last(AUDIT, AuditSealed.subject) == b"{}"


async def test_the_log_is_verified_by_itself_and_what_was_found_is_kept(
    db: Database, memory: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.api.audit.verify.MOST_SEALS", 2)
    await seal(db, 5)
    nightly = Nightly(db, memory)
    await nightly.round(asyncio.Event())
    state = await checked(db)
    assert (state.seals, state.after, state.broken_what) == (5, 0, "")
    assert state.ended_at is not None
    await run(db, update(AuditEntry).where(AuditEntry.seal == 4).values(actor_name="bob"))
    await nightly.round(asyncio.Event())
    assert (await checked(db)).broken_what == "", "a day has not gone by"
    await run(db, text("UPDATE audit_checks SET ended_at = '2020-01-01 00:00:00.000000'"))
    await nightly.round(asyncio.Event())
    state = await checked(db)
    assert (state.broken_what, state.broken_seal) == ("row_changed", 4)
    assert state.broken_entry is not None
    await run(
        db, update(AuditEntry).where(AuditEntry.seal == 4).values(actor_name="ada"),
        text("UPDATE audit_checks SET ended_at = '2020-01-01 00:00:00.000000'"),
    )  # fmt: skip
    await nightly.round(asyncio.Event())
    assert (await checked(db)).broken_what == ""


async def test_a_verification_that_was_broken_off_goes_on_where_it_was(
    db: Database, memory: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.api.audit.verify.MOST_SEALS", 2)
    await seal(db, 5)
    looked: list[int] = []

    async def counting(tx: Any, after: int, witness: Any) -> Any:
        looked.append(after)
        if len(looked) == 2:
            raise Transient("the process ends here", code="test")
        return await verify(tx, after, witness)

    monkeypatch.setattr("services.api.audit.nightly.verify", counting)
    with pytest.raises(Transient):
        await Nightly(db, memory).round(asyncio.Event())
    await Nightly(db, memory).round(asyncio.Event())
    assert looked == [0, 2, 2, 4]
    assert (await checked(db)).seals == 5


async def test_old_rows_go_by_whole_seals_and_leave_stubs_that_are_verified(db: Database, memory: MemoryBus) -> None:
    await seal(db, 4)
    assert await db.run(lambda tx: tx.audit.prune(3600)) == -1
    assert [await db.run(lambda tx: tx.audit.prune(0)) for _ in range(2)] == [1, 1]
    assert await broken(db, memory) is None
    async with db.read() as session:
        assert await session.scalar(select(func.count()).select_from(AuditEntry)) == 2
        assert await session.scalar(select(func.count()).select_from(AuditSeal)) == 4


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("UPDATE audit_seals SET pruned_at = '2026-01-01 00:00:00.000000' WHERE seq = 1", "seal_changed"),
        ("UPDATE audit_seals SET pruned_at = NULL WHERE seq = 1", "rows_differ"),
        ("DELETE FROM audit_seals WHERE seq = 1", "seal_missing"),
        # A deletion that is passed off as one by age.
        (
            "UPDATE audit_seals SET pruned_at = at, pruned_key_id = key_id, pruned_mac = mac WHERE seq = 2",
            "seal_changed",
        ),
    ],
)
async def test_a_stub_that_was_tampered_with_is_found(db: Database, memory: MemoryBus, how: str, what: str) -> None:
    await seal(db, 3)
    await db.run(lambda tx: tx.audit.prune(0))
    if "seq = 2" in how:
        await run(db, delete(AuditEntry).where(AuditEntry.seal == 2))
    await run(db, text(how))
    found = await broken(db, memory)
    assert found is not None
    assert found[0] == what


async def test_rows_that_come_back_under_a_stub_are_found(db: Database, memory: MemoryBus) -> None:
    await seal(db, 2)
    await db.run(lambda tx: tx.audit.prune(0))
    await run(db, update(AuditEntry).where(AuditEntry.seal == 2).values(seal=1))
    assert await broken(db, memory) == ("rows_differ", 1)


async def test_nothing_of_a_broken_log_is_pruned(db: Database, memory: MemoryBus) -> None:
    await seal(db, 3)
    await run(db, update(AuditEntry).where(AuditEntry.seal == 2).values(actor_name="bob"))
    await Nightly(db, memory, keep_days=1e-9).round(asyncio.Event())
    async with db.read() as session:
        assert await session.scalar(select(func.count()).select_from(AuditEntry)) == 3
    await run(
        db, update(AuditEntry).where(AuditEntry.seal == 2).values(actor_name="ada"),
        text("UPDATE audit_checks SET ended_at = '2020-01-01 00:00:00.000000'"),
    )  # fmt: skip
    await Nightly(db, memory, keep_days=1e-9).round(asyncio.Event())
    async with db.read() as session:
        assert await session.scalar(select(func.count()).select_from(AuditEntry)) == 0
    assert await broken(db, memory) is None


async def test_the_export_holds_each_seal_after_its_rows_and_says_where_it_ends(
    db: Database, memory: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.api.audit.export._SEALS", 2)
    world = World(db, memory)
    await world.prepare()
    await world.token("auditor", ("auditor", None))
    await world.token("viewer", ("viewer", None))
    await seal(db, 5)
    await write(db, 2)
    answer = await world.ask("auditor", "GET", "/api/audit/export")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["kind"] for line in lines] == ["entry", "seal"] * 5 + ["entry", "entry", "end"]
    assert lines[-1] == {"kind": "end", "seals": 5, "last_seal": 5, "rows": 7}
    assert [line["seq"] for line in lines if line["kind"] == "seal"] == [1, 2, 3, 4, 5]
    assert all(len(line["mac"]) == 64 for line in lines[:-1])
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    part = (await world.ask("auditor", "GET", "/api/audit/export?after=4")).text.splitlines()
    assert json.loads(part[-1]) == {"kind": "end", "seals": 1, "last_seal": 5, "rows": 3}
    head = await world.ask("auditor", "HEAD", "/api/audit/export")
    assert (head.status_code, head.text) == (200, "")
    for who in ("viewer", "eu"):
        assert (await world.ask(who, "GET", "/api/audit/export")).status_code == 403
