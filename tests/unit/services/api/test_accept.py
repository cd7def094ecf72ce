"""A person's word on doubtful backups: recorded, refused where it cannot help, and shown."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from shared.db.tables import Archive, OutboxRow
from shared.domain.backup_state import doubt, note
from shared.domain.messages.counts import FILES, number
from shared.domain.messages.run_reasons import CHANGED_WHILE_READ
from shared.domain.messages.source_reasons import SOURCE_EMPTY
from shared.runtime.service import Parts
from tests.unit.services.api.test_api import api, made

__all__ = ["api"]
EMPTIED = doubt(SOURCE_EMPTY(path="/srv", held=number(1204, FILES)))
CHANGED = note(CHANGED_WHILE_READ(files=number(1, FILES), examples="/var/log/a: file changed while we backed it up"))


async def archive(api: httpx2.AsyncClient, parts: Parts, *kinds: dict[str, Any]) -> list[str]:
    """Add archives of one backup job, the oldest first; return their ids."""
    all_ = await made(api)
    ids = {f"{name}_id": uuid.UUID(all_[name]["id"]) for name in ("repository", "server")}
    ids |= {"backup_job_id": uuid.UUID(all_["job"]["id"])}

    async def add(tx: Any) -> list[str]:
        rows = []
        for nth, kind in enumerate(kinds):
            at = datetime.now(UTC) - timedelta(days=len(kinds) - nth)
            times = {"started_at": at, "ended_at": at, "created_at": at}
            rows.append(Archive(name=f"a{nth}", borg_id=f"{nth:064}", **{"state": "warning"} | ids | times | kind))
        tx.session.add_all(rows)
        await tx.session.flush()
        return [str(row.id) for row in rows]

    return await parts.db.run(add)


async def test_a_doubtful_backup_counts_once_somebody_accepted_it_and_who_and_why_is_kept(
    api: httpx2.AsyncClient, parts: Parts
) -> None:
    rows = [EMPTIED.to_json(), CHANGED.to_json()]
    old, new = await archive(api, parts, {"state": "succeeded", "trusted": True}, {"reasons": rows})
    told = ({"text": one.said.text, "remedy": one.said.remedy} for one in (EMPTIED, CHANGED))
    reasons = [row | {"message": row["message"] | words} for row, words in zip(rows, told, strict=True)]
    shown = (await api.get(f"/api/backups/{new}")).json()
    assert (shown["good"], shown["doubtful"], shown["reasons"]) == (False, True, reasons)
    before = (await api.get("/api/compliance")).json()[0]["last_good_at"]
    assert [one["id"] for one in (await api.get("/api/backups?trust=doubtful")).json()["items"]] == [new]
    assert [one["id"] for one in (await api.get("/api/backups?trust=good")).json()["items"]] == [old]

    accepted = (await api.post(f"/api/backups/{new}/accept", json={"reason": "moved to web2"})).json()
    assert (accepted["good"], accepted["doubtful"], accepted["state"]) == (True, False, "warning")
    assert (accepted["accepted_by"], accepted["accepted_reason"]) == ("admin", "moved to web2")
    assert abs(datetime.fromisoformat(accepted["accepted_at"]) - datetime.now(UTC)) < timedelta(minutes=10)
    assert accepted["reasons"] == reasons
    assert (await api.get("/api/compliance")).json()[0]["last_good_at"] > before
    assert (await api.get("/api/backup-jobs")).json()["items"][0]["last_good_at"] == shown["created_at"]
    assert (await api.get("/api/backups?trust=doubtful")).json()["items"] == []
    async with parts.db.read() as session:
        sent = list(await session.scalars(select(OutboxRow.payload).where(OutboxRow.subject == "archive.accepted")))
    assert [json.loads(one)["archive_id"] for one in sent] == [new]


async def test_accepting_twice_keeps_the_first_word(api: httpx2.AsyncClient, parts: Parts) -> None:
    (one,) = await archive(api, parts, {})
    first = (await api.post(f"/api/backups/{one}/accept", json={"reason": "first"})).json()
    again = await api.post(f"/api/backups/{one}/accept", json={"reason": "second"})
    assert (again.status_code, again.json()) == (200, first)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ({"state": "failed"}, "archive_failed"),
        ({"damage": "a chunk is gone"}, "archive_damaged"),
        ({"missing": True}, "archive_missing"),
        ({"deleting": True}, "archive_leaving"),
        ({"state": "succeeded", "trusted": True}, "archive_not_doubtful"),
        ({"state": "failed", "damage": "bad", "missing": True}, "archive_damaged"),
    ],
)
async def test_a_word_makes_no_good_backup_of_one_that_cannot_be_restored(
    api: httpx2.AsyncClient, parts: Parts, kind: dict[str, Any], code: str
) -> None:
    (one,) = await archive(api, parts, kind)
    before = (await api.get(f"/api/backups/{one}")).json()
    refused = await api.post(f"/api/backups/{one}/accept", json={"reason": "looks fine"})
    assert (refused.status_code, refused.json()["code"]) == (409, code)
    assert refused.json()["remedy"]
    assert (await api.get(f"/api/backups/{one}")).json() == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "backups/{}/accept"),
        ("PUT", "backups/{}/hold"),
        ("POST", "repositories/{}/unfreeze"),
        ("POST", "repositories/{}/accept-restored"),
        ("POST", "repositories/{}/recover"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [{}, {"reason": ""}, {"reason": "   "}, {"reason": "\u00a0\u2003"}, {"reason": "\ud800"}, {"reason": "x" * 5000}],
)
async def test_a_word_without_a_reason_is_none(
    api: httpx2.AsyncClient, parts: Parts, method: str, path: str, body: dict[str, str]
) -> None:
    (one,) = await archive(api, parts, {})
    backup = (await api.get(f"/api/backups/{one}")).json()
    about = one if path.startswith("backups") else backup["repository_id"]
    kept = f"/api/{path.split('/', maxsplit=1)[0]}/{about}"
    before = (await api.get(kept)).json()
    answer = await api.request(
        method, f"/api/{path.format(about)}", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 422), answer.text
    assert (await api.get(kept)).json() == before


async def test_what_does_not_exist_is_not_accepted(api: httpx2.AsyncClient) -> None:
    answer = await api.post(f"/api/backups/{uuid.uuid4()}/accept", json={"reason": "x"})
    assert answer.status_code == 404
    assert (await api.get("/api/backups?trust=perhaps")).status_code == 422
