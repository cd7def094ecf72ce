"""An entry that is missing, cut, or not as it was recorded is never counted as read and agreeing."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from typing import Any

import pytest

from services.backup.drills.expected import ByPath
from services.backup.drills.in_order import InOrder
from services.backup.drills.reader import DrillReader
from shared.borg.entries import Entry
from shared.domain.sampling import Candidate

NS = 1_700_000_000_123_456_789
US = NS // 1000
FILES = {b"srv/a": b"x" * 700, b"srv/b": b"", b"srv/c": b"y" * 3}


def packed(files: dict[bytes, bytes], **info: Any) -> bytes:
    """A tar as export_archive.py writes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as made:
        for path, data in files.items():
            one = tarfile.TarInfo(path.decode())
            one.size, one.mode, one.mtime = len(data), 0o640, NS // 10**9
            one.pax_headers = {"mtime": f"{NS // 10**9}.{NS % 10**9:09d}"}
            for name, value in info.items():
                setattr(one, name, value)
            made.addfile(one, io.BytesIO(data))
    return buffer.getvalue()


def listed(**changed: Any) -> InOrder:
    expected = InOrder()
    for path, data in FILES.items():
        one = Entry(path, "-", 0o640, 0, 0, b"", b"", len(data), US, None)
        expected.expect(replace(one, **changed) if path == b"srv/c" else one)
    return expected


def read(expected: Any, data: bytes, hashed: Any = None) -> DrillReader:
    reader = DrillReader(expected, hashed)
    for start in range(0, len(data), 1000):
        reader.feed(data[start : start + 1000])
    return reader


def test_what_comes_as_it_was_listed_is_read() -> None:
    expected = listed()
    assert read(expected, packed(FILES)).ended
    assert (expected.read, expected.differ, expected.files, expected.size) == (3, 0, 3, 703)


@pytest.mark.parametrize(
    "changed", [{"size": 4}, {"mode": 0o600}, {"mtime": US + 3}, {"path": b"srv/d"}, {"type": "d"}, {"type": "l"}]
)
def test_one_that_is_not_as_it_was_listed_differs(changed: dict[str, Any]) -> None:
    expected = listed(**changed)
    read(expected, packed(FILES))
    assert (expected.differ, expected.differing) == (1, [b"srv/c"])


def test_a_rounded_time_and_one_that_is_not_known_differ_from_nothing() -> None:
    for mtime in (US + 1, US - 2, None, 0):
        expected = listed(mtime=mtime)
        read(expected, packed(FILES))
        assert expected.differ == 0


def test_one_that_does_not_come_is_not_read_and_one_too_many_differs() -> None:
    expected = listed()
    read(expected, packed({path: data for path, data in FILES.items() if path != b"srv/c"}))
    assert (expected.read, expected.files) == (2, 3)
    expected = listed()
    read(expected, packed(FILES | {b"srv/z": b""}))
    assert (expected.read, expected.differing) == (4, [b"srv/z"])


@pytest.mark.parametrize("cut", [100, 1600, 2100])
def test_one_that_is_cut_short_is_not_read(cut: int) -> None:
    expected = ByPath.of([Candidate(path, len(data)) for path, data in FILES.items()])
    reader = read(expected, packed(FILES)[:cut])
    assert not reader.ended
    assert b"srv/a" in expected.left(list(FILES))


def test_of_some_files_each_is_held_against_its_own_record() -> None:
    good = Candidate(b"srv/a", 700, 0o640, US)
    for one, agrees in (
        (good, True), (good._replace(size=1), False), (good._replace(mode=0o777), False),
        (good._replace(mtime=US - 3), False), (good._replace(mode=None, mtime=None), True),
    ):  # fmt: skip
        expected = ByPath.of([one])
        reader = read(expected, packed({b"srv/a": FILES[b"srv/a"]}))
        assert (expected.left([b"srv/a"]), expected.agrees(b"srv/a")) == ([], agrees)
        assert set(reader.passed.hashes) == {b"srv/a"}


def test_a_link_in_the_place_of_a_file_does_not_agree() -> None:
    expected = ByPath.of([Candidate(b"srv/a", 0)])
    read(expected, packed({b"srv/a": b""}, type=tarfile.LNKTYPE, linkname="srv/other"))
    assert not expected.agrees(b"srv/a")


def test_a_time_that_is_none_tells_nothing_and_one_before_1970_is_no_later_one() -> None:
    for text in ("nonsense", "-1.5"):
        expected = ByPath.of([Candidate(b"srv/a", 700, 0o640, US)])
        read(expected, packed({b"srv/a": FILES[b"srv/a"]}, pax_headers={"mtime": text}))
        assert not expected.agrees(b"srv/a")
