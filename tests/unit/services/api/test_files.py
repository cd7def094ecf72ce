"""`GET /api/backups/{id}/files`: names lose nothing on their way, and a node that is away is told as that."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from shared.db.tables import Archive, StoragePool
from shared.domain.files import LIST, FileRow, ListAnswer, ListAsked, subject
from shared.errors import AppError, Transient
from shared.runtime.service import Parts
from tests.unit.services.api.test_accept import archive
from tests.unit.services.api.test_api import api

__all__ = ["api"]
ROWS = [
    FileRow(name=b"a", type="-", mode=0o644, uid=0, gid=0, user=b"root", group=b"root", size=7, mtime=1_700_000_000_000_000),
    FileRow(name=b"implied", type="d"),
    FileRow(name=b"latin1-\xe9", type="l", mode=0o777, link=b"a\xe9", mtime=10**18),
    FileRow(name="größe\n\u202e".encode(), type="?"),
]  # fmt: skip


async def asked(
    api: httpx2.AsyncClient, parts: Parts, query: str = "", answer: Any = None
) -> tuple[Any, list[ListAsked]]:
    """Ask for a directory; return the response, and what the node was asked."""
    async with parts.db.read() as session:
        there = await session.scalar(select(Archive.id))
    backup = there or (await archive(api, parts, {}))[0]
    heard: list[ListAsked] = []

    async def answered(payload: bytes) -> bytes:
        heard.append(ListAsked.model_validate_json(payload))
        if isinstance(answer, AppError):
            raise answer
        return (answer or ListAnswer(rows=ROWS, source="archive")).model_dump_json().encode()

    async with parts.db.read() as session:
        node = await session.scalar(select(StoragePool.node))
    listening = await parts.bus.serve(subject(LIST, str(node)), answered)
    try:
        return await api.get(f"/api/backups/{backup}/files{query}"), heard
    finally:
        await listening.close()


async def test_every_name_is_shown_and_can_be_asked_for_by_its_bytes(api: httpx2.AsyncClient, parts: Parts) -> None:
    response, heard = await asked(api, parts, "?path=/srv/data")
    assert response.status_code == 200, response.text
    page = response.json()
    assert [one["name"] for one in page["items"]] == ["a", "implied", "latin1-\ufffd", "größe\n\u202e"]
    assert [base64.b64decode(one["name_b64"] or "") for one in page["items"]] == [b"", b"", b"latin1-\xe9", b""]
    assert [one["type"] for one in page["items"]] == ["file", "directory", "symlink", "other"]
    assert page["items"][0]["modified_at"].startswith("2023-11-14T22:13:20")
    assert page["items"][2]["modified_at"] is None
    assert (page["source"], page["next"]) == ("archive", None)
    assert (heard[0].path, heard[0].after, heard[0].limit) == (b"/srv/data", None, 200)


async def test_bytes_that_are_no_text_reach_the_node(api: httpx2.AsyncClient, parts: Parts) -> None:
    raw = b"/srv/latin1-\xe9\xff\xfe"
    _, heard = await asked(api, parts, "?path_b64=" + base64.urlsafe_b64encode(raw).decode())
    assert heard[0].path == raw


async def test_the_next_page_goes_on_after_the_last_name(api: httpx2.AsyncClient, parts: Parts) -> None:
    more = ListAnswer(rows=ROWS[:3], more=True, source="archive")
    first, _ = await asked(api, parts, answer=more)
    following = first.json()["next"]
    _, heard = await asked(api, parts, f"?after={following}&limit=3")
    assert (heard[0].after, heard[0].limit) == (b"latin1-\xe9", 3)


@pytest.mark.parametrize("query", ["?path_b64=*", "?after=*", "?limit=0", "?limit=501", "?path=" + "x" * 20000])
async def test_what_cannot_be_asked_reaches_no_node(api: httpx2.AsyncClient, parts: Parts, query: str) -> None:
    response, heard = await asked(api, parts, query)
    assert response.status_code in (422, 431), response.text
    assert heard == []


async def test_a_node_that_is_away_is_told_at_once(api: httpx2.AsyncClient, parts: Parts) -> None:
    (backup,) = await archive(api, parts, {})
    response = await api.get(f"/api/backups/{backup}/files")
    assert (response.status_code, response.json()["code"]) == (503, "node_away")


@pytest.mark.parametrize(
    ("code", "shown"), [("bus_timeout", "node_slow"), ("repository_busy", "repository_busy"), ("bus_busy", "bus_busy")]
)
async def test_why_a_node_does_not_answer_is_told(api: httpx2.AsyncClient, parts: Parts, code: str, shown: str) -> None:
    response, _ = await asked(api, parts, answer=Transient("no answer", code=code, remedy="ask again"))
    assert (response.status_code, response.json()["code"]) == (504 if shown == "node_slow" else 503, shown)


async def test_a_backup_that_nobody_knows_is_not_found(api: httpx2.AsyncClient, parts: Parts) -> None:
    await asyncio.sleep(0)
    assert (await api.get("/api/backups/00000000-0000-0000-0000-000000000000/files")).status_code == 404
