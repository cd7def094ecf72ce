"""Downloads over a gateway that listens, and over the bus in memory and nats-server: links that work once, and bytes.

The node's side is the real one; what borg would write comes from here, so that it can break off anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete, select, update

from services.backup.node.view_keeper import ViewKeeper
from services.backup.transfer.desk import Transfers
from services.backup.transfer.outgoing import Outgoing
from shared.config.settings import HealthSettings
from shared.db.session import Database
from shared.db.tables import Archive, AuditEntry, DownloadTicket, Grant, Repository, StoragePool, User, db_now
from shared.domain.downloads import CHUNK_BYTES, MOST_TRANSFERS, WINDOW
from shared.errors import Permanent
from shared.runtime.health import serve
from shared.testing.sshd import free_port
from tests.harness.pairs import PAIRS
from tests.harness.patience import WAIT
from tests.harness.world import World

pytestmark = [pytest.mark.measured, PAIRS]  # measured on both: JetStream is reached by code of its own
LONG = os.urandom(3 * WINDOW * CHUNK_BYTES + 4321)
ITEMS = {"items": [{"path": "srv/a"}], "format": "file"}


class FakeStorage:
    """A node's storage whose borg writes what a test wants."""

    def __init__(self) -> None:
        self.data = b"hello"
        self.error: BaseException | None = None
        self.broken_after: int | None = None
        self.at_work = 0
        self.written: list[int] = []
        """Bytes that each transfer was rid of, in the order in which they began."""
        self.chosen: list[dict[str, Any]] = []

    def view_of(self, place: Any, name: uuid.UUID) -> Any:
        return replace(place, id=name)

    @contextlib.asynccontextmanager
    async def open(self, _place: Any, _epoch: int) -> AsyncGenerator[Any]:
        yield None

    def permit(self, _place: Any, _epoch: int) -> str:
        return ""

    async def take_view(self, _place: Any, _view: Any) -> int:
        return 1

    async def remove_view(self, _view: Any) -> None:
        return

    async def export_chosen(self, _place: Any, _grant: Any, chosen: dict[str, Any], on_block: Any) -> None:
        self.chosen.append(chosen)
        self.at_work += 1
        mine = len(self.written)
        self.written.append(0)
        try:
            upto = len(self.data) if self.broken_after is None else self.broken_after
            for start in range(0, upto, CHUNK_BYTES):
                await on_block(self.data[start : min(upto, start + CHUNK_BYTES)])
                self.written[mine] = start + CHUNK_BYTES
            if self.error is not None:
                raise self.error
        finally:
            self.at_work -= 1


class Served:
    """A gateway on a port, over a world of two servers, and the node that holds their backups."""

    def __init__(self, world: World, port: int, storage: FakeStorage, transfers: Transfers) -> None:
        self.world, self.port, self.storage, self.transfers = world, port, storage, transfers
        self.backup = str(world.mine["backup_id"])

    async def ask(self, who: str = "eu", body: Any = None, backup: str = "") -> httpx2.Response:
        path = f"/api/backups/{backup or self.backup}/downloads"
        return await self.world.ask(who, "POST", path, ITEMS if body is None else body)

    async def link(self, who: str = "eu", body: Any = None) -> str:
        answer = await self.ask(who, body)
        assert answer.status_code == 201, answer.text
        return answer.json()["url"]

    async def get(self, url: str, method: str = "GET", **headers: str) -> httpx2.Response:
        async with httpx2.AsyncClient(timeout=WAIT) as client:
            return await client.request(method, f"http://127.0.0.1:{self.port}{url}", headers=headers)

    async def raw(self, url: str, version: str = "1.1") -> bytes:
        """All that comes over a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {url} HTTP/{version}\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
        try:
            async with asyncio.timeout(WAIT):
                return await reader.read(-1)
        finally:
            writer.close()

    async def change(self, **values: Any) -> None:
        await self.world.db.run(lambda tx: tx.session.execute(update(DownloadTicket).values(**values)))

    async def until_over(self) -> None:
        async with asyncio.timeout(WAIT):
            while self.storage.at_work or self.transfers._open:
                await asyncio.sleep(0.01)


@pytest.fixture
async def served(db: Database, bus: Any, tmp_path: Path) -> AsyncIterator[Served]:
    world = World(db, bus)
    await world.prepare()
    await world.token("viewer", ("viewer", None))
    node, storage = f"node{free_port()}", FakeStorage()
    await db.run(lambda tx: tx.session.execute(update(StoragePool).values(node=node)))
    for repository in (world.mine["repository_id"], world.other["repository_id"]):
        await db.run(lambda tx, of=repository: tx.secrets.put(f"repository:{of.hex}:passphrase", "x"))
    made: Any = storage
    transfers = Transfers(db, bus, node, made, ViewKeeper(db, node, made), tmp_path, patience=WAIT)
    stopping, port = asyncio.Event(), free_port()
    tasks = [
        asyncio.create_task(one)
        for one in (transfers.serve(stopping), serve(world.app, HealthSettings(port=port), stopping))
    ]
    found = Served(world, port, storage, transfers)
    async with asyncio.timeout(WAIT):
        while (await found.ask()).status_code == 503 or not await _answers(port):
            await asyncio.sleep(0.01)
    yield found
    await found.until_over()
    stopping.set()
    await asyncio.gather(*tasks)


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, len(LONG)])
async def test_every_byte_comes_and_nothing_else(served: Served, size: int) -> None:
    served.storage.data = LONG[:size]
    answer = await served.get(await served.link())
    assert (answer.status_code, answer.content == LONG[:size]) == (200, True)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename=\"a\"; filename*=UTF-8''a"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert "content-length" not in answer.headers
    await served.until_over()


async def test_what_was_chosen_is_what_borg_is_asked_for(served: Served) -> None:
    body = {"items": [{"path": "/srv/www"}, {"path_b64": "c3J2L+k="}], "format": "zip"}
    answer = (await served.ask(body=body)).json()
    assert re.fullmatch(r"mine-2026-11-20T120000Z\.zip", answer["name"])
    assert answer["estimated_bytes"] is None
    assert (await served.get(answer["url"])).headers["content-type"] == "application/zip"
    (chosen,) = served.storage.chosen
    assert chosen["items"] == ["c3J2L3d3dw==", "c3J2L+k="]
    assert (chosen["parents"], chosen["format"], chosen["full"]) == (["c3J2"], "zip", False)
    whole = (await served.ask(body={})).json()
    assert whole["name"].endswith(".tar.zst")
    assert whole["estimated_bytes"] == 0


async def test_a_link_works_once_and_of_two_at_once_only_for_one(served: Served) -> None:
    url = await served.link()
    answers = await asyncio.gather(*(served.get(url) for _ in range(5)))
    assert sorted(one.status_code for one in answers) == [200, 410, 410, 410, 410]
    again = await served.get(url)
    assert (again.status_code, again.json()["code"]) == (410, "download_used")


async def test_a_head_uses_nothing_up(served: Served) -> None:
    url = await served.link()
    head = await served.get(url, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert "attachment" in head.headers["content-disposition"]
    assert served.storage.chosen == []
    assert (await served.get(url)).content == b"hello"


async def test_a_link_is_over_after_a_minute(served: Served) -> None:
    answer = (await served.ask()).json()
    async with served.world.db.read() as session:
        left = select(DownloadTicket.expires_at).order_by(DownloadTicket.created_at.desc()).limit(1)
        assert (await session.scalar(left)).isoformat() == answer["expires_at"].replace("Z", "+00:00")
        ahead = await session.scalar(select(DownloadTicket.expires_at <= db_now(60.0)).limit(1))
    assert ahead
    await served.change(expires_at=db_now(-0.001))
    late = await served.get(answer["url"])
    assert (late.status_code, late.json()["code"]) == (410, "download_expired")
    assert served.storage.chosen == []


async def test_nothing_of_the_secret_is_kept(served: Served) -> None:
    secret = (await served.link()).rsplit("/", 1)[1]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", secret)
    async with served.world.db.read() as session:
        for ticket in await session.scalars(select(DownloadTicket)):
            assert secret not in repr({name: value for name, value in vars(ticket).items() if name[0] != "_"})


@pytest.mark.parametrize("url", ["x", "x" * 43, "x" * 44, "%00" * 43, "%C3%A9" * 43])
async def test_what_is_no_link_is_not_found_or_refused(served: Served, url: str) -> None:
    assert (await served.get(f"/api/downloads/{url}")).status_code in (404, 422)


async def test_another_user_gets_nothing_and_the_link_stays_its_owners(served: Served) -> None:
    url = await served.link("eu")
    stranger = await served.get(url, authorization=f"Bearer {served.world.tokens['us']}")
    assert (stranger.status_code, stranger.json()["code"]) == (403, "download_of_another")
    nobody = await served.get(url, authorization="Bearer nonsense")
    assert nobody.status_code == 401
    own = await served.get(url, authorization=f"Bearer {served.world.tokens['eu']}")
    assert (own.status_code, own.content) == (200, b"hello")


async def test_who_lost_his_rights_meanwhile_gets_nothing(served: Served) -> None:
    async def of(tx: Any) -> uuid.UUID:
        user = await tx.session.scalar(select(User).where(User.name == "u-eu"))
        return user.id

    user = await served.world.db.run(of)
    url, other = await served.link(), await served.link()
    await served.world.db.run(
        lambda tx: tx.session.execute(update(Grant).where(Grant.user_id == user).values(role="viewer"))
    )
    assert (await served.get(url)).status_code == 403
    await served.world.db.run(
        lambda tx: tx.session.execute(update(User).where(User.id == user).values(state="disabled"))
    )
    assert (await served.get(other)).status_code == 404
    assert served.storage.chosen == []


async def test_who_may_not_makes_no_link(served: Served) -> None:
    assert (await served.ask("viewer")).status_code == 403
    assert (await served.ask("us")).status_code == 404
    assert (await served.ask("eu", backup=str(uuid.uuid4()))).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"format": "file"}, {"format": "preview", "items": [{"path": "a"}, {"path": "b"}]}, {"format": "rar"},
        {"items": [{}]}, {"items": [{"path": "../a"}]}, {"items": [{"path_b64": "Ki4u"}, {"path": "/"}]},
        {"items": [{"path": "a"}] * 1001},
    ],
    ids=range(7),
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(served: Served, body: dict[str, Any]) -> None:
    assert (await served.ask(body=body)).status_code == 422


async def test_who_downloaded_what_is_recorded(served: Served) -> None:
    await served.link(body={"items": [{"path": "srv/secret"}], "format": "file"})
    query = select(AuditEntry).where(AuditEntry.action == "make_download").order_by(AuditEntry.at.desc()).limit(1)
    async with served.world.db.read() as session:
        entry = await session.scalar(query)
    assert entry is not None
    assert (entry.target_id, entry.target_name, entry.actor_name) == (served.backup, "mine-a", "t-eu")
    assert entry.server_id == served.world.mine["server_id"]
    assert "srv/secret" in str(entry.after)
    assert '"digest": "changed"' in str(entry.after)


@pytest.mark.parametrize("after", [1, CHUNK_BYTES, len(LONG) - 1])
async def test_what_breaks_off_breaks_the_connection(served: Served, after: int) -> None:
    served.storage.data, served.storage.broken_after = LONG, after
    served.storage.error = Permanent("borg was killed", code="borg_killed", remedy="-")
    url = await served.link()
    if after < CHUNK_BYTES:  # nothing was sent yet: it can be told
        assert (await served.get(url)).status_code == 400
        return
    with pytest.raises(httpx2.RemoteProtocolError):
        await served.get(url)
    assert not (await served.raw(await served.link())).endswith(b"\r\n0\r\n\r\n")


async def test_a_node_that_stops_in_the_middle_breaks_the_connection(served: Served) -> None:
    served.storage.data = LONG
    async with httpx2.AsyncClient(timeout=WAIT) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            async with client.stream("GET", f"http://127.0.0.1:{served.port}{await served.link()}") as answer:
                async for _ in answer.aiter_raw():
                    await served.transfers.close()


async def test_what_breaks_off_is_said_once(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.storage.data, served.storage.broken_after = LONG, 2 * CHUNK_BYTES
    served.storage.error = Permanent("borg was killed", code="borg_killed", remedy="-")
    with pytest.raises(httpx2.RemoteProtocolError):
        await served.get(await served.link())
    await served.until_over()
    gc.collect()
    await asyncio.sleep(0)
    assert "never retrieved" not in caplog.text


async def test_bytes_that_changed_on_the_way_break_the_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Outgoing.answer

    async def changed(self: Outgoing, number: int) -> bytes:
        found = await answer(self, number)
        return found[:-1] + bytes([found[-1] ^ 1]) if number == 1 else found

    monkeypatch.setattr(Outgoing, "answer", changed)
    served.storage.data = LONG
    with pytest.raises(httpx2.RemoteProtocolError):
        await served.get(await served.link())


async def test_who_leaves_ends_it_on_the_node(served: Served) -> None:
    served.storage.data = LONG
    url = f"http://127.0.0.1:{served.port}{await served.link()}"
    async with httpx2.AsyncClient(timeout=WAIT) as client, client.stream("GET", url) as answer:
        await anext(answer.aiter_raw())
        assert served.storage.at_work == 1
    await served.until_over()


async def test_who_reads_slowly_has_no_more_made_for_him_than_a_window(served: Served) -> None:
    served.storage.data = bytes(200 * CHUNK_BYTES)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
    writer.write(f"GET {await served.link()} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
    await reader.readexactly(100)
    async with asyncio.timeout(WAIT):
        while served.storage.written[0] < WINDOW * CHUNK_BYTES:
            await asyncio.sleep(0.01)
    # In the time in which another gets everything, he would be sent everything, too.
    answer = await served.get(await served.link())
    assert len(answer.content) == served.storage.written[1] == len(served.storage.data)
    kernel = 16 * 1024 * 1024  # buffers of both sockets, as large as this kernel makes them
    assert served.storage.written[0] <= (WINDOW + 4) * CHUNK_BYTES + kernel < len(served.storage.data)
    writer.close()
    await served.until_over()


async def test_a_fifth_at_once_is_told_to_wait(served: Served) -> None:
    served.storage.data = bytes(200 * CHUNK_BYTES)
    async with httpx2.AsyncClient(timeout=WAIT) as client, contextlib.AsyncExitStack() as stack:
        for _ in range(MOST_TRANSFERS):
            url = f"http://127.0.0.1:{served.port}{await served.link()}"
            await stack.enter_async_context(client.stream("GET", url))
        fifth = await served.get(await served.link())
        assert (fifth.status_code, fifth.json()["code"]) == (429, "transfers_busy")
        assert int(fifth.headers["retry-after"]) > 0
    await served.until_over()
    served.storage.data = b"hello"
    assert (await served.get(await served.link())).content == b"hello"


async def test_a_protocol_without_an_end_is_refused(served: Served) -> None:
    answer = await served.raw(await served.link(), "1.0")
    assert answer.startswith(b"HTTP/1.1 505")
    assert b"http_too_old" in answer


async def test_a_node_that_is_away_is_told(served: Served) -> None:
    url = await served.link()
    await served.world.db.run(lambda tx: tx.session.execute(update(StoragePool).values(node="gone")))
    answer = await served.get(url)
    assert (answer.status_code, answer.json()["code"]) == (503, "node_away")
    assert (await served.ask()).json()["code"] == "node_away"
    whole = await served.ask(body={})  # of which nothing has to be looked up
    assert (await served.get(whole.json()["url"])).json()["code"] == "node_away"


PICTURES = {
    "image/png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(100),
    "image/gif": b"GIF89a" + bytes(100),
    "image/webp": b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(100),
}
SHOWN: list[tuple[bytes, str]] = [
    *((data, kind) for kind, data in PICTURES.items()),
    (b"", "text/plain; charset=utf-8"),
    ("größe\r\n\t".encode(), "text/plain; charset=utf-8"),
    (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "text/plain; charset=utf-8"),
    (b"<!doctype html><script>alert(1)</script>", "text/plain; charset=utf-8"),
]


@pytest.mark.parametrize(("data", "kind"), SHOWN, ids=range(len(SHOWN)))
async def test_text_and_pictures_are_shown_and_nothing_runs(served: Served, data: bytes, kind: str) -> None:
    served.storage.data = data
    answer = await served.get(await served.link(body={"items": [{"path": "a.svg"}], "format": "preview"}))
    assert (answer.content, answer.headers["content-type"]) == (data, kind)
    assert answer.headers["content-disposition"].startswith("inline")
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("data", [b"\x7fELF\0\0", b"a\0b", b"\xff\xfe", b"%PDF-1.7\n\x00\x01", b"latin1 \xe9 "])
async def test_anything_else_is_not_shown(served: Served, data: bytes) -> None:
    served.storage.data = data
    answer = await served.get(await served.link(body={"items": [{"path": "a"}], "format": "preview"}))
    assert (answer.status_code, answer.json()["code"]) == (415, "no_preview")


async def test_of_text_the_beginning_is_shown_and_borg_ends(served: Served) -> None:
    served.storage.data = "ä".encode() * (4 * 1024 * 1024)
    answer = await served.get(await served.link(body={"items": [{"path": "a"}], "format": "preview"}))
    assert answer.content == served.storage.data[: 256 * 1024]
    await served.until_over()


async def test_a_picture_that_is_too_large_is_refused_or_broken_off(served: Served) -> None:
    served.storage.data = PICTURES["image/png"] + bytes(11 * 1024 * 1024)
    body = {"items": [{"path": "a"}], "format": "preview"}
    with pytest.raises(httpx2.RemoteProtocolError):
        await served.get(await served.link(body=body))
    url = await served.link(body=body)
    await served.change(size=11 * 1024 * 1024)
    answer = await served.get(url)
    assert (answer.status_code, answer.json()["code"]) == (413, "preview_too_large")


async def test_deleted_with_its_backup(served: Served) -> None:
    await served.link()
    await served.world.db.run(lambda tx: tx.session.execute(delete(Archive)))
    async with served.world.db.read() as session:
        assert (await session.scalars(select(DownloadTicket))).all() == []
        assert (await session.scalars(select(Repository))).all()
