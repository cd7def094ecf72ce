"""A test that finds what the one before it did proves nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

from tests.harness.fleet import until
from tests.harness.stage import DatabaseCopy, Prepared, Stage


def made(stage: Stage, recipe: str = "two files") -> Path:
    assert not stage.set(recipe)
    (stage.directory / "pool").mkdir()
    (stage.directory / "pool" / "config").write_text("whole")
    os.utime(stage.directory / "pool" / "config", (1_000, 1_000))
    (stage.directory / "link").symlink_to(stage.directory / "pool")
    stage.keep(recipe)
    return stage.directory


def test_whatever_a_test_did_the_next_one_finds_what_was_kept_under_the_same_path(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    place = made(stage)
    for _ in range(2):
        (place / "pool" / "config").write_text("damaged")
        (place / "pool" / "more").write_text("garbage")
        (place / "link").unlink()
        assert stage.set("two files")
        assert stage.directory == place
        assert sorted(file.name for file in place.rglob("*")) == ["config", "link", "pool"]
        assert (place / "pool" / "config").read_text() == "whole"
        assert (place / "pool" / "config").stat().st_mtime == 1_000
        assert (place / "link").readlink() == place / "pool"


def test_a_recipe_that_was_never_made_begins_with_an_empty_directory(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    made(stage)
    assert not stage.set("another")
    assert list(stage.directory.iterdir()) == []
    assert stage.set("two files")


def test_a_process_that_still_works_there_is_waited_for(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    made(stage)
    ended = tmp_path / "ended"
    script = "import pathlib, sys; sys.stdin.read(); pathlib.Path(sys.argv[2]).write_text('')"
    argv = [sys.executable, "-c", script, str(stage.directory / "pool"), str(ended)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        until(stage._at_work, "it has become that program")
        assert process.stdin
        releases = threading.Timer(0.3, process.stdin.close)
        releases.start()
        assert stage.set("two files")
        assert ended.exists()
        releases.join()


def rows(file: Path) -> list[str]:
    with sqlite3.connect(file) as connection:
        found = [name for (name,) in connection.execute("SELECT name FROM archives ORDER BY name")]
    connection.close()
    return found


def add(file: Path, archive: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS archives (name TEXT)")
        connection.execute("INSERT INTO archives VALUES (?)", [archive])
    connection.close()


def test_the_rows_of_a_database_are_put_back_into_another_one_and_no_other_stays(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    add(first, "kept")
    add(second, "other")
    DatabaseCopy(f"sqlite+aiosqlite:///{first}", tmp_path / "rows").keep()
    DatabaseCopy(f"sqlite+aiosqlite:///{second}", tmp_path / "rows").put_back()
    assert rows(second) == rows(first) == ["kept"]


async def test_what_is_prepared_is_done_once_and_each_test_finds_its_files_and_its_rows(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    told: list[str] = []

    async def night(file: Path, name: str) -> None:
        told.append(name)
        assert rows(file) == sorted(told[:-1]) if file.exists() else not told[1:]
        assert sorted(found.name for found in stage.directory.iterdir()) == sorted(told[:-1])
        add(file, name)
        (stage.directory / name).touch()

    for test in range(3):  # each has a database of its own
        file = tmp_path / f"{test}.db"
        prepared = Prepared(stage, f"sqlite+aiosqlite:///{file}", None)
        for name in ("one", "two"):
            await prepared.once(name, lambda file=file, name=name: night(file, name))
            wanted = ["one", "two"][: 1 + (name == "two")]
            assert (rows(file), sorted(found.name for found in stage.directory.iterdir())) == (wanted, wanted)
        add(file, "of this test alone")
        (stage.directory / "of this test alone").touch()
    assert told == ["one", "two"]
