"""A database that is full, read-only, ill or misconfigured is told as that, and nothing is stored in part."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import InternalError, OperationalError

from shared.db.door import translation
from shared.db.migrations import migrate
from shared.db.session import Database
from shared.db.tables import Job
from shared.domain.ids import new_id
from shared.errors import AppError, Permanent, Transient
from shared.secrets.envelope import KeyRing
from tests.harness.databases import PatientDatabase
from tests.harness.hanging import mounted
from tests.harness.mariadb import MariaServer

RING = KeyRing([bytes(32)])
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
FULL = '"No space left on device"'

MARIA: dict[str, tuple[int, str, str]] = {
    "deadlock": (1213, "Deadlock found", "database_busy"),
    "lock wait": (1205, "Lock wait timeout exceeded", "database_busy"),
    "changed since read": (1020, "Record has changed since last read in table 'jobs'", "database_busy"),
    "table changed": (1412, "Table definition has changed, please retry transaction", "database_busy"),
    "gone away": (2006, "Server has gone away", "database_busy"),
    "too many connections": (1040, "Too many connections", "database_busy"),
    "host blocked": (1129, "Host is blocked because of many connection errors", "database_host_blocked"),
    "disk full": (1021, "Disk full (/tmp/#sql)", "database_disk_full"),
    "table full": (1114, "The table 'jobs' is full", "database_disk_full"),
    "engine: full": (1030, f"Got error 28 {FULL} from storage engine InnoDB", "database_disk_full"),
    "writing: full": (3, f"Error writing file '/tmp/x' (Errcode: 28 {FULL})", "database_disk_full"),
    "writing: quota": (1026, "Error writing file 'x' (errno: 122 \"Disk quota exceeded\")", "database_disk_full"),
    "COMMIT: full": (1180, f"Got error 28 {FULL} during COMMIT", "database_disk_full"),
    "creating: full": (1005, f"Can't create table `a`.`b` (errno: 28 {FULL})", "database_disk_full"),
    "of the system: full": (28, "No space left on device", "database_disk_full"),
    "of the system: quota": (122, "Disk quota exceeded", "database_disk_full"),
    "of the system: read-only": (30, "Read-only file system", "database_read_only"),
    "of the system: memory": (12, "Cannot allocate memory", "database_out_of_memory"),
    "of the system: broken disk": (5, "Input/output error", "database_disk_error"),
    "engine: broken disk": (1030, "Got error 5 from storage engine InnoDB", "database_disk_error"),
    "engine: unknown": (1030, 'Got error 168 "Unknown (generic) error from engine"', "database_disk_error"),
    "writing": (1026, "Error writing file 'x'", "database_disk_error"),
    "writing: read-only": (1026, 'Error writing file (errno: 30 "Read-only file system")', "database_read_only"),
    "transaction read-only": (1792, "Cannot execute statement in a READ ONLY transaction", "database_read_only"),
    "server read-only": (1290, "The MariaDB server is running with the --read-only option", "database_read_only"),
    "read-only mode": (1836, "Running in read-only mode", "database_read_only"),
    "sort memory": (1038, "Out of sort memory", "database_out_of_memory"),
    "memory": (1037, "Out of memory", "database_out_of_memory"),
    "memory of the server": (1041, "Out of memory.", "database_out_of_memory"),
    "threads": (1135, "Can't create a new thread (errno 11)", "database_out_of_memory"),
    "locks": (1206, "The total number of locks exceeds the lock table size", "database_out_of_memory"),
}
LASTING: dict[str, tuple[int, str, str]] = {
    "password": (1045, "Access denied for user 'x'@'y' (using password: YES)", "database_denied"),
    "rights": (1142, "SELECT command denied to user 'x'@'y' for table 'jobs'", "database_denied"),
    "schema": (1049, "Unknown database 'x'", "database_unknown"),
    "damaged": (1034, "Incorrect key file for table 'jobs'", "database_damaged"),
}
ABOUT_THE_STATEMENT = {
    "duplicate on creating": (1005, 'Can\'t create table `a`.`b` (errno: 121 "Duplicate key on write or update")'),
    "no such table": (1146, "Table 'a.b' doesn't exist"),
    "of the engine": (121, "Duplicate key"),
}
SQLITE = {
    "SQLITE_BUSY": "database_busy", "SQLITE_BUSY_SNAPSHOT": "database_busy", "SQLITE_LOCKED": "database_busy",
    "SQLITE_LOCKED_SHAREDCACHE": "database_busy", "SQLITE_INTERRUPT": "database_busy",
    "SQLITE_FULL": "database_disk_full", "SQLITE_READONLY": "database_read_only",
    "SQLITE_READONLY_DBMOVED": "database_read_only", "SQLITE_READONLY_DIRECTORY": "database_read_only",
    "SQLITE_NOMEM": "database_out_of_memory", "SQLITE_IOERR_NOMEM": "database_out_of_memory",
    "SQLITE_IOERR": "database_disk_error", "SQLITE_IOERR_WRITE": "database_disk_error",
    "SQLITE_IOERR_FSYNC": "database_disk_error", "SQLITE_CANTOPEN": "database_busy",
}  # fmt: skip


def said(number: int, words: str) -> AppError | None:
    return translation(InternalError("SELECT 1", {}, pymysql.err.InternalError(number, words)))


def said_by_sqlite(name: str, file: Path | None = None) -> AppError | None:
    error = sqlite3.OperationalError("words of the driver")
    error.sqlite_errorname = name
    return translation(OperationalError("SELECT 1", {}, error), file)


@pytest.mark.parametrize("what", MARIA)
def test_what_passes_at_mariadb_is_tried_again_and_has_its_own_cause(what: str) -> None:
    number, words, code = MARIA[what]
    error = said(number, words)
    assert isinstance(error, Transient)
    assert (error.code, error.code.startswith("database_"), bool(error.remedy)) == (code, True, True)
    assert words not in error.message


@pytest.mark.parametrize("what", LASTING)
def test_what_does_not_pass_at_mariadb_is_not_tried_for_a_minute(what: str) -> None:
    number, words, code = LASTING[what]
    error = said(number, words)
    assert isinstance(error, Permanent)
    assert (error.code, bool(error.remedy)) == (code, True)


@pytest.mark.parametrize("what", ABOUT_THE_STATEMENT)
def test_what_is_wrong_with_a_statement_is_no_trouble_of_the_server(what: str) -> None:
    error = said(*ABOUT_THE_STATEMENT[what])
    assert error is not None
    assert error.code == "internal"


@pytest.mark.parametrize("name", SQLITE)
def test_what_passes_at_sqlite_is_tried_again_and_has_its_own_cause(name: str, tmp_path: Path) -> None:
    for file in (None, tmp_path / "a.db"):
        error = said_by_sqlite(name, file)
        assert isinstance(error, Transient)
        assert (error.code, bool(error.remedy)) == (SQLITE[name], True)


@pytest.mark.parametrize("name", ["SQLITE_CORRUPT", "SQLITE_CORRUPT_INDEX", "SQLITE_NOTADB"])
def test_a_damaged_file_is_named_and_not_tried_again(name: str, tmp_path: Path) -> None:
    error = said_by_sqlite(name, tmp_path / "a.db")
    assert isinstance(error, Permanent)
    assert (error.code, str(tmp_path / "a.db") in error.message) == ("database_damaged", True)


# --- the real thing ------------------------------------------------------------------------------------------------


async def write(db: Database, size: int = 2000) -> None:
    row = {"id": new_id(), "type": "backup_create", "reason": "x" * size}
    await db.run(lambda tx: tx.session.execute(insert(Job).values(**row)), retry_for=0)


async def failure(of: Any) -> AppError:
    with pytest.raises(AppError) as caught:
        await of
    return caught.value


@contextlib.asynccontextmanager
async def opened(file: Path) -> AsyncGenerator[Database]:
    db = PatientDatabase(f"sqlite+aiosqlite:///{file}", key_ring=RING, retry_for=0)
    try:
        yield db
    finally:
        await db.close()


@NEEDS_ROOT
async def test_a_full_disk_under_sqlite_is_told_with_the_file_and_it_goes_on_once_there_is_room(
    tmp_path: Path, migrated_sqlite: Path
) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as disk:
        file = disk / "a.db"
        file.write_bytes(migrated_sqlite.read_bytes())
        async with opened(file) as db:
            await write(db)
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            (disk / "ballast").write_bytes(bytes(free))
            error = await failure(write(db, 2_000_000))
            assert isinstance(error, Transient)
            assert error.code == "database_disk_full"
            assert str(file) in error.message
            (disk / "ballast").unlink()
            await write(db)


@NEEDS_ROOT
async def test_a_disk_that_became_read_only_under_sqlite_is_told(tmp_path: Path, migrated_sqlite: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as disk:
        (disk / "a.db").write_bytes(migrated_sqlite.read_bytes())
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        async with opened(disk / "a.db") as db:
            error = await failure(write(db))
        assert isinstance(error, Transient)
        assert (error.code, str(disk / "a.db") in error.message) == ("database_read_only", True)


@contextlib.contextmanager
def nobody() -> Generator[None]:
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_place_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for file in (tmp_path / "none" / "a.db", tmp_path / "file" / "a.db", tmp_path):
        async with opened(file) as db:
            error = await failure(write(db))
        assert isinstance(error, Permanent)
        assert (error.code, bool(error.remedy)) == ("database_file_missing", True)
        assert str(file.parent) in error.message
        with pytest.raises(Permanent):
            await asyncio.to_thread(migrate, f"sqlite+aiosqlite:///{file}")


@NEEDS_ROOT
async def test_a_place_that_may_not_be_used_is_named_at_once(tmp_path: Path, migrated_sqlite: Path) -> None:
    (tmp_path / "a.db").write_bytes(migrated_sqlite.read_bytes())
    for mode, file in ((0o700, 0o666), (0o755, 0o600)):
        tmp_path.chmod(mode)
        (tmp_path / "a.db").chmod(file)
        async with opened(tmp_path / "a.db") as db:
            with nobody():
                error = await failure(write(db))
        assert isinstance(error, Permanent)
        assert (error.code, str(tmp_path / "a.db") in error.message) == ("database_file_denied", True)


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database at all, but long enough to be read" * 40)
    async with opened(tmp_path / "a.db") as db:
        error = await failure(write(db))
    assert isinstance(error, Permanent)
    assert error.code == "database_damaged"


@NEEDS_ROOT
async def test_a_full_disk_under_mariadb_is_told_and_tried_again(tmp_path: Path, scratch: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as disk:
        small = ("--tmp-table-size=1024", "--max-heap-table-size=16384", "--sort-buffer-size=32768")
        server = await asyncio.to_thread(MariaServer(scratch / "full", f"--tmpdir={disk}", *small).start)
        db = PatientDatabase(server.database(), key_ring=RING)
        sort = "SELECT CONCAT(seq, REPEAT('x', 900)) AS a FROM seq_1_to_20000 ORDER BY CONCAT(a, seq) DESC LIMIT 19999"
        try:
            error = await failure(db.run(lambda tx: tx.session.execute(text(sort)), retry_for=0))
        finally:
            await db.close()
            await asyncio.to_thread(server.stop)
    assert isinstance(error, Transient)
    assert error.code == "database_disk_full"


@pytest.fixture
async def unprivileged(maria: MariaServer) -> AsyncIterator[Database]:
    """A user as in production: root may write even where the server is read-only."""
    url = await asyncio.to_thread(maria.migrated)
    name = url.rpartition("/")[2]
    maria.sql(f"CREATE USER u_{name}@'127.0.0.1' IDENTIFIED BY 'pass'; GRANT ALL ON {name}.* TO u_{name}@'127.0.0.1'")
    db = PatientDatabase(url.replace("root@", f"u_{name}:pass@"), key_ring=RING)
    yield db
    await db.close()


async def test_a_mariadb_that_is_read_only_is_told_and_tried_again(maria: MariaServer, unprivileged: Database) -> None:
    maria.sql("SET GLOBAL read_only = 1")
    try:
        error = await failure(write(unprivileged))
    finally:
        maria.sql("SET GLOBAL read_only = 0")
    assert isinstance(error, Transient)
    assert error.code == "database_read_only"
    await write(unprivileged)


async def test_a_wrong_password_and_a_wrong_name_are_told_as_that(unprivileged: Database) -> None:
    right = unprivileged.engine.url.render_as_string(hide_password=False)
    for wrong, code in ((right.replace("pass@", "other@"), "database_denied"), (f"{right}x", "database_denied")):
        db = PatientDatabase(wrong, key_ring=RING)
        error = await failure(write(db))
        await db.close()
        assert isinstance(error, Permanent)
        assert error.code == code
        assert "other" not in error.message + error.remedy


async def test_a_name_that_the_server_does_not_have_is_told(maria: MariaServer) -> None:
    db = PatientDatabase(f"mariadb+aiomysql://root@127.0.0.1:{maria.port}/nowhere", key_ring=RING)
    error = await failure(write(db))
    await db.close()
    assert error.code == "database_unknown"


# --- a server whose defaults are others ----------------------------------------------------------------------------

LAX = {
    "sql_mode": "''", "time_zone": "'-05:00'", "default_storage_engine": "'MyISAM'", "sql_safe_updates": "1",
    "completion_type": "'RELEASE'", "innodb_lock_wait_timeout": "1", "character_set_server": "'latin1'",
    "tx_isolation": "'SERIALIZABLE'", "character_set_client": "'latin1'", "character_set_connection": "'latin1'",
}  # fmt: skip


@pytest.fixture
def lax(maria: MariaServer) -> Iterator[MariaServer]:
    before = {name: maria.sql(f"SELECT @@GLOBAL.{name}").strip() for name in LAX}
    maria.sql("".join(f"SET GLOBAL {name} = {value};" for name, value in LAX.items()))
    yield maria
    given = {name: value if value.isdigit() else f"'{value}'" for name, value in before.items()}
    maria.sql("".join(f"SET GLOBAL {name} = {value};" for name, value in given.items()))


async def test_a_server_with_lax_defaults_cuts_no_value_and_makes_no_table_without_transactions(
    lax: MariaServer,
) -> None:
    lax.sql("CREATE DATABASE lax CHARACTER SET latin1")
    url = f"mariadb+aiomysql://root@127.0.0.1:{lax.port}/lax"
    await asyncio.to_thread(migrate, url)
    engines = lax.sql("SELECT DISTINCT engine FROM information_schema.tables WHERE table_schema = 'lax'")
    assert engines.split() == ["InnoDB"]
    db = PatientDatabase(url, key_ring=RING)
    try:
        for values in ({"title": "y" * 900}, {"priority": 2**40}):
            row = {"id": new_id(), "type": "backup_create"} | values
            error = await failure(db.run(lambda tx, row=row: tx.session.execute(insert(Job).values(**row))))
            assert isinstance(error, Permanent)
        row = {"id": new_id(), "type": "backup_create", "title": "snow ☃ and 🚀"}
        await db.run(lambda tx: tx.session.execute(insert(Job).values(**row)))
        async with db.read() as session:
            assert list(await session.scalars(select(Job.title))) == ["snow ☃ and 🚀"]
            zone, isolation = (await session.execute(text("SELECT @@time_zone, @@tx_isolation"))).one()
        assert (zone, isolation) == ("+00:00", "READ-COMMITTED")
        await db.run(lambda tx: tx.session.execute(text("UPDATE jobs SET priority = priority + 1")))
    finally:
        await db.close()
