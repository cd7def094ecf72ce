"""What borg lists comes back byte for byte, however it is cut and whatever names hold: a name that is bent restores nothing."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.borg.entries import Entry, EntryReader, list_entries, mode_of, unescaped
from shared.errors import Permanent

NAMES = [
    b"plain", b"new\nline", b"\nlead", b"latin1-\xe9", rb"back\x00\nslash", b"\\", b"\\\\", b"end\\", b"\xe2\x80\xaeright",
    "größe-日本-🎉".encode(), b"-- {pid} {{", b"a" * 255, b"tab\t\x1b[31m", rb"\udce9", b"x\x00"[:1] + b"\\x00",
]  # fmt: skip


def record(
    path: bytes, *, kind: str = "-", mode: str = "-rw-r--r--", link: bytes = b"", user: bytes = b"root"
) -> bytes:
    """As borg writes it to a pipe whose encoding is unicode_escape."""
    at = "2026-11-26T07:57:07.954785"
    fields = [kind, mode, "0", "1000", user, b"grp", "42", at, at, link, path]
    text = "".join((f.decode("utf-8", "surrogateescape") if isinstance(f, bytes) else f) + "\0" for f in fields) + "\n"
    return text.encode("unicode_escape")


def entries(blocks: list[bytes]) -> list[Entry]:
    found: list[Entry] = []
    read = EntryReader(found.append)
    for block in blocks:
        read(block)
    read.close()
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10**6])
def test_every_name_comes_back_however_the_listing_is_cut(size: int) -> None:
    whole = b"".join(record(b"srv/" + name, link=name) for name in NAMES)
    found = entries([whole[start : start + size] for start in range(0, len(whole), size)])
    assert [entry.path for entry in found] == [b"srv/" + name for name in NAMES]
    assert [entry.link for entry in found] == NAMES


def test_a_name_that_begins_with_a_newline_is_not_taken_for_the_end_of_a_record() -> None:
    assert [entry.path for entry in entries([record(b"\nlead") + record(b"\n\n") + record(b"a")])] == [
        b"\nlead", b"\n\n", b"a",
    ]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name), max_size=6), st.integers(1, 50)
)
def test_any_bytes_come_back(names: list[bytes], size: int) -> None:
    whole = b"".join(record(b"d/" + name, user=name) for name in names)
    found = entries([whole[start : start + size] for start in range(0, len(whole), size)])
    assert [(entry.path, entry.user) for entry in found] == [(b"d/" + name, name) for name in names]


def test_all_that_is_shown_of_an_entry_is_read() -> None:
    (entry,) = entries([record(b"/etc/passwd", mode="-rwsr-x--T")])
    at = int(datetime(2026, 11, 26, 7, 57, 7, tzinfo=UTC).timestamp()) * 10**6 + 954785
    assert entry == Entry(b"etc/passwd", "-", 0o5750, 0, 1000, b"root", b"grp", 42, at, at, b"")


def test_another_name_of_a_file_is_told_apart_from_the_file() -> None:
    assert [entry.type for entry in entries([record(b"a"), record(b"b", mode="hrw-r--r--", link=b"a")])] == ["-", "h"]


@pytest.mark.parametrize("text", ["", "rubbish", "99999-01-01T00:00:00"])
def test_a_time_that_nobody_can_read_hides_no_entry(text: str) -> None:
    broken = record(b"a").replace(b"2026-11-26T07:57:07.954785", text.encode())
    assert [(entry.path, entry.mtime) for entry in entries([broken])] == [(b"a", None)]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_listing_that_breaks_off_is_no_shorter_archive(cut: int) -> None:
    with pytest.raises(Permanent, match="broke off"):
        entries([record(b"a") + record(b"b")[:-cut] if cut > 2 else record(b"a")[:-8]])


def test_an_archive_without_entries_is_empty() -> None:
    assert entries([]) == []
    assert entries([b""]) == []


@pytest.mark.parametrize(
    ("shown", "mode"),
    [
        ("-rwxr-xr-x", 0o755), ("-rw-------", 0o600), ("drwxrwxrwt", 0o1777), ("-rwsr-sr-x", 0o6755),
        ("-rwSr-Sr-T", 0o7644), ("l---------", 0), ("?", 0),
    ],
)  # fmt: skip
def test_permissions_are_read_as_ls_shows_them(shown: str, mode: int) -> None:
    assert mode_of(shown) == mode


def test_a_path_is_an_argument_and_no_pattern_and_no_option() -> None:
    argv = list_entries("borg", "/pool/web1/system", "a{now}", [b"--rsh=x", b"re:.*", b"\xe9\n"])
    assert [os.fsencode(one) for one in argv[-4:]] == [
        b"/pool/web1/system::a{{now}}", b"pp:--rsh=x", b"pp:re:.*", b"pp:\xe9\n",
    ]  # fmt: skip
    assert argv[-5] == "--"
    assert Path(str(argv[0])).name == "borg"


def test_what_a_listing_borg_says_of_an_error_is_read_whole() -> None:
    """Its lines come as one, escaped: the end of a traceback says that a segment is gone."""
    said = ['{"message": "Local \\"Exception\\"", "levelname": "ERROR"}', '{"message": "a\\nFile gone: \u00fc"}']
    raw = "\n".join(said).encode("unicode_escape")
    assert [line.decode() for line in unescaped(raw)] == said
    assert unescaped(b"cut within \\x4") == [b"cut within \\x4"]
    assert unescaped(b"guard: ended") == [b"guard: ended"]
