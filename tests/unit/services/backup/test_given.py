from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.backup.given import GivenCounter

LISTING = [
    b"d 0 srv", b"- 10 srv/a", b"- 5 srv/b\nc", b"h 7 srv/h", b"l 0 srv/l", b"p 0 srv/p", b"- 1 srvx/a", b"- 3 etc/x",
    b"- 2 etc", b"d 0 etc", b"- x broken", b"-", b"", b"- 4 srv/deep/caf\xe9",
]  # fmt: skip


@given(size=st.integers(1, 40))
def test_files_and_bytes_are_counted_by_source_however_the_blocks_are_cut(size: int) -> None:
    count, data = GivenCounter(["/srv", "/etc", "/none", "/srv/deep"]), b"\0".join([*LISTING, b""])
    for begin in range(0, len(data), size):
        count(data[begin : begin + size])
    assert [(one.path, one.files, one.size) for one in count.given] == [
        ("/srv", 4, 26), ("/etc", 2, 5), ("/none", 0, 0), ("/srv/deep", 1, 4),
    ]  # fmt: skip


def test_the_root_gives_everything() -> None:
    count = GivenCounter(["/"])
    count(b"\0".join([*LISTING, b""]))
    assert count.given[0].files == 8
