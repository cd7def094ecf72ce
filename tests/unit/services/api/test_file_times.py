"""Search, versions, differences and sizes: what nodes say reaches people whole, with the backups that they mean."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel
from sqlalchemy import select

from shared.db.tables import Archive, StoragePool
from shared.domain.files import (
    DIFF,
    SEARCH,
    USAGE,
    VERSIONS,
    DiffAnswer,
    Difference,
    Hit,
    SearchAnswer,
    Usage,
    UsageAnswer,
    Version,
    VersionsAnswer,
    subject,
)
from shared.domain.ids import new_id
from shared.errors import AppError, Conflict
from shared.runtime.service import Parts
from tests.unit.services.api.test_accept import archive
from tests.unit.services.api.test_api import api

__all__ = ["api"]
AT = 1_700_000_000_000_000
BORG = "0" * 64


async def get(
    api: httpx2.AsyncClient, parts: Parts, url: str, answers: Mapping[str, BaseModel | AppError]
) -> tuple[httpx2.Response, list[bytes]]:
    """Ask; `{backup}` and `{repository}` stand for those there are."""
    async with parts.db.read() as session:
        row = await session.scalar(select(Archive))
        node = await session.scalar(select(StoragePool.node))
    assert row is not None
    heard: list[bytes] = []
    async with AsyncExitStack() as stack:
        for verb, answer in answers.items():

            async def answered(payload: bytes, answer: BaseModel | AppError = answer) -> bytes:
                heard.append(payload)
                if isinstance(answer, AppError):
                    raise answer
                return answer.model_dump_json().encode()

            listening = await parts.bus.serve(subject(verb, str(node)), answered)
            stack.push_async_callback(listening.close)
        return await api.get(url.format(backup=row.id, repository=row.repository_id)), heard


@pytest.fixture
async def backup(api: httpx2.AsyncClient, parts: Parts) -> Archive:
    (made,) = await archive(api, parts, {})
    async with parts.db.read() as session:
        return await session.get_one(Archive, uuid.UUID(made))


def hit(backup: Archive, path: bytes, **values: Any) -> Hit:
    usual: dict[str, Any] = {
        "type": "-", "size": 7, "mtime": AT, "borg_id": BORG, "first_at": AT, "last_at": AT, "gone_since": None,
        "whole": False,
    }  # fmt: skip
    return Hit.model_validate({"repository_id": backup.repository_id, "path": path} | usual | values)


async def test_a_hit_names_server_repository_and_backup_and_whole_names_come_first(
    api: httpx2.AsyncClient, parts: Parts, backup: Archive
) -> None:
    rows = [hit(backup, b"srv/my-latin1-\xe9"), hit(backup, b"srv/x", whole=True, borg_id="f" * 64, gone_since=AT)]
    answer = SearchAnswer(rows=rows, unknown=[backup.repository_id])
    response, (asked,) = await get(api, parts, "/api/files/search?q=x ext:pdf", {SEARCH: answer})
    assert response.status_code == 200, response.text
    found = response.json()
    assert [one["path"] for one in found["items"]] == ["/srv/x", "/srv/my-latin1-\ufffd"]
    assert base64.b64decode(found["items"][1]["path_b64"]) == b"/srv/my-latin1-\xe9"
    assert [one["backup_id"] for one in found["items"]] == [None, str(backup.id)]
    assert found["items"][0]["gone_since"].startswith("2023-11-14T22:13:20")
    assert found["items"][1]["server_id"] == str(backup.server_id)
    assert found["not_indexed"] == [str(backup.repository_id)]
    assert found["incomplete"] == []
    assert b'".pdf"' in asked


async def test_a_node_that_is_away_is_named_and_never_passes_for_no_hits(
    api: httpx2.AsyncClient, parts: Parts, backup: Archive
) -> None:
    response, _ = await get(api, parts, "/api/files/search?q=invoice", {})
    assert response.status_code == 200
    assert [one["code"] for one in response.json()["incomplete"]] == ["node_away"]


@pytest.mark.parametrize("query", ["q=", "q=in:/srv", "q=x size>1X", "q=" + "x" * 201, "", "q=a%00b"])
async def test_a_search_for_no_name_reaches_no_node(
    api: httpx2.AsyncClient, parts: Parts, backup: Archive, query: str
) -> None:
    response, heard = await get(api, parts, f"/api/files/search?{query}", {SEARCH: SearchAnswer(rows=[])})
    assert (response.status_code, heard) == (422, []), response.text


async def test_versions_name_the_newest_backup_that_holds_each(
    api: httpx2.AsyncClient, parts: Parts, backup: Archive
) -> None:
    row = Version(type="-", size=7, mtime=AT, archives=14, first_at=AT, last_at=AT + 10**6, borg_id=BORG)
    path = base64.urlsafe_b64encode(b"/srv/latin1-\xe9").decode()
    response, (asked,) = await get(
        api, parts, f"/api/repositories/{{repository}}/files/versions?path_b64={path}",
        {VERSIONS: VersionsAnswer(rows=[row], more=True)},
    )  # fmt: skip
    assert response.status_code == 200, response.text
    (found,) = response.json()["items"]
    assert (found["backups"], found["backup_id"], found["type"]) == (14, str(backup.id), "file")
    assert response.json()["more"] is True
    assert base64.b64encode(b"/srv/latin1-\xe9") in asked


async def test_two_backups_are_compared_only_within_a_repository(
    api: httpx2.AsyncClient, parts: Parts, backup: Archive
) -> None:
    row = Difference(path=b"srv/a", type="-", change="changed", before=1, after=2)
    sums = dict.fromkeys(("added", "added_bytes", "removed", "removed_bytes", "changed", "changed_bytes"), 1)
    answer = DiffAnswer(rows=[row], **sums)
    response, _ = await get(api, parts, "/api/backups/{backup}/diff/{backup}", {DIFF: answer})
    assert response.status_code == 200, response.text
    (found,) = response.json()["items"]
    assert (found["path"], found["size_before"], found["size_after"]) == ("/srv/a", 1, 2)
    assert response.json()["removed_bytes"] == 1
    response, _ = await get(api, parts, f"/api/backups/{{backup}}/diff/{new_id()}", {DIFF: answer})
    assert response.status_code == 404


async def test_sizes_say_when_they_are_not_whole(api: httpx2.AsyncClient, parts: Parts, backup: Archive) -> None:
    answer = UsageAnswer(rows=[Usage(name=b"\xe9", files=2, size=9)], files=2, size=9, partial=True)
    response, _ = await get(api, parts, "/api/backups/{backup}/usage?path=/srv", {USAGE: answer})
    found = response.json()
    assert (found["partial"], found["items"][0]["size"], found["items"][0]["name_b64"]) == (True, 9, "6Q==")


async def test_a_repository_that_is_not_indexed_is_told_as_that(
    api: httpx2.AsyncClient, parts: Parts, backup: Archive
) -> None:
    refused = Conflict("not yet", code="catalogue_missing", remedy="wait")
    response, _ = await get(api, parts, "/api/repositories/{repository}/files/versions?path=/a", {VERSIONS: refused})
    assert (response.status_code, response.json()["code"]) == (409, "catalogue_missing")
