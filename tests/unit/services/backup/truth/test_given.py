from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.backup.truth.given import GivenCounter

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


def test_a_name_that_holds_lines_of_a_listing_is_one_file() -> None:
    """Or a file named so could make up for those that are gone."""
    count = GivenCounter(["/srv"])
    count(b"- 1 srv/a\n- 7 srv/b\n- 8 srv/c\0- 2 srv/d\0")
    assert [(one.files, one.size) for one in count.given] == [(2, 3)]


def test_files_that_lack_content_are_counted_as_given_and_as_lacking() -> None:
    count = GivenCounter(["/srv", "/srv/deep"])
    count(b"- 1 srv/a\0! 7 srv/b\0! 8 srv/deep/c\0d 0 srv/!\0")
    assert [(one.files, one.size, one.lacking) for one in count.given] == [(3, 16, 2), (1, 8, 1)]


def test_mounts_are_found_whatever_bytes_are_in_their_names() -> None:
    count = GivenCounter(["/srv", "/srv/caf\\xe9", "/srv/caf\\x41", "/srv/new\nline", "/srv/caf\\xe9/deep"])
    names = [
        b"srv/caf\xe9/a",
        b"srv/caf\xe9/deep/b",
        b"srv/caf\\xe9/c",
        b"srv/caf\\x41/d",
        b"srv/cafA/e",
        b"srv/new\nline/f",
    ]
    count(b"".join(b"- 1 " + name + b"\0" for name in names))
    assert [one.files for one in count.given] == [6, 3, 1, 1, 1]


def test_the_root_gives_everything() -> None:
    count = GivenCounter(["/"])
    count(b"\0".join([*LISTING, b""]))
    assert count.given[0].files == 8


@given(
    names=st.lists(st.tuples(st.sampled_from(["a", "b", "a/b", "ab", "a/b/c", "b/a"]), st.integers(0, 3)), max_size=30)
)
def test_the_counts_are_those_of_a_plain_comparison_of_paths(names: list[tuple[str, int]]) -> None:
    sources = ["/", "/a", "/a/b", "/b/a", "/a/b/c/f0", "/a"]
    count = GivenCounter(sources)
    paths = [f"{directory}/f{number}" for directory, number in names]
    count("".join(f"- 1 {path}\0" for path in paths).encode())
    expected = [sum(f"/{p}" == one or f"/{p}".startswith(f"{one.rstrip('/')}/") for p in paths) for one in sources]
    assert [one.files for one in count.given] == expected
