"""What a catalogue answers is what a search through the lists of all archives would: nothing less and nothing else."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.backup.catalogue.history import diff, versions_of
from services.backup.catalogue.lookup import list_directory, place_of, use_of
from services.backup.catalogue.merge import Archived, Merge, drop
from services.backup.catalogue.search import search
from services.backup.catalogue.store import writing
from shared.borg.entries import Entry
from shared.domain.files import Wanted
from shared.domain.ids import new_id
from shared.errors import Invalid

JOBS = (b"one" + bytes(13), b"two" + bytes(13))
FILES = [
    b"srv/data/a", b"srv/data/b/c", b"srv/data/b/d", b"srv/data/latin1-\xe9", b"srv/data/new\nline", b"etc/passwd",
    "srv/data/größe.PDF".encode(), b"srv/data/b/e/f", b"srv/other/invoice-2026.pdf", b"srv/data/\xe2\x80\xaeright",
]  # fmt: skip
Tree = dict[bytes, tuple[str, int]]


def merged(connection: sqlite3.Connection, number: int, job: bytes, tree: Tree) -> str:
    borg_id = number.to_bytes(32, "big")
    merge = Merge(connection, Archived(borg_id, job, number))
    for path, (kind, size) in sorted(tree.items()):
        merge(Entry(path, kind, 0o644, 0, 0, b"root", b"root", size, size, size))
    merge.commit()
    return borg_id.hex()


def grown(tree: Tree, rng: random.Random) -> Tree:
    """Change a tree; directories have entries of their own below the source that is drawn."""
    files = {path: one for path, one in tree.items() if one[0] == "-"}
    for path in FILES:
        if rng.random() < 0.25:
            files.pop(path, None)
        elif rng.random() < 0.5:
            files[path] = ("-", rng.randrange(4))
    source = rng.choice([b"srv", b"srv/data", b"etc"])
    above = {path[:at] for path in files for at in range(len(path)) if path[at : at + 1] == b"/"}
    return files | {path: ("d", 0) for path in above if path == source or path.startswith(source + b"/")}


class History:
    """Archives and what they hold."""

    def __init__(self, connection: sqlite3.Connection, seed: int) -> None:
        self.db, self.rng = connection, random.Random(seed)
        self.held: dict[str, tuple[int, Tree]] = {}
        trees: dict[bytes, Tree] = {job: {} for job in JOBS}
        for number in range(1, 13):
            if len(self.held) > 3 and self.rng.random() < 0.25:
                gone = self.rng.choice(sorted(self.held))
                drop(connection, [bytes.fromhex(gone)])
                del self.held[gone]
            job = self.rng.choice(JOBS)
            trees[job] = grown(trees[job], self.rng)
            self.held[merged(connection, number, job, trees[job])] = number, trees[job]


@pytest.fixture(params=range(12))
def past(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[History]:
    with writing(tmp_path / "c.sqlite") as connection:
        yield History(connection, request.param)


def directories(tree: Tree) -> set[bytes]:
    return {b""} | {path[:at] for path in tree for at in range(len(path)) if path[at : at + 1] == b"/"}


def children(tree: Tree, directory: bytes) -> dict[bytes, tuple[str, int] | None]:
    """By brute force: what stands directly in a directory; None where it is only implied."""
    prefix = directory + b"/" if directory else b""
    below = [path[len(prefix) :] for path in tree if path.startswith(prefix)]
    return {name: tree.get(prefix + name) for name in {path.split(b"/")[0] for path in below}}


def test_every_directory_of_every_archive_lists_as_it_was(past: History) -> None:
    for borg_id, (_, tree) in past.held.items():
        place = place_of(past.db, borg_id)
        assert place is not None
        for directory in directories(tree):
            expected = children(tree, directory)
            after: bytes | None = None
            found: dict[bytes, tuple[str, int | None] | None] = {}
            for _ in range(len(expected) + 1):
                page = list_directory(past.db, place, directory, after, 2)
                found |= {row.name: None if row.mode is None else (row.type, row.size) for row in page.rows}
                if not page.more:
                    break
                after = page.rows[-1].name
            assert found == expected, (borg_id, directory)
        gone = next(path for path in [*FILES, b"never"] if path not in tree and path not in directories(tree))
        with pytest.raises(Invalid, match="holds nothing at"):
            list_directory(past.db, place, gone, None, 10)


def test_what_stands_below_a_directory_adds_up(past: History) -> None:
    for borg_id, (_, tree) in past.held.items():
        place = place_of(past.db, borg_id)
        assert place is not None
        for directory in directories(tree):
            prefix = directory + b"/" if directory else b""
            files = {path: size for path, (kind, size) in tree.items() if kind == "-" and path.startswith(prefix)}
            answer = use_of(past.db, place, directory, 500)
            assert (answer.files, answer.size, answer.partial) == (len(files), sum(files.values()), False)
            for row in answer.rows:
                own = [
                    n
                    for path, n in files.items()
                    if path == prefix + row.name or path.startswith(prefix + row.name + b"/")
                ]
                assert (row.files, row.size) == (len(own), sum(own))


def test_every_pair_of_archives_differs_as_it_does(past: History) -> None:
    for one, (_, before) in past.held.items():
        for other, (_, after) in past.held.items():
            a, b = place_of(past.db, one), place_of(past.db, other)
            assert a is not None
            assert b is not None
            answer = diff(past.db, a, b, 500)
            found = {row.path: (row.change, row.before, row.after) for row in answer.rows}
            expected = {path: ("removed", before[path][1], None) for path in before.keys() - after.keys()}
            expected |= {path: ("added", None, after[path][1]) for path in after.keys() - before.keys()}
            expected |= {
                path: ("changed", before[path][1], after[path][1])
                for path in before.keys() & after.keys()
                if before[path] != after[path]
            }
            assert found == expected
            assert answer.added + answer.removed + answer.changed == len(expected)


def test_every_content_of_a_path_is_told_with_how_many_backups_hold_it(past: History) -> None:
    for path in FILES:
        held = {borg_id: (at, tree[path]) for borg_id, (at, tree) in past.held.items() if path in tree}
        if not held:
            with pytest.raises(Invalid):
                versions_of(past.db, path, 500)
            continue
        answer = versions_of(past.db, path, 500)
        expected = {}
        for kind, size in {content for _, content in held.values()}:
            of = {at: borg_id for borg_id, (at, content) in held.items() if content == (kind, size)}
            expected[kind, size] = (len(of), min(of), max(of), of[max(of)])
        assert {
            (row.type, row.size): (row.archives, row.first_at, row.last_at, row.borg_id) for row in answer.rows
        } == expected
        assert [row.last_at for row in answer.rows] == sorted((row.last_at for row in answer.rows), reverse=True)


@pytest.mark.parametrize(
    "text",
    ["a", "größe", "GRÖSSE", "invoice", "latin1", "new line", "pdf ext:pdf", "ext:pdf", "in:/srv/data e", "e size>1"],
)
def test_a_search_finds_each_name_that_fits_and_no_other(past: History, text: str) -> None:
    wanted = Wanted.of(text)
    ever: dict[bytes, tuple[int, int]] = {}
    for at, tree in sorted(past.held.values(), key=lambda one: one[0]):
        ever |= {path: (at, size) for path, (_, size) in tree.items()}
    hits, more = search(past.db, new_id(), wanted, 500)
    expected = {
        path
        for path, (_, size) in ever.items()
        for name in [path.rpartition(b"/")[2].decode(errors="replace").lower()]
        if all(word in name for word in wanted.words) and name.endswith(wanted.ending)
        and (not wanted.within or path.startswith(wanted.within + b"/")) and (wanted.least is None or size >= wanted.least)
    }  # fmt: skip
    assert {hit.path for hit in hits} == expected
    assert not more
    assert {hit.path: hit.last_at for hit in hits} == {path: ever[path][0] for path in expected}


def test_what_was_deleted_is_found_with_the_time_since_when(tmp_path: Path) -> None:
    with writing(tmp_path / "c.sqlite") as connection:
        merged(connection, 1, JOBS[0], {b"a/kept": ("-", 1), b"a/lost": ("-", 2)})
        merged(connection, 2, JOBS[0], {b"a/kept": ("-", 1)})
        found = {hit.path: hit.gone_since for hit in search(connection, new_id(), Wanted.of("k t deleted:no"), 9)[0]}
        assert found == {b"a/kept": None}
        found = {hit.path: hit.gone_since for hit in search(connection, new_id(), Wanted.of("lost"), 9)[0]}
        assert found == {b"a/lost": 2}
        assert search(connection, new_id(), Wanted.of("kept deleted:yes"), 9)[0] == []


def test_a_whole_name_comes_before_a_newer_part_of_one(tmp_path: Path) -> None:
    with writing(tmp_path / "c.sqlite") as connection:
        merged(connection, 1, JOBS[0], {b"hosts": ("-", 1)})
        merged(connection, 2, JOBS[0], {b"hosts.bak": ("-", 1), b"my-hosts": ("-", 1)})
        hits, more = search(connection, new_id(), Wanted.of("hosts"), 2)
        assert (hits[0].path, len(hits), more) == (b"hosts", 2, True)


def test_a_deadline_tells_that_a_sum_is_not_whole_and_breaks_off_what_would_be_wrong(tmp_path: Path) -> None:
    with writing(tmp_path / "c.sqlite") as connection:
        borg_id = merged(
            connection, 1, JOBS[0], {b"d": ("d", 0)} | {b"d/%d" % number: ("-", 1) for number in range(3000)}
        )
        place = place_of(connection, borg_id)
        assert place is not None
        asked = itertools.count()
        connection.set_progress_handler(lambda: next(asked) > 20, 1000)
        assert use_of(connection, place, b"d", 10).partial
        connection.set_progress_handler(lambda: True, 100)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            diff(connection, place, place, 10)


@pytest.mark.parametrize(
    "text", ["", "  ", "in:/srv", "size>10", "x size>", "x size>1X", "x size>-1", "x size>1e9", "deleted:yes"]
)
def test_a_search_for_no_name_or_with_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="search"):
        Wanted.of(text)


def test_a_search_is_read_as_it_is_meant() -> None:
    wanted = Wanted.of("Report Q3 ext:.XLSX in:/srv/data/ size>10M size<1g deleted:yes a:b")
    assert wanted.words == ("report", "q3", "a:b")
    assert (wanted.ending, wanted.within) == (".xlsx", b"srv/data")
    assert (wanted.least, wanted.most, wanted.gone) == (10 * 2**20, 2**30, True)
