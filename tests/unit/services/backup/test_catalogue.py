"""The catalogue against brute force: after any history of backups and deletions each archive lists what it held."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from pathlib import Path

import pytest

from services.backup.catalogue.merge import Archived, Merge, archives, drop
from services.backup.catalogue.store import file_of, remove, writing
from shared.borg.entries import Entry
from shared.domain.ids import new_id

NAMES = [b"a", b"b/c", b"b/d", b"b/e/f", b"latin1-\xe9", b"new\nline", b"x" * 255, "größe".encode(), b"g/h/i/j"]


def entry(path: bytes, version: int) -> Entry:
    return Entry(path, "-", 0o644, 0, version % 2, b"root", b"root", version, version, version)


def merged(connection: sqlite3.Connection, archive: Archived, tree: dict[bytes, int]) -> None:
    merge = Merge(connection, archive)
    for path, version in sorted(tree.items()):
        merge(entry(path, version))
    assert merge.commit() == len(tree)


def listed(connection: sqlite3.Connection, borg_id: bytes) -> dict[bytes, int]:
    """What an archive holds, by its rows alone."""
    chain, seq = connection.execute("SELECT chain, seq FROM archive WHERE borg_id = ?", (borg_id,)).fetchone()
    above = {node: (parent, name) for node, parent, name in connection.execute("SELECT id, parent, name FROM node")}

    def path(node: int) -> bytes:
        parent, name = above[node]
        return path(parent) + b"/" + name if parent else name

    query = "SELECT node, size FROM version WHERE chain = ? AND first <= ? AND last >= ?"
    return {path(node): size for node, size in connection.execute(query, (chain, seq, seq))}


def changed(tree: dict[bytes, int], rng: random.Random) -> dict[bytes, int]:
    after = {path: rng.randrange(3) if rng.random() < 0.3 else version for path, version in tree.items()}
    for path in NAMES:
        if rng.random() < 0.2:
            after.pop(path, None)
        elif rng.random() < 0.3:
            after.setdefault(path, rng.randrange(3))
    return after


def assert_nothing_dead(connection: sqlite3.Connection) -> None:
    dead = connection.execute(
        "SELECT count(*) FROM version AS v WHERE NOT EXISTS (SELECT 1 FROM archive AS a WHERE a.chain = v.chain "
        "AND a.seq BETWEEN v.first AND v.last)"
    ).fetchone()
    nameless = connection.execute(
        "SELECT count(*) FROM node AS n WHERE NOT EXISTS (SELECT 1 FROM version WHERE node = n.id) "
        "AND NOT EXISTS (SELECT 1 FROM node AS c WHERE c.parent = n.id)"
    ).fetchone()
    assert (dead, nameless) == ((0,), (0,))


@pytest.mark.parametrize("seed", range(60))
def test_after_any_history_each_archive_lists_what_it_held_and_no_dead_row_stays(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    jobs = [b"job-one" + bytes(9), b"job-two" + bytes(9)]
    trees: dict[bytes, dict[bytes, int]] = {job: {} for job in jobs}
    expected: dict[bytes, dict[bytes, int]] = {}
    with writing(tmp_path / "c.sqlite") as connection:
        for number in range(40):
            if expected and rng.random() < 0.4:
                gone = rng.sample(sorted(expected), rng.randint(1, min(3, len(expected))))
                drop(connection, gone)
                for borg_id in gone:
                    del expected[borg_id]
            else:
                job = rng.choice(jobs)
                trees[job] = changed(trees[job], rng)
                borg_id = number.to_bytes(32, "big")
                late = rng.random() < 0.1
                merged(connection, Archived(borg_id, job, 0 if late else number + 1), trees[job])
                expected[borg_id] = dict(trees[job])
            assert archives(connection) == set(expected)
            for borg_id, tree in expected.items():
                assert listed(connection, borg_id) == tree, f"step {number}"
            assert_nothing_dead(connection)


def test_an_archive_in_which_nothing_changed_adds_no_row(tmp_path: Path) -> None:
    tree = dict.fromkeys(NAMES, 1)
    with writing(tmp_path / "c.sqlite") as connection:
        for number in range(5):
            merged(connection, Archived(bytes([number]) * 32, b"job", number), tree)
        assert connection.execute("SELECT count(*) FROM version").fetchone() == (len(NAMES),)


def test_a_merge_that_is_given_up_or_killed_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "c.sqlite"
    with writing(file) as connection:
        merged(connection, Archived(b"1" * 32, b"job", 1), {b"a": 1})
        merge = Merge(connection, Archived(b"2" * 32, b"job", 2))
        merge(entry(b"b", 1))
        merge.give_up()
        Merge(connection, Archived(b"2" * 32, b"job", 2))(entry(b"b", 1))  # and the process dies here
    with writing(file) as connection:
        assert archives(connection) == {b"1" * 32}
        assert listed(connection, b"1" * 32) == {b"a": 1}
        merged(connection, Archived(b"2" * 32, b"job", 2), {b"a": 1, b"b": 1})


@pytest.mark.parametrize("how", ["rubbish", "truncated", "another version", "empty"])
def test_a_catalogue_that_cannot_be_used_is_begun_anew(tmp_path: Path, how: str) -> None:
    file = file_of(tmp_path / "catalogue", new_id())
    with writing(file) as connection:
        merged(connection, Archived(b"1" * 32, b"job", 1), dict.fromkeys(NAMES, 1))
    if how == "another version":
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA user_version=99")
    else:
        whole = file.read_bytes()
        file.write_bytes({"rubbish": b"x" * len(whole), "truncated": whole[: len(whole) // 2], "empty": b""}[how])
    with writing(file) as connection:
        assert archives(connection) == set()
        merged(connection, Archived(b"1" * 32, b"job", 1), {b"a": 1})
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    remove(file)
    assert list(file.parent.iterdir()) == []


def test_every_name_is_found_by_a_part_of_it_and_no_more_once_it_is_gone(tmp_path: Path) -> None:
    with writing(tmp_path / "c.sqlite") as connection:
        merged(connection, Archived(b"1" * 32, b"job", 1), {b"srv/Invoice-2026.pdf": 1, b"srv/other": 1})
        query = "SELECT rowid FROM names WHERE names MATCH '\"voice\"'"
        assert len(connection.execute(query).fetchall()) == 1
        drop(connection, [b"1" * 32])
        assert connection.execute(query).fetchall() == []
