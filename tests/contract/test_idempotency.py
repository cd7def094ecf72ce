"""A request that is sent again, by a client or by the gateway itself, is done once and answered the same."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select, update

from services.api.app import build_app
from services.scheduler.housekeeping import Housekeeping
from shared.bus.memory import MemoryBus
from shared.config.settings import KeepSettings, Settings
from shared.db.session import Database
from shared.db.tables import ApiToken, IdempotencyKey, Job, OutboxRow, Server
from shared.db.tables.base import db_now
from shared.db.unit_of_work import UnitOfWork
from shared.notify.port import Address, Message
from shared.runtime.service import Parts
from shared.secrets.envelope import KeyRing
from shared.secrets.tokens import api_token_digest
from tests.harness.commit_cutter import CommitCutter, Cut
from tests.harness.databases import PatientDatabase
from tests.harness.mariadb import MariaServer
from tests.harness.patience import WAIT

TOKENS = {"admin": "bf_idempotent", "other": "bf_another"}
WEB1 = {"name": "web1", "host": "192.0.2.1"}
BYTES = 11
"""Of a COMMIT, and of the answer to it."""
PLACES = [Cut(asked=n) for n in range(BYTES)] + [Cut(answered=n) for n in range(BYTES)]


class NoSender:
    """Finds every address good, and sends nothing."""

    async def check(self, address: Address) -> None: ...

    async def send(self, address: Address, message: Message) -> None:
        raise NotImplementedError


@asynccontextmanager
async def gateway(db: Database, directory: Path, caller: str = "admin") -> AsyncIterator[httpx2.AsyncClient]:
    app = build_app(Parts(Settings(data_dir=directory), db, MemoryBus(), CollectorRegistry()))
    app.state.gateway = replace(app.state.gateway, sender=NoSender())
    headers = {"Authorization": f"Bearer {TOKENS[caller]}"}
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers, timeout=WAIT) as client:
        yield client


async def add_tokens(db: Database) -> None:
    async def add(tx: UnitOfWork) -> None:
        tx.session.add_all(ApiToken(name=name, digest=api_token_digest(token)) for name, token in TOKENS.items())

    await db.run(add)


@pytest.fixture
async def api(db: Database, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    await add_tokens(db)
    async with gateway(db, tmp_path) as client:
        yield client


async def count(db: Database, table: Any, *conditions: Any) -> int:
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


def key(text: str) -> dict[str, str]:
    return {"Idempotency-Key": text}


async def test_a_request_that_is_sent_again_is_answered_the_same_and_done_once(
    api: httpx2.AsyncClient, db: Database
) -> None:
    first = await api.post("/api/servers", json=WEB1, headers=key("k1"))
    again = await api.post("/api/servers", json=dict(reversed(WEB1.items())), headers=key("k1"))
    assert (first.status_code, again.status_code) == (201, 201), again.text
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]
    path = f"/api/servers/{first.json()['id']}"
    runs = [await api.post(f"{path}/setup", headers=key("run")) for _ in range(3)]
    assert {run.json()["id"] for run in runs} == {runs[0].json()["id"]}
    assert await count(db, Job) == 1
    gone = [await api.delete(path, headers=key("gone")) for _ in range(2)]
    assert [one.status_code for one in gone] == [204, 204], "the second one is no 404"
    assert gone[1].content == b""


async def test_a_key_that_comes_again_with_another_request_is_refused(api: httpx2.AsyncClient, db: Database) -> None:
    await api.post("/api/servers", json=WEB1, headers=key("k"))
    for method, path, body in (
        ("POST", "/api/servers", WEB1 | {"port": 23}),
        ("POST", "/api/tags", WEB1),
        ("POST", "/api/groups", {"name": "web1", "all": ["a"]}),
    ):
        answer = await api.request(method, path, json=body, headers=key("k"))
        assert answer.status_code == 422, answer.text
        if path != "/api/tags":  # its body is refused before
            assert answer.json()["code"] == "idempotency_key_reused"
    assert await count(db, Server) == 1


async def test_what_was_refused_is_not_remembered(api: httpx2.AsyncClient, db: Database) -> None:
    """A name that was taken may be free when the client tries again."""
    made = (await api.post("/api/servers", json=WEB1)).json()
    assert (await api.post("/api/servers", json=WEB1, headers=key("k"))).status_code == 409
    await api.delete(f"/api/servers/{made['id']}")
    again = await api.post("/api/servers", json=WEB1, headers=key("k"))
    assert (again.status_code, again.headers.get("idempotency-replayed")) == (201, None)


async def test_keys_of_others_are_not_ours(api: httpx2.AsyncClient, db: Database, tmp_path: Path) -> None:
    await api.post("/api/servers", json=WEB1, headers=key("k"))
    async with gateway(db, tmp_path, "other") as other:
        answer = await other.post("/api/servers", json=WEB1, headers=key("k"))
    assert (answer.status_code, answer.json()["code"]) == (409, "server_name_taken")


@pytest.mark.parametrize("wrong", ["", "x" * 256, "a b", "schl\u00fcssel", "tab\tkey"])
async def test_a_key_that_is_none_is_refused(api: httpx2.AsyncClient, db: Database, wrong: str) -> None:
    answer = await api.post("/api/servers", json=WEB1, headers={"Idempotency-Key": wrong.encode("latin-1")})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_invalid")
    assert answer.json()["remedy"]
    assert await count(db, Server) == 0


async def test_an_answer_with_a_secret_is_replayed_and_lies_nowhere_in_plain(
    api: httpx2.AsyncClient, db: Database
) -> None:
    body = {"name": "hook", "kind": "webhook", "url": "https://192.0.2.7/canary"}
    answers = [await api.post("/api/notification-channels", json=body, headers=key("k")) for _ in range(2)]
    assert answers[0].status_code == 201, answers[0].text
    secret = answers[0].json()["signing_key"]
    assert secret
    assert answers[1].json()["signing_key"] == secret
    async with db.read() as session:
        (row,) = (await session.execute(select(IdempotencyKey))).scalars()
    stored = b"".join(value if isinstance(value, bytes) else str(value).encode() for value in vars(row).values())
    assert secret.encode() not in stored
    assert b"canary" not in stored


async def test_twenty_at_once_through_two_gateways_make_one(
    api: httpx2.AsyncClient, db: Database, tmp_path: Path
) -> None:
    second = PatientDatabase(str(db.engine.url.render_as_string(hide_password=False)), key_ring=KeyRing([bytes(32)]))
    try:
        async with gateway(second, tmp_path) as beside:
            sent = [client.post("/api/servers", json=WEB1, headers=key("k")) for client in (api, beside) * 10]
            answers = await asyncio.gather(*sent)
    finally:
        await second.close()
    told = [answer for answer in answers if answer.status_code != 503]
    for answer in answers:
        assert answer.status_code in {201, 503}, answer.text  # who waits too long is told to come again
        assert answer.status_code == 201 or answer.headers["retry-after"]
    assert len({answer.content for answer in told}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in told) <= 1
    assert await count(db, Server) == 1
    assert (await api.post("/api/servers", json=WEB1, headers=key("k"))).content == told[0].content


async def test_what_belongs_to_a_request_has_its_id(api: httpx2.AsyncClient, db: Database) -> None:
    server = (await api.post("/api/servers", json=WEB1)).json()
    ids = []
    for given in ("6f1f7c52-4a6e-4a3a-9a39-0f2f6a6d8f11", "ticket-4711"):
        answer = await api.post(f"/api/servers/{server['id']}/setup", headers={"X-Request-Id": given})
        async with db.read() as session:
            job = await session.get_one(Job, uuid.UUID(answer.json()["id"]))
            event = await session.scalar(select(OutboxRow.payload).where(OutboxRow.payload.contains(str(job.id))))
        assert json.loads(event or "{}")["correlation_id"] == str(job.correlation_id)
        ids.append(str(job.correlation_id))
    assert ids == ["6f1f7c52-4a6e-4a3a-9a39-0f2f6a6d8f11", ids[1]]


async def test_keys_are_forgotten_after_a_day(api: httpx2.AsyncClient, db: Database) -> None:
    await api.post("/api/servers", json=WEB1, headers=key("old"))
    await db.run(lambda tx: tx.session.execute(update(IdempotencyKey).values(created_at=db_now(-86_500))))
    await api.post("/api/tags", json={"name": "new"}, headers=key("new"))
    assert await count(db, IdempotencyKey) == 2
    gone = await Housekeeping(db, KeepSettings()).tick(asyncio.Event())
    assert gone["idempotency_keys"] == 1
    assert await count(db, IdempotencyKey) == 1


@pytest.mark.parametrize("given", [{}, key("k")], ids=["without a key", "with a key"])
async def test_mariadb_cut_at_every_byte_of_commit_and_answer_a_request_is_done_once(
    maria: MariaServer, tmp_path: Path, given: dict[str, str]
) -> None:
    url = await asyncio.to_thread(maria.migrated)
    cutter = CommitCutter(maria.port)
    port = await cutter.start()
    db = PatientDatabase(url.replace(f":{maria.port}/", f":{port}/"), key_ring=KeyRing([bytes(32)]))
    try:
        await add_tokens(db)
        async with gateway(db, tmp_path) as api:
            for number, place in enumerate(PLACES):
                body = {"name": f"web{number}", "host": "192.0.2.1"}
                headers = {name: f"{text}{number}" for name, text in given.items()}
                cutter.cut, before = Cut(place.asked, place.answered), cutter.cuts
                answer = await api.post("/api/servers", json=body, headers=headers)
                assert cutter.cuts == before + 1, "nothing was cut: this proves nothing"
                assert answer.status_code == 201, f"{place}: {answer.text}"
                assert await count(db, Server, Server.name == body["name"]) == 1
                cutter.cut = Cut(place.asked, place.answered)
                path = f"/api/servers/{answer.json()['id']}/setup"
                run = await api.post(path, headers=dict.fromkeys(given, f"run{number}"))
                assert run.status_code == 202, f"{place}: {run.text}"
                assert await count(db, Job) == number + 1
                assert await count(db, OutboxRow, OutboxRow.subject == "server.setup") == number + 1
    finally:
        await db.close()
        await cutter.stop()
