"""Asking for imports and takeovers over the API, on both databases: who may, what is refused, what is kept of secrets."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select, update

from services.backup.importing.rows import take_in
from services.scheduler.schedules import Schedules
from services.stats.metrics.queries import load_figures
from shared.borg.importing import FoundArchive, FoundRepository
from shared.db.session import Database
from shared.db.stores.secrets import import_key, import_passphrase, repository_passphrase
from shared.db.tables import Archive, AuditEntry, Job, OutboxRow, Repository, Schedule, Secret
from shared.db.tables.base import db_now
from shared.domain.archive import ArchiveFigures
from tests.contract.test_idempotency import add_tokens, gateway, key
from tests.contract.test_versions import made

Api = httpx2.AsyncClient
WORD = "a passphrase nobody may see"
KEYFILE = "BORG_KEY 00ff\nhqlhbGdvcml0aG2m\n"
NIGHTLY = {"when": {"kind": "days", "times": ["02:30"], "zone": "UTC"}}


@pytest.fixture
async def api(db: Database, tmp_path: Path) -> AsyncIterator[Api]:
    await add_tokens(db)
    async with gateway(db, tmp_path) as client:
        yield client


@pytest.fixture
async def place(api: Api) -> dict[str, Any]:
    server = await made(api, "/api/servers", {"name": "web1", "host": "192.0.2.1"})
    pool = await made(api, "/api/storage-pools", {"name": "main", "path": "/pool"})
    return {"server_id": server["id"], "pool_id": pool["id"], "path": "/pool/by-hand/old box"}


@pytest.fixture
async def imported(db: Database, place: dict[str, Any]) -> uuid.UUID:
    """A repository as an import leaves it, with one archive."""

    async def add(tx: Any) -> uuid.UUID:
        row = Repository(
            name="old", server_id=uuid.UUID(place["server_id"]), pool_id=uuid.UUID(place["pool_id"]), path="/pool/by-hand/x",
            borg_id="ab" * 32, mode="read_only", imported_at=db_now(),
        )  # fmt: skip
        tx.session.add(row)
        await tx.session.flush()
        await tx.secrets.put(repository_passphrase(row.id), WORD)
        await take_in(tx, row, found("sunday", "monday"))
        return row.id

    return await db.run(add)


def found(*names: str, signed: bool | None = True) -> FoundRepository:
    figures = [
        ArchiveFigures(
            name=name, borg_id=uuid.uuid5(uuid.NAMESPACE_DNS, name).hex * 2, started_at=at, ended_at=at, duration=0, files=1,
            original_size=1, compressed_size=1, deduplicated_size=0,
        )
        for name, at in ((name, datetime(2026, 1, 1 + number, tzinfo=UTC)) for number, name in enumerate(names))
    ]  # fmt: skip
    archives = tuple(FoundArchive(one, signed) for one in figures)
    return FoundRepository("repokey", hidden=True, signed=True, archives=archives)


async def count(db: Database, table: Any) -> int:
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


async def test_an_import_is_a_job_whose_secrets_are_sealed_and_stand_nowhere_else(
    db: Database, api: Api, place: dict[str, Any]
) -> None:
    answer = await api.post("/api/repositories/import", json=place | {"passphrase": WORD, "keyfile": KEYFILE})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["type"], job["state"], job["node"]) == ("repository_import", "queued", "node1")
    async with db.read() as session:
        row = await session.get_one(Job, uuid.UUID(job["id"]))
        texts = [answer.text, str(row.params), row.title, *map(str, await session.scalars(select(OutboxRow.payload)))]
        for entry in await session.scalars(select(AuditEntry)):
            texts += [str(vars(entry))]
        entries = await session.scalar(
            select(func.count()).select_from(AuditEntry).where(AuditEntry.action == "import_repository")
        )
    assert entries == 1
    assert not any(WORD in text or "hqlhbGdvcml0aG2m" in text for text in texts)
    assert row.params["name"] == "old-box"
    opened = await db.run(lambda tx: tx.secrets.get(import_passphrase(row.id)))
    assert (opened, await db.run(lambda tx: tx.secrets.get(import_key(row.id)))) == (WORD, KEYFILE)


async def test_the_same_request_twice_makes_one_job(db: Database, api: Api, place: dict[str, Any]) -> None:
    before = await count(db, Job)
    answers = [
        await api.post("/api/repositories/import", json=place | {"passphrase": WORD}, headers=key("once"))
        for _ in range(2)
    ]
    assert [one.status_code for one in answers] == [202, 202]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert await count(db, Job) == before + 1


@pytest.mark.parametrize(
    "change",
    [
        {"path": "relative"}, {"path": "/"}, {"path": "/a/../b"}, {"path": "/a\nb"}, {"path": "/a{now}"}, {"path": "/a::b"},
        {"path": "/" + "x" * 600}, {"path": "/a\u202eb"}, {"path": "/a\ud800"}, {"keyfile": "not a key"}, {"keyfile": ""},
        {"keyfile": "BORG_KEY 00"}, {"keyfile": "BORG_KEY 00\n" + "x" * 70000}, {"name": "../up"}, {"name": ""},
        {"passphrase": "a\nb"}, {"passphrase": 7}, {"unencrypted": "perhaps"}, {"more": 1}, {"server_id": "x"},
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused_and_nothing_is_sealed(
    db: Database, api: Api, place: dict[str, Any], change: dict[str, Any]
) -> None:
    before = await count(db, Secret), await count(db, Job)
    body = json.dumps(place | {"passphrase": WORD} | change)
    answer = await api.post("/api/repositories/import", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert WORD not in answer.text
    assert (await count(db, Secret), await count(db, Job)) == before


async def test_what_is_known_or_not_there_is_refused(api: Api, place: dict[str, Any], imported: uuid.UUID) -> None:
    async def refused(**change: Any) -> tuple[int, str]:
        answer = await api.post("/api/repositories/import", json=place | change)
        return answer.status_code, answer.json()["code"]

    assert await refused(path="/pool/by-hand/x", name="other") == (409, "repository_known")
    assert await refused(name="old") == (409, "repository_known")
    assert (await refused(server_id=str(uuid.uuid4())))[0] == 404
    assert (await refused(pool_id=str(uuid.uuid4())))[0] == 404


async def test_no_door_writes_to_one_that_is_read_only(
    db: Database, api: Api, place: dict[str, Any], imported: uuid.UUID
) -> None:
    path = f"/api/repositories/{imported}"
    schedules = [{"task": task} | NIGHTLY for task in ("check", "restore_test")]
    policy = await api.put(path, json={"retention": {"keep_last": 1}, "schedules": schedules})
    assert policy.status_code == 200, policy.text
    job = {"name": "job", "sources": ["/etc"], "schedules": [NIGHTLY]}
    definition = await made(
        api, "/api/backup-jobs", job | {"server_id": place["server_id"], "repository_id": str(imported)}
    )
    async with db.read() as session:
        archive = await session.scalar(select(Archive.id).limit(1))
    before = await count(db, Job)
    doors = {
        f"{path}/prune": {}, f"{path}/compact": {}, f"{path}/check": {}, f"{path}/recover": {"reason": "why"},
        f"/api/backup-jobs/{definition['id']}/run": None, f"{path}/confirm-retention": {"reason": "why"},
    }  # fmt: skip
    answers = {door: await api.post(door, json=body) for door, body in doors.items()}
    answers["delete"] = await api.delete(f"/api/backups/{archive}")
    assert {door: (one.status_code, one.json()["code"]) for door, one in answers.items()} == dict.fromkeys(
        answers, (409, "repository_read_only")
    )
    assert await count(db, Job) == before
    due = update(Schedule).values(next_run_at=db_now(-60), due_at=db_now(-60))
    await db.run(lambda tx: tx.session.execute(due))
    registry = CollectorRegistry()
    assert await Schedules(db, registry).make_due() == 3
    async with db.read() as session:
        queued = list(await session.scalars(select(Job.type).where(Job.state == "queued")))
    assert (queued, await count(db, Job)) == (["restore_test"], before + 1), "it only reads"
    skipped = registry.get_sample_value("borgfleet_scheduled_runs_total", {"outcome": "repository_read_only"})
    assert skipped == 2
    async with db.read() as session:
        figures = await load_figures(session)
    assert not [one for one in figures if one[0].startswith("borgfleet_backup_") and "job" in one[1]]
    assert (await api.post(f"{path}/restore-tests", json={"kind": "all"})).status_code == 202
    assert (await api.post(f"{path}/catalogue/rebuild")).status_code == 202, "it may be read"
    assert (await api.post(f"{path}/refresh")).status_code == 202


async def test_taking_over_and_the_word_on_its_retention(db: Database, api: Api, imported: uuid.UUID) -> None:
    path = f"/api/repositories/{imported}"
    shown = (await api.get(path)).json()
    assert (shown["mode"], shown["imported_at"] is None, shown["retention_confirmed_at"]) == ("read_only", False, None)
    assert (await api.post(f"{path}/manage", json={"reason": " "})).status_code == 422
    stale = await api.post(f"{path}/manage", json={"reason": "why"}, headers={"If-Match": '"77"'})
    assert stale.status_code == 412
    asked = await api.post(f"{path}/manage", json={"reason": "cron is off"})
    assert (asked.status_code, asked.json()["type"]) == (202, "repository_manage")
    sealed = update(Repository).values(encryption="keyfile")
    await db.run(lambda tx: tx.session.execute(sealed))
    assert (await api.post(f"{path}/manage", json={"reason": "why"})).json()["code"] == "manage_needs_repokey"
    ours = update(Repository).values(mode="managed", encryption="repokey")
    await db.run(lambda tx: tx.session.execute(ours))
    assert (await api.post(f"{path}/manage", json={"reason": "why"})).json()["code"] == "repository_managed"
    assert (await api.post(f"{path}/refresh")).json()["code"] == "repository_managed"
    preview = (await api.post(f"{path}/retention/preview", json={"keep_last": 1})).json()
    assert all(one["kept_by"] for one in preview["backups"]), preview
    confirmed = await api.post(f"{path}/confirm-retention", json={"reason": "as we want it"})
    assert confirmed.status_code == 200, confirmed.text
    assert confirmed.json()["retention_confirmed_reason"] == "as we want it"
    async with db.read() as session:
        accepted = set(await session.scalars(select(Archive.accepted_reason)))
    assert accepted == {"as we want it"}
    preview = (await api.post(f"{path}/retention/preview", json={"keep_last": 1})).json()
    assert preview["dropped"] == 1, "from then on it goes by the retention"
    again = await api.post(f"{path}/confirm-retention", json={"reason": "again"})
    assert (again.status_code, again.json()["code"]) == (409, "retention_nothing_imported")


async def test_another_look_adds_what_is_new_and_forgets_what_its_owner_deleted(
    db: Database, imported: uuid.UUID
) -> None:
    async def look(tx: Any) -> tuple[int, int, int]:
        done = await take_in(
            tx, await tx.session.get_one(Repository, imported), found("tuesday", "wednesday", signed=None)
        )
        return done.archives, done.added, done.gone

    assert await db.run(look) == (2, 2, 2)
    assert await db.run(look) == (2, 0, 0)
    async with db.read() as session:
        rows = list(await session.scalars(select(Archive).order_by(Archive.name)))
        repository = await session.get_one(Repository, imported)
    assert [(one.name, one.damage != "", one.imported, one.trusted) for one in rows] == [
        ("tuesday", True, True, False), ("wednesday", True, True, False),
    ]  # fmt: skip
    assert (repository.archive_count, repository.frozen_reason) == (2, "")


async def test_one_of_ours_is_neither_taken_over_nor_looked_at(api: Api, place: dict[str, Any]) -> None:
    del place["path"]
    own = await made(api, "/api/repositories", place | {"name": "system"})
    for verb, body in (("refresh", None), ("manage", {"reason": "why"})):
        answer = await api.post(f"/api/repositories/{own['id']}/{verb}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "repository_not_imported")
    assert own["mode"] == "managed"
