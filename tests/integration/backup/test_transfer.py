"""Bytes out of archives over the bus: real borg and a real view; what breaks off is never taken for the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import io
import os
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.backup.node.view_keeper import ViewKeeper
from services.backup.transfer import lease
from services.backup.transfer.desk import Transfers
from shared.borg.node import BorgNode
from shared.db.stores.leases import Leases
from shared.db.tables import Archive
from shared.domain.downloads import (
    CHUNK_BYTES,
    DATA,
    END,
    LATER,
    LOOK,
    MOST_TRANSFERS,
    OPEN,
    WINDOW,
    ChunkAsked,
    Ended,
    LookAnswer,
    Opened,
    TransferAsked,
    chunk_subject,
    subject,
)
from shared.errors import AppError, Permanent, Transient
from tests.harness.patience import WAIT
from tests.integration.backup.test_catalogue import index
from tests.integration.backup.yard import Yard

NAMES = [
    b"latin1-\xe9",
    b"new\nline",
    b'quo"te',
    "größe".encode(),
    b"\xe2\x80\xaeright",
    b"back\\slash",
    b"*?[a]",
    b" ",
]
LONG = os.urandom(WINDOW * CHUNK_BYTES * 2 + 12345)


class Node:
    """A backup node that serves transfers, with an archive."""

    def __init__(self, yard: Yard, archive: Archive, source: Path, transfers: Transfers) -> None:
        self.yard, self.archive, self.source, self.transfers = yard, archive, source, transfers

    async def ask(self, verb: str, *items: bytes, form: str = "tar") -> bytes:
        asked = TransferAsked.model_validate({"archive_id": self.archive.id, "items": items, "format": form})
        return await self.yard.bus.request(subject(verb, "node1"), asked.model_dump_json().encode(), WAIT)

    async def open(self, *items: bytes, form: str = "tar") -> str:
        return Opened.model_validate_json(await self.ask(OPEN, *items, form=form)).transfer

    async def chunk(self, transfer: str, number: int | None) -> bytes:
        about = chunk_subject("node1", transfer)
        while True:
            answer = await self.yard.bus.request(about, ChunkAsked(number=number).model_dump_json().encode(), WAIT)
            if answer[:1] != LATER:
                return answer

    async def rest(self, transfer: str, first: int = 0) -> bytes:
        data = bytearray()
        number = first
        while (answer := await self.chunk(transfer, number))[:1] == DATA:
            data += answer[1:]
            number += 1
        assert answer[:1] == END
        ended = Ended.model_validate_json(answer[1:])
        if not first:
            assert (ended.size, ended.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        await self.chunk(transfer, None)
        return bytes(data)

    async def all_of(self, *items: bytes, form: str = "tar") -> bytes:
        return await self.rest(await self.open(*items, form=form))

    def inside(self, name: bytes = b"") -> bytes:
        return b"/".join(part for part in (os.fsencode(self.source).strip(b"/"), name) if part)

    async def until_over(self) -> None:
        """Wait until nothing of a transfer is left: no borg, no view, no slot."""
        async with asyncio.timeout(WAIT):
            while borgs() or self.views() or self.transfers._open:
                await asyncio.sleep(0.02)

    def views(self) -> list[Path]:
        return list((self.yard.pool / ".borgfleet-views").glob("*"))


def borgs() -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for one in psutil.process_iter(["cmdline", "ppid"]):
        words: Iterable[str] = one.info["cmdline"] or []
        if one.info["ppid"] == os.getpid() and any("export_archive.py" in word for word in words):
            found.append(one)
    return found


@contextlib.asynccontextmanager
async def serving(yard: Yard, archive: Archive, source: Path, **options: Any) -> AsyncGenerator[Node]:
    keeper = ViewKeeper(yard.db, "node1", yard.storage)
    options = {"patience": WAIT} | options
    transfers = Transfers(yard.db, yard.bus, "node1", yard.storage, keeper, yard.directory / "catalogue", **options)
    stopping = asyncio.Event()
    task = asyncio.create_task(transfers.serve(stopping))
    node = Node(yard, archive, source, transfers)
    async with asyncio.timeout(WAIT):
        while True:
            with contextlib.suppress(AppError):
                await node.ask(LOOK)
                break
            await asyncio.sleep(0)
    try:
        yield node
    finally:
        stopping.set()
        await task
        await node.until_over()


@pytest.fixture
async def node(yard: Yard, tmp_path: Path) -> AsyncGenerator[Node]:
    async with kept(yard, tmp_path / "source") as made:
        yield made


@contextlib.asynccontextmanager
async def kept(yard: Yard, source: Path, **options: Any) -> AsyncGenerator[Node]:
    source.mkdir()
    for number, name in enumerate(NAMES):
        (source / os.fsdecode(name)).write_bytes(name * number)
    (source / "empty").touch()
    (source / "exact").write_bytes(LONG[: 2 * CHUNK_BYTES])
    (source / "long").write_bytes(LONG)
    (source / "another").hardlink_to(source / "long")
    os.mkfifo(source / "pipe")
    (source / "link").symlink_to("long")
    definition = await yard.backup_job(source)
    await yard.run(definition, "succeeded", "warning")
    (archive,) = await yard.archives(definition)
    async with serving(yard, archive, source, **options) as made:
        yield made


async def test_each_form_holds_every_byte(node: Node) -> None:
    expected = {name: name * number for number, name in enumerate(NAMES)}
    expected |= {b"empty": b"", b"exact": LONG[: 2 * CHUNK_BYTES], b"long": LONG, b"another": LONG}
    for name, data in expected.items():
        assert await node.all_of(node.inside(name), form="file") == data, name
    plain = await node.all_of(node.inside())
    packed = await node.all_of(node.inside(), form="tar.zst")
    assert subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout == plain
    with tarfile.open(fileobj=io.BytesIO(plain), errors="surrogateescape") as tar:
        for name, data in expected.items():
            file = tar.extractfile(os.fsdecode(node.inside(name)))
            assert file is not None
            assert file.read() == data, name
    with zipfile.ZipFile(io.BytesIO(await node.all_of(node.inside(), form="zip"))) as found:
        assert found.testzip() is None
        for name in (b"empty", b"long", b"another", "größe".encode(), b"new\nline"):
            assert found.read(node.inside(name).decode()) == expected[name]
        assert found.read(os.fsdecode(node.inside()) + "/latin1-%E9") == expected[b"latin1-\xe9"]
        assert stat.S_ISLNK(found.getinfo(os.fsdecode(node.inside(b"link"))).external_attr >> 16)
        assert b"pipe" in found.read("_LEFT_OUT.txt")


async def test_all_of_an_archive_is_what_no_item_means(node: Node) -> None:
    with tarfile.open(fileobj=io.BytesIO(await node.all_of()), errors="surrogateescape") as tar:
        assert os.fsdecode(node.inside(b"long")) in tar.getnames()


async def test_no_more_is_made_than_was_asked_for(node: Node) -> None:
    transfer = await node.open(node.inside(b"long"), form="file")
    first = await node.chunk(transfer, 0)
    ahead = [asyncio.create_task(node.chunk(transfer, number)) for number in range(1, 4)]
    answers = [first, *await asyncio.gather(*ahead)]
    assert [one[:1] for one in answers] == [DATA] * 4
    assert {len(one) for one in answers} == {CHUNK_BYTES + 1}
    outgoing = next(one for one in gc_of("Outgoing") if one._made)
    assert (outgoing._made, outgoing._chunks) == (4, {})
    assert len(outgoing._buffer) < 2 * CHUNK_BYTES, "what nobody asked for yet is held in memory"
    assert LONG[: 4 * CHUNK_BYTES] == b"".join(one[1:] for one in answers)
    assert await node.rest(transfer, 4) == LONG[4 * CHUNK_BYTES :]


def gc_of(name: str) -> list[Any]:
    return [one for one in gc.get_objects() if type(one).__name__ == name]


async def test_who_stops_ends_borg(node: Node) -> None:
    transfer = await node.open(node.inside(b"long"), form="file")
    await node.chunk(transfer, 0)
    assert borgs()
    outgoing = next(one for one in gc_of("Outgoing") if one._made)
    async with asyncio.timeout(WAIT):
        while not outgoing._buffer:
            await asyncio.sleep(0.02)
    await node.chunk(transfer, None)
    await node.until_over()
    assert (outgoing._chunks, outgoing._buffer) == ({}, b"")


@pytest.mark.parametrize(
    "error", [Transient("a silent disk", code="pool_silent", remedy="-"), PermissionError(13, "no")]
)
async def test_a_view_that_cannot_be_removed_undoes_nothing_and_housekeeping_takes_it(
    node: Node, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def stuck(_view: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(node.yard.storage, "remove_view", stuck)
        assert await node.all_of(node.inside(b"long"), form="file") == LONG
        await asyncio.gather(*node.transfers._open.values())
    assert len(node.views()) == 1
    await ViewKeeper(node.yard.db, "node1", node.yard.storage).tidy()
    assert node.views() == []


async def test_a_lease_that_cannot_be_given_back_undoes_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    release, asked = Leases.release, list[str]()

    async def failing(self: Leases, name: str, holder: str) -> None:
        if name.startswith("view:"):
            asked.append(name)
            raise Transient("no database", code="bus_unreachable", remedy="-")
        await release(self, name, holder)

    monkeypatch.setattr(Leases, "release", failing)
    assert await node.all_of(node.inside(b"long"), form="file") == LONG
    await node.until_over()
    assert len(asked) == 1


async def test_who_asks_no_more_ends_borg(yard: Yard, tmp_path: Path) -> None:
    async with kept(yard, tmp_path / "source", patience=1.0) as node:
        transfer = await node.open(node.inside(b"long"), form="file")
        assert (await node.chunk(transfer, 0))[:1] == DATA
        await node.until_over()
        with pytest.raises(AppError) as caught:
            await node.chunk(transfer, 1)
        assert caught.value.code == "bus_nobody"


async def test_a_fifth_is_refused_until_one_has_ended(node: Node) -> None:
    transfers = [await node.open(node.inside(b"long"), form="file") for _ in range(MOST_TRANSFERS)]
    with pytest.raises(AppError) as caught:
        await node.open(node.inside(b"long"), form="file")
    assert caught.value.code == "transfers_busy"
    await node.chunk(transfers[0], None)
    async with asyncio.timeout(WAIT):
        while len(node.transfers._open) == MOST_TRANSFERS:
            await asyncio.sleep(0.02)
    assert await node.all_of(node.inside(b"empty"), form="file") == b""
    for transfer in transfers[1:]:
        await node.chunk(transfer, None)


async def test_a_borg_that_is_killed_is_told_and_is_no_end(node: Node) -> None:
    transfer = await node.open(node.inside(b"long"), form="file")
    assert (await node.chunk(transfer, 0))[:1] == DATA
    for one in borgs():
        for each in (*one.children(recursive=True), one):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    with pytest.raises(AppError) as caught:
        await node.rest(transfer, 1)
    assert caught.value.code == "borg_killed"


@pytest.mark.parametrize(
    ("name", "form", "code"),
    [(b"nothing", "file", "path_not_in_archive"), (b"", "file", "path_no_file"), (b"link", "file", "path_no_file")],
)
async def test_what_is_no_file_is_told(node: Node, name: bytes, form: str, code: str) -> None:
    with pytest.raises(AppError) as caught:
        await node.all_of(node.inside(name), form=form)
    assert caught.value.code == code


@pytest.mark.parametrize("item", [b"../etc/passwd", b"a//b", b"a/./b", b"", b"/", b"a\0b", b"x" * 20000])
async def test_what_is_no_path_is_refused(node: Node, item: bytes) -> None:
    with pytest.raises(AppError) as caught:
        await node.open(item, form="file")
    assert caught.value.code == "bad_path"


async def test_a_backup_that_is_gone_is_told(node: Node) -> None:
    await node.yard.delete(node.archive)
    with pytest.raises(AppError) as caught:
        await node.all_of(node.inside(b"long"), form="file")
    assert caught.value.code == "archive_missing"


async def test_a_damaged_view_is_told_as_that_and_nothing_is_frozen(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_arguments: Any) -> None:
        raise Permanent("rolled back", code="repository_rolled_back", remedy="-")

    monkeypatch.setattr(node.yard.storage, "export_chosen", broken)
    with pytest.raises(AppError) as caught:
        await node.all_of(node.inside(b"long"), form="file")
    assert caught.value.code == "view_unreadable"


async def test_a_transfer_goes_on_while_a_backup_runs_and_its_lease_is_renewed(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_RENEWALS", 3000)
    permitted: list[int] = []
    permit = yard.storage.permit
    monkeypatch.setattr(yard.storage, "permit", lambda place, epoch: permitted.append(epoch) or permit(place, epoch))
    async with kept(yard, tmp_path / "source") as node:
        transfer = await node.open(node.inside(b"long"), form="file")
        first = await node.chunk(transfer, 0)
        async with asyncio.timeout(WAIT):
            while len(permitted) < 3:
                await asyncio.sleep(0.02)
        definition = await yard.backup_job(node.source / "exact", name="beside")
        await yard.run(definition, "succeeded", "warning")
        assert first[1:] + await node.rest(transfer, 1) == LONG


async def test_a_look_tells_the_size_once_there_is_a_catalogue(node: Node) -> None:
    async def size(*items: bytes, form: str = "tar") -> int | None:
        return LookAnswer.model_validate_json(await node.ask(LOOK, *items, form=form)).size

    assert await size(node.inside(b"long"), form="file") is None
    async with node.yard.db.read() as session:
        archive = await session.get_one(Archive, node.archive.id)
    definition = type("Of", (), {"repository_id": archive.repository_id})()
    await index(node.yard, definition)
    assert await size(node.inside(b"exact"), form="file") == 2 * CHUNK_BYTES
    assert await size(node.inside(b"empty"), form="file") == 0
    named = sum(len(name) * number for number, name in enumerate(NAMES))
    assert await size(node.inside()) == named + 2 * CHUNK_BYTES + len(LONG)
    for name, form, code in (
        (b"nothing", "file", "path_not_in_archive"), (b"nothing", "zip", "path_not_in_archive"),
        (b"link", "file", "path_no_file"), (b"", "preview", "path_no_file"),
    ):  # fmt: skip
        with pytest.raises(AppError) as caught:
            await size(node.inside(name), form=form)
        assert caught.value.code == code, name


def test_the_node_has_the_scripts(yard: Yard) -> None:
    assert isinstance(yard.node, BorgNode)
    assert (yard.directory / "state" / "fence" / "export_formats.py").is_file()
