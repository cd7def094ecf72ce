"""A tar is read as it passes; nothing hostile reaches the server's tar."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from services.backup.restore.tar import TarReader
from shared.errors import Permanent

LONG = "d" * 90 + "/" + "e" * 90 + "/" + "f" * 200


def entry(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), link
    return info, data


def tar(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w|", format=form, encoding="utf-8", errors="surrogateescape") as made:
        for info, data in entries:
            made.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def read(data: bytes, step: int = 0, reader: TarReader | None = None) -> TarReader:
    reader = reader or TarReader()
    step = step or len(data)
    for begin in range(0, len(data), step):
        reader.feed(data[begin : begin + step])
    return reader


HONEST = (
    entry("a", tarfile.DIRTYPE), entry("a/empty"), entry("a/file", data=b"x" * 1000),
    entry("a/second", tarfile.LNKTYPE, link="a/file"), entry("a/link", tarfile.SYMTYPE, link="/etc/passwd"),
    entry("a/fifo", tarfile.FIFOTYPE), entry(LONG, data=b"long"), entry("a/\udce9", data=b"latin"),
    entry("a/new\nline", data=b"n"), entry("a/..b", data=b"dots"),
)  # fmt: skip


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
@pytest.mark.parametrize("step", [1, 511, 512, 513, 100_000])
def test_what_passes_is_counted_and_hashed_however_it_is_cut(form: int, step: int) -> None:
    reader = read(tar(*HONEST, form=form), step)
    passed = reader.passed
    assert reader.ended
    assert (passed.files, passed.size, passed.links, passed.directories, passed.others) == (6, 1014, 1, 1, 2)
    assert passed.names == 9
    assert passed.hashes[b"a/file"] == hashlib.sha256(b"x" * 1000).digest()
    assert passed.hashes[b"a/empty"] == hashlib.sha256(b"").digest()
    assert {LONG.encode(), b"a/\xe9", b"a/new\nline"} <= passed.hashes.keys()


def test_only_what_was_chosen_is_hashed() -> None:
    reader = read(tar(*HONEST), reader=TarReader({b"a/..b"}))
    assert set(reader.passed.hashes) == {b"a/..b"}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
@pytest.mark.parametrize(
    "entries",
    [
        [entry("../x", data=b"x")],
        [entry("a/../../x", data=b"x")],
        [entry("/etc/x", data=b"x")],
        [entry("a//b", data=b"x")],
        [entry("./a", data=b"x")],
        [entry("..", tarfile.DIRTYPE)],
        [entry("l", tarfile.SYMTYPE, link="/etc"), entry("l/x", data=b"x")],
        [entry("l", tarfile.SYMTYPE, link="../outside"), entry("l/x", data=b"x")],
        [entry("l", tarfile.SYMTYPE, link="/etc/passwd"), entry("l", data=b"x")],
        [entry("l", tarfile.SYMTYPE, link="/etc"), entry("l", tarfile.DIRTYPE), entry("l/x", data=b"x")],
        [entry("a", tarfile.SYMTYPE, link="/"), entry("a/b", tarfile.SYMTYPE, link="etc"), entry("a/b/x")],
        [entry("h", tarfile.LNKTYPE, link="/etc/passwd")],
        [entry("h", tarfile.LNKTYPE, link="../../etc/passwd"), entry("h", data=b"x")],
        [entry("l", tarfile.SYMTYPE, link="/etc"), entry("h", tarfile.LNKTYPE, link="l/passwd")],
        [entry("l", tarfile.SYMTYPE, link="/etc/passwd"), entry("h", tarfile.LNKTYPE, link="l"), entry("h", data=b"x")],
        [entry("s", tarfile.GNUTYPE_SPARSE)],
        [entry("m", b"M")],
        [entry("../" + LONG, data=b"x")],
        [entry("h", tarfile.LNKTYPE, link="../" + LONG)],
    ],
)
def test_nothing_that_leads_outside_passes(entries: list[tuple[tarfile.TarInfo, bytes]], form: int) -> None:
    with pytest.raises(Permanent) as caught:
        read(tar(entry("before", data=b"fine"), *entries, form=form))
    assert caught.value.code == "hostile_archive"
    assert caught.value.remedy


def test_an_archive_that_only_says_that_it_is_at_its_end_is_cut() -> None:
    data = tar(entry("a", data=b"x" * 600))
    for cut in (100, 512, 700, 1536):
        assert not read(data[:cut]).ended


@pytest.mark.parametrize("change", [{0: 1}, {124: 0x39}, {148: 0x38}])
def test_what_is_no_tar_is_told_as_that(change: dict[int, int]) -> None:
    data = bytearray(tar(entry("a", data=b"x")))
    for place, value in change.items():
        data[place] = value
    with pytest.raises(Permanent) as caught:
        read(bytes(data))
    assert caught.value.code == "tar_garbled"


def test_a_header_without_end_does_not_fill_the_memory() -> None:
    info, _ = entry("x", b"x")
    info.size = 50 * 1024 * 1024
    with pytest.raises(Permanent, match="header of"):
        read(info.tobuf(tarfile.USTAR_FORMAT))


@pytest.mark.parametrize("text", [b"8 path=x\n", b"x path=x\n", b"99 path=x\n", b"path"])
def test_an_extended_header_that_is_cut_is_no_name(text: bytes) -> None:
    info, _ = entry("x", b"x")
    info.size = len(text)
    with pytest.raises(Permanent) as caught:
        read(info.tobuf(tarfile.USTAR_FORMAT) + text.ljust(512, b"\0") + tar(entry("a")))
    assert caught.value.code in ("tar_garbled", "hostile_archive")


def test_files_beyond_what_octal_digits_hold_are_counted() -> None:
    info, _ = entry("big")
    info.size = 9 * 1024**3
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        reader = read(info.tobuf(form))
        assert reader.passed.size == info.size
