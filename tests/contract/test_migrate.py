"""`migrate` may be killed at any moment, and be started by several at once: the schema is whole, and no row is lost."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pymysql
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import text

from shared.db import engines
from shared.db.migrations import alembic_config, alone, migrate
from shared.db.migrations.progress import TABLE
from shared.db.revisions import known_revisions
from shared.db.session import Database
from shared.errors import AppError, Permanent, Transient
from tests.harness.mariadb import MariaServer
from tests.harness.nats_server import NatsServer
from tests.harness.patience import WAIT
from tests.harness.statement_cutter import StatementCutter

SCHEMA = ("CREATE", "ALTER", "DROP")
ROWS = ("INSERT", "UPDATE", "REPLACE", "DELETE", "COMMIT")
COLUMNS = """SELECT table_name, column_name, column_type, is_nullable, column_default, character_set_name, collation_name
    FROM information_schema.columns WHERE table_schema = '{0}' ORDER BY 1, 2"""
INDEXES = """SELECT table_name, index_name, seq_in_index, column_name, non_unique
    FROM information_schema.statistics WHERE table_schema = '{0}' ORDER BY 1, 2, 3"""
KEYS = """SELECT table_name, constraint_name, referenced_table_name, delete_rule
    FROM information_schema.referential_constraints WHERE constraint_schema = '{0}' ORDER BY 1, 2"""
KINDS = """SELECT table_name, column_name, data_type, character_maximum_length
    FROM information_schema.columns WHERE table_schema = '{0}'"""
ENGINES = "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = '{0}' ORDER BY 1"


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def schema(maria: MariaServer, url: str) -> list[str]:
    return [maria.sql(question.format(name_of(url))) for question in (COLUMNS, INDEXES, KEYS, ENGINES)]


def fill(maria: MariaServer, url: str) -> list[str]:
    """Put a row into each table of an older schema; return the tables."""
    rows: dict[str, dict[str, str]] = {}
    asked = KINDS.format(name_of(url))
    for line in maria.sql(asked).splitlines():
        table, column, kind, length = line.split("\t")
        value = {
            "uuid": "'00000000-0000-0000-0000-000000000001'", "varchar": f"'{'succeeded'[: int(length if length != 'NULL' else 0)]}'",
            "datetime": "'2026-01-01'", "longtext": "'{}'", "longblob": "'x'", "blob": "'x'", "mediumtext": "'text'",
        }  # fmt: skip
        rows.setdefault(table, {})[f"`{column}`"] = value.get(kind, "1")
    del rows["alembic_version"]
    rows.pop(TABLE, None)
    inserts = [
        f"INSERT INTO {table} ({','.join(row)}) VALUES ({','.join(row.values())});"  # noqa: S608 - names of our own
        for table, row in rows.items()
    ]
    maria.sql(f"SET foreign_key_checks=0; {''.join(inserts)}", name_of(url))
    return sorted(rows)


def counts(maria: MariaServer, url: str, tables: list[str]) -> list[str]:
    """Return how many rows each table has."""
    asked = [f"SELECT COUNT(*) FROM {table};" for table in tables]  # noqa: S608 - names of our own
    return maria.sql("".join(asked), name_of(url)).split()


def until_done(url: str, only: tuple[str, ...], between: Any = None) -> list[str]:
    """Migrate again and again, cut after one more statement each time, until nothing is left; return where it was cut."""
    with StatementCutter(url) as cutter:
        cutter.only = only
        while True:
            cuts = len(cutter.cuts)
            try:
                migrate(cutter.url)
            except Transient:
                assert len(cutter.cuts) == cuts + 1, "it failed where nothing was cut"
            else:
                return cutter.cuts
            if between is not None:
                between()


def older(maria: MariaServer, revision: str) -> str:
    url = maria.database()
    command.upgrade(alembic_config(url), revision)
    return url


def test_a_kill_after_each_change_of_the_schema_bricks_no_new_database(maria: MariaServer) -> None:
    url = maria.database()
    cuts = until_done(url, SCHEMA)
    assert sum(cut.startswith("CREATE TABLE") for cut in cuts) >= 31
    assert schema(maria, url) == schema(maria, maria.migrated())
    assert maria.sql("SELECT id, fleet, per_server, per_pool FROM run_limits", name_of(url)).split() == [
        "1",
        "50",
        "2",
        "20",
    ]


def test_a_kill_after_each_statement_of_an_upgrade_loses_no_row_of_a_living_installation(maria: MariaServer) -> None:
    url = older(maria, "0006")
    tables = fill(maria, url)
    cuts = until_done(url, SCHEMA + ROWS)
    assert sum(cut == "COMMIT" for cut in cuts) > 40
    assert schema(maria, url) == schema(maria, maria.migrated())
    assert counts(maria, url, tables) == ["1"] * len(tables)
    assert maria.sql("SELECT trusted FROM archives", name_of(url)).strip() == "1"
    assert maria.sql("SELECT COUNT(*) FROM run_limits", name_of(url)).strip() == "1"


def test_a_database_that_a_version_without_counts_left_half_done_is_brought_to_its_end(maria: MariaServer) -> None:
    url = older(maria, "0006")
    tables = fill(maria, url)
    # As that version did: whatever was done of a revision is there, and nothing says how much.
    with contextlib.closing(
        pymysql.connect(host="127.0.0.1", port=maria.port, user="root", database=name_of(url))
    ) as other:
        cuts = until_done(url, SCHEMA, lambda: other.cursor().execute(f"DROP TABLE IF EXISTS {TABLE}"))
    assert len(cuts) > 30
    assert schema(maria, url) == schema(maria, maria.migrated())
    assert counts(maria, url, tables) == ["1"] * len(tables)


def test_a_table_of_somebody_else_is_not_taken_for_ours(maria: MariaServer) -> None:
    url = maria.database()
    maria.sql("CREATE TABLE servers (id INT)", name_of(url))
    for _ in range(2):
        with pytest.raises(Permanent):
            migrate(url)
    assert "facts" not in maria.sql("DESCRIBE servers", name_of(url))


def test_a_downgrade_does_not_begin_in_the_middle_of_an_upgrade(maria: MariaServer) -> None:
    url = older(maria, "0012")
    with StatementCutter(url) as cutter:
        cutter.only = ("ALTER",)
        with pytest.raises(Transient):
            migrate(cutter.url)
    with pytest.raises(Permanent) as caught:
        command.downgrade(alembic_config(url), "0011")
    assert caught.value.code == "migration_unfinished"
    assert "0013" in caught.value.message
    migrate(url)
    assert schema(maria, url) == schema(maria, maria.migrated())


# --- several at once -----------------------------------------------------------------------------------------------

MIGRATE = "import sys; from shared.db.migrations import migrate; migrate(sys.argv[1])"
# Holds what a `migrate` holds, and says so.
HOLD = """
import sys, time
from alembic.runtime.migration import MigrationContext
from shared.db.migrations import migrate
def run(context, **given):
    print("holds", flush=True)
    time.sleep(3600)
MigrationContext.run_migrations = run
migrate(sys.argv[1])
"""
KILL = """
import os, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from shared.db.migrations import migrate
left = int(sys.argv[2])
def executed(*_given):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), 9)
event.listen(Engine, "after_cursor_execute", executed)
migrate(sys.argv[1])
"""


def python(code: str, *given: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", code, *given]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    with process:
        said, _ = process.communicate(timeout=WAIT)
    return process.returncode, said


@pytest.fixture(params=["sqlite", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'new.db'}"
    return request.getfixturevalue("maria").database()


def test_of_five_at_once_one_migrates_and_all_end_well(url: str) -> None:
    said = [ended(one) for one in [python(MIGRATE, url) for _ in range(5)]]
    assert [status for status, _ in said] == [0] * 5, said
    command.check(alembic_config(url))


def test_of_five_machines_that_are_installed_at_once_one_tells_the_first_token(
    maria: MariaServer, tmp_path: Path, contract_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "DATA_DIR": str(tmp_path), "DATABASE__URL": maria.database(), "NATS__URL": contract_nats.url,
        "NATS__MONITOR_URL": contract_nats.monitor_url,
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(f"BORGFLEET_{name}", value)
    together = [python("from borgfleet.cli.app import app; app(['migrate'])") for _ in range(5)]
    said = [ended(one) for one in together]
    assert [status for status, _ in said] == [0] * 5, said
    assert sum("bf_" in text for _, text in said) == 1, "the first token is told once"


def test_who_waits_too_long_is_told_for_what_and_who_was_killed_keeps_nobody_out(
    url: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    with python(HOLD, url) as holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline().strip() == "holds"
            monkeypatch.setattr(alone, "MIGRATE_WAIT_SECONDS", -1)
            monkeypatch.setattr(engines, "MIGRATE_WAIT_SECONDS", 1)
            with pytest.raises(Transient) as caught:
                migrate(url)
            assert caught.value.code == "migration_running"
            if url.startswith("mariadb"):
                migrate(request.getfixturevalue("maria").database())  # another schema of this server waits for nobody
        finally:
            monkeypatch.undo()
            holder.kill()
        migrate(url)
    command.check(alembic_config(url))


@pytest.mark.parametrize("after", [30, 160])
def test_a_kill_leaves_nothing_half_done_in_sqlite(tmp_path: Path, after: int) -> None:
    file = tmp_path / "new.db"
    killed = python(KILL, f"sqlite+aiosqlite:///{file}", str(after))
    assert ended(killed)[0] == -signal.SIGKILL
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()
    migrate(f"sqlite+aiosqlite:///{file}")


# --- versions ------------------------------------------------------------------------------------------------------


def test_the_files_names_tell_the_revisions_that_alembic_knows() -> None:
    scripts = ScriptDirectory.from_config(alembic_config("sqlite://"))
    assert known_revisions() == tuple(sorted(one.revision for one in scripts.walk_revisions()))
    assert known_revisions()[-1] == scripts.get_current_head()


async def test_migrate_refuses_a_schema_that_is_newer_than_it_knows_and_changes_nothing(db: Database) -> None:
    async with db.transaction() as tx:
        await tx.session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(AppError) as caught:
        await asyncio.to_thread(migrate, db.engine.url.render_as_string(hide_password=False))
    assert caught.value.code == "schema_newer"
    assert "9999" in caught.value.message
    assert caught.value.remedy
