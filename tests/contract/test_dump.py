"""The database as one file and back, on SQLite and MariaDB: all rows, or a refusal; the password is in no argument."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import make_url

from shared.db.engines import DIRECT
from shared.db.migrations import migrate
from shared.errors import AppError, Permanent, Transient
from shared.kit.dump import dump, kind_of, load
from tests.harness.mariadb import MariaServer
from tests.harness.patience import WAIT


def fill(maria: MariaServer) -> str:
    url = maria.database()
    maria.sql(
        "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(50), data BLOB);"
        "INSERT INTO t VALUES (1, 'ü', 0x00ff27), (2, NULL, '');"
        "CREATE PROCEDURE p() SELECT 1;", make_url(url).database or "",
    )  # fmt: skip
    return url


async def test_mariadb_comes_back_whole(maria: MariaServer, tmp_path: Path) -> None:
    url, other = await asyncio.to_thread(fill, maria), await asyncio.to_thread(maria.database)
    file = await dump(url, DIRECT, tmp_path)
    assert (file.name, file.stat().st_mode & 0o777, kind_of(url)) == ("borgfleet.sql", 0o600, "mariadb")
    await load(other, DIRECT, file)
    names = [make_url(one).database or "" for one in (url, other)]
    rows = [maria.sql("SELECT id, name, HEX(data) FROM t", name) for name in names]
    assert rows[0] == rows[1]
    assert "p" in maria.sql("SHOW PROCEDURE STATUS WHERE Db = DATABASE()", names[1])


async def test_a_password_of_any_letters_reaches_the_client_and_no_argument(
    maria: MariaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await asyncio.to_thread(fill, maria)
    password = "can\"ary #'\\n; \\ ä$(x)"
    quoted = password.replace("\\", "\\\\").replace("'", "''")
    maria.sql(f"CREATE USER dumper@'%' IDENTIFIED BY '{quoted}'; GRANT ALL ON *.* TO dumper@'%';")
    real, seen = asyncio.create_subprocess_exec, list[str]()

    async def watched(*argv: str, **options: object) -> object:
        seen.extend([*argv, str(options.get("env")), *os.environ.values()])
        return await real(*argv, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watched)
    file = await dump(
        make_url(url).set(username="dumper", password=password).render_as_string(hide_password=False), DIRECT, tmp_path
    )
    assert b"INSERT INTO `t`" in file.read_bytes()
    assert not [one for one in seen if "ary #" in one]
    wrong = make_url(url).set(username="dumper", password="other").render_as_string(hide_password=False)
    with pytest.raises(Transient, match="status 2") as failed:
        (tmp_path / "again").mkdir()
        await dump(wrong, DIRECT, tmp_path / "again")
    assert "other" not in failed.value.message


def client(directory: Path, script: str) -> str:
    tools = directory / "bin"
    tools.mkdir()
    (tools / "mariadb-dump").write_text(f"#!/bin/sh\n{script}\n")
    (tools / "mariadb-dump").chmod(0o755)
    return f"{tools}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("echo '-- MariaDB dump'; echo 'CREATE TABLE t'; exit 0", "dump_cut_short"),
        ("exit 0", "dump_cut_short"),
        ("echo '-- Dump completed on now'; exit 3", "dump_failed"),
        ("echo '-- Dump completed'; kill -9 $$", "dump_failed"),
        ("echo '-- Dump completed'; echo more", "dump_cut_short"),
        ("yes 'this is a long complaint' | head -100000 >&2; exit 2", "dump_failed"),
    ],
    ids=["half", "empty", "status", "killed", "not the last line", "talks much"],
)
async def test_a_dump_that_broke_off_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, code: str
) -> None:
    monkeypatch.setenv("PATH", client(tmp_path, script))
    with pytest.raises(AppError) as failed:
        await dump("mariadb+aiomysql://root:x@127.0.0.1:1/b", DIRECT, tmp_path)
    assert failed.value.code == code
    assert len(failed.value.message) < 3000


async def test_a_machine_without_the_clients_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Permanent, match="mariadb-dump"):
        await dump("mariadb+aiomysql://root@127.0.0.1:1/b", DIRECT, tmp_path)


async def test_what_the_server_refuses_is_told(maria: MariaServer, tmp_path: Path) -> None:
    url = await asyncio.to_thread(maria.database)
    (tmp_path / "bad.sql").write_text("CREATE TABLE t (id INT);\nNONSENSE;\n")
    with pytest.raises(Permanent, match="NONSENSE"):
        await load(url, DIRECT, tmp_path / "bad.sql")


async def test_one_that_is_cancelled_leaves_no_client_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", client(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 1000"))
    task = asyncio.create_task(dump("mariadb+aiomysql://root@127.0.0.1:1/b", DIRECT, tmp_path))
    async with asyncio.timeout(120):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


async def test_sqlite_is_copied_while_it_is_written_to(tmp_path: Path) -> None:
    live = tmp_path / "a place?#" / "live.db"
    live.parent.mkdir()
    url = f"sqlite+aiosqlite:///{live}"
    await asyncio.to_thread(migrate, f"sqlite+aiosqlite:///{tmp_path / 'live.db'}")
    (tmp_path / "live.db").rename(live)
    with sqlite3.connect(live) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE t (x)")
        writer.execute("INSERT INTO t VALUES (1)")
        writer.commit()
        writer.execute("INSERT INTO t VALUES (2)")  # not committed
        monkey = make_url("sqlite+aiosqlite://").set(database=str(live))
        file = await dump(monkey.render_as_string(), DIRECT, tmp_path)
        writer.rollback()
    writer.close()
    with sqlite3.connect(file) as copy:
        assert copy.execute("SELECT x FROM t").fetchall() == [(1,)]
        assert copy.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    copy.close()
    assert file.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("borgfleet.db-*"))
    assert url


async def test_a_database_that_is_gone_is_not_made_anew_by_copying_it(tmp_path: Path) -> None:
    with pytest.raises(AppError):
        await dump(f"sqlite+aiosqlite:///{tmp_path / 'nowhere.db'}", DIRECT, tmp_path)
    assert not (tmp_path / "nowhere.db").exists()


async def test_a_large_sqlite_database_that_others_write_to_is_copied_as_of_one_moment(tmp_path: Path) -> None:
    """Copied in parts it would begin anew at each commit of somebody else, and never end."""
    file, ended, wrote = tmp_path / "live.db", threading.Event(), threading.Event()
    with contextlib.closing(sqlite3.connect(file)) as live:
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, twin INTEGER, filler BLOB)")
        live.executemany("INSERT INTO t (twin, filler) VALUES (0, zeroblob(?))", [(3000,)] * 20_000)
        live.commit()
        assert live.execute("PRAGMA page_count").fetchone()[0] > 10_000

    def write() -> None:
        with contextlib.closing(sqlite3.connect(file, timeout=WAIT)) as writer:
            while not ended.is_set():
                writer.execute("UPDATE t SET twin = twin + 1 WHERE id IN (1, 20000)")
                writer.commit()
                wrote.set()

    (tmp_path / "out").mkdir()
    writing = asyncio.create_task(asyncio.to_thread(write))
    try:
        async with asyncio.timeout(WAIT):
            copy = await dump(f"sqlite+aiosqlite:///{file}", DIRECT, tmp_path / "out")
        wrote.clear()
        assert await asyncio.to_thread(wrote.wait, WAIT), "the copy left others locked out"
    finally:
        ended.set()
        await writing
    with contextlib.closing(sqlite3.connect(copy)) as held:
        assert held.execute("SELECT count(*), min(twin) = max(twin) FROM t WHERE id IN (1, 20000)").fetchone() == (2, 1)
        assert held.execute("SELECT count(*) FROM t").fetchone() == (20_000,)
