"""Whatever the database says leaves its door as an error of ours: no driver's words, no dead task, no 500 by surprise."""

from __future__ import annotations

import math
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import JSON, CheckConstraint, insert, select, text, update
from structlog.testing import capture_logs

from shared.db import constraints
from shared.db.session import Database
from shared.db.tables import Base, Job, NotificationChannel, Repository, Secret, Server, StoragePool
from shared.db.tables.base import UtcDateTime
from shared.domain.ids import new_id
from shared.errors import AppError, Conflict, Internal, Permanent

WORDS = ("UNIQUE", "Duplicate", "CONSTRAINT", "constraint", "IntegrityError", "uq_", "fk_", "sqlite", "pymysql")


def deep(levels: int) -> Any:
    found: Any = "end"
    for _ in range(levels):
        found = [found]
    return found


def job(**values: Any) -> Callable[[Any], Any]:
    return lambda tx: tx.session.execute(insert(Job).values(id=new_id(), type="backup_create", **values))


VALUES: dict[str, Callable[[Any], Any]] = {
    "a number beyond 64 bits": job(priority=2**70),
    "a number beyond 32 bits": job(priority=2**40),
    "a negative one beyond 64 bits": job(attempt=-(2**63) - 1),
    "a lone surrogate in a text": job(title="caf\udce9"),
    "a lone surrogate in a long text": job(reason="\ud800"),
    "a lone surrogate as a parameter of a question": lambda tx: tx.session.execute(
        select(Job.id).where(Job.title == "\udcff")
    ),
    "a number beyond 64 bits in a question": lambda tx: tx.session.execute(select(Job.id).where(Job.priority == 2**80)),
    "a text longer than its column": job(title="x" * 100_000),
    "a JSON nested too deep": job(params=deep(sys.getrecursionlimit() * 2)),
    "a set in JSON": job(params={"a": {1}}),
    "bytes in JSON": job(result={"a": b"x"}),
    "a surrogate in JSON": job(warnings=["\udce9"]),
    "NaN in JSON": job(result={"a": math.nan}),
    "Infinity in JSON": job(result={"a": math.inf}),
    "a naive time": job(started_at=datetime(2026, 1, 1)),  # noqa: DTZ001 - the fault itself
    "a time before the first year": job(started_at=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))),
    "a time after the last year": job(
        started_at=datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-14)))
    ),
    "a text for a number": job(priority="many"),
    "a text for an id": job(server_id="no id"),
    "a text for a time": job(started_at="yesterday"),
    "nothing where something must be": job(title=None),
    "a table that does not exist": lambda tx: tx.session.execute(text("SELECT * FROM nowhere")),
    "no SQL at all": lambda tx: tx.session.execute(text("SELEKT 1")),
    "too few parameters": lambda tx: tx.session.execute(text("SELECT :a"), {}),
    "more than one row where one is expected": lambda tx: tx.session.execute(select(Job.id).where(Job.id == new_id())),
    "a row that must be there": lambda tx: tx.session.get_one(Server, new_id()),
}
# What a database keeps without a word harms nobody: SQLite has no lengths, and takes any JSON text and number.
KEPT = {
    "sqlite": {
        "a number beyond 32 bits", "a text longer than its column", "NaN in JSON", "Infinity in JSON",
        "a surrogate in JSON", "a text for a number",
    },
    "mariadb": {"a lone surrogate as a parameter of a question", "a number beyond 64 bits in a question"},
}  # fmt: skip
HARMLESS = {"more than one row where one is expected"}


@pytest.mark.parametrize("what", VALUES)
async def test_no_value_makes_an_error_of_the_driver_leave_the_door(db: Database, what: str) -> None:
    kind = "sqlite" if db.engine.dialect.name == "sqlite" else "mariadb"
    error: AppError | None = None
    with capture_logs() as logs:
        try:
            await db.run(VALUES[what], retry_for=0)
        except AppError as met:
            error = met
    if what in KEPT[kind] | HARMLESS:
        assert error is None
        return
    assert isinstance(error, Permanent)
    assert error.code == "internal"
    assert not any(word in error.message + error.remedy for word in WORDS)
    assert [line["event"] for line in logs] == ["database_error"]
    assert isinstance(logs[0]["exc_info"], BaseException), "logged whole"
    # The connection that met it is whole.
    await db.run(lambda tx: tx.session.execute(select(Job.id)))


async def test_a_fault_of_a_statement_is_told_apart_from_a_value_that_cannot_be_kept(db: Database) -> None:
    with pytest.raises(Internal):
        await db.run(lambda tx: tx.session.execute(text("SELEKT 1")))
    with pytest.raises(Permanent) as caught:
        await db.run(job(priority=2**70))
    assert not isinstance(caught.value, Internal), "an API answers this with 400 and not with 500"


async def test_errors_that_are_not_the_databases_pass_as_they_are(db: Database) -> None:
    async def broken(_tx: Any) -> None:
        raise KeyError("ours")

    with pytest.raises(KeyError):
        await db.run(broken)
    with pytest.raises(KeyError):
        async with db.read():
            raise KeyError("ours")


async def test_a_question_is_translated_as_a_change_is(db: Database) -> None:
    for broken in (select(Job.id).where(Job.started_at == datetime(1, 1, 1)), text("SELECT * FROM nowhere")):  # noqa: DTZ001 - the fault itself
        with pytest.raises(Permanent):
            async with db.read() as session:
                await session.execute(broken)


async def test_no_parameter_of_a_statement_is_logged(db: Database) -> None:
    with capture_logs() as logs, pytest.raises(Permanent):
        await db.run(job(title="canary-of-a-secret", priority=2**70))
    assert "canary-of-a-secret" not in str(logs[0]["exc_info"])


# --- constraints ---------------------------------------------------------------------------------------------------


def test_every_unique_constraint_foreign_key_and_check_is_in_the_table() -> None:
    named = {one["name"] for table in Base.metadata.tables.values() for one in constraints.unique_of(table)}
    assert named == set(constraints.UNIQUE)
    parents = {key.column.table.name for table in Base.metadata.tables.values() for key in table.foreign_keys}
    assert parents == set(constraints.NOUNS)
    checks = {
        str(one.name)
        for table in Base.metadata.tables.values()
        for one in table.constraints
        if isinstance(one, CheckConstraint)
    }
    assert checks == set(constraints.CHECKS)


def test_every_sentence_has_a_code_of_its_own_and_a_remedy() -> None:
    rows = [row for name, row in constraints.UNIQUE.items() if name != "uq_api_tokens_prefix"]
    assert len({row.code for row in rows}) == len(rows)
    assert constraints.UNIQUE["uq_api_tokens_prefix"] == constraints.UNIQUE["uq_api_tokens_digest"]
    assert all(row.sentence and row.remedy for row in rows)


def of_column(column: sqlalchemy.Column[Any]) -> Any:
    if isinstance(column.type, UtcDateTime):
        return datetime(2026, 1, 1, tzinfo=UTC)
    if isinstance(column.type, JSON):
        return []
    kind = column.type.python_type
    return {uuid.UUID: uuid.uuid4, str: lambda: uuid.uuid4().hex[:8], bytes: lambda: b"x"}.get(kind, kind)()


@pytest.mark.parametrize("name", constraints.UNIQUE)
async def test_each_unique_constraint_says_its_own_sentence_on_both_databases(db: Database, name: str) -> None:
    table, columns = next(
        (table, one["column_names"])
        for table in Base.metadata.tables.values()
        for one in constraints.unique_of(table)
        if one["name"] == name
    )
    same = {column: of_column(table.c[column]) for column in columns}

    def row() -> dict[str, Any]:
        needed = {c.name: of_column(c) for c in table.columns if not c.nullable or c.primary_key}
        return needed | same

    async def twice(tx: Any) -> None:
        off = "PRAGMA defer_foreign_keys=ON" if db.engine.dialect.name == "sqlite" else "SET foreign_key_checks=0"
        await tx.session.execute(text(off))
        for _ in range(2):
            await tx.session.execute(insert(table).values(row()))

    with pytest.raises(Conflict) as caught:
        await db.run(twice)
    expected = constraints.UNIQUE[name]
    error = caught.value
    assert (error.code, error.message, error.field, error.remedy) == (
        expected.code, expected.sentence, expected.field, expected.remedy,
    )  # fmt: skip
    assert not any(word in error.message + error.remedy for word in WORDS)


async def test_what_is_still_used_says_by_what_and_what_does_not_exist_says_so(db: Database) -> None:
    server, pool = new_id(), new_id()

    async def add(tx: Any) -> None:
        await tx.session.execute(insert(Server).values(id=server, name="web", host="h", facts={}))
        await tx.session.execute(insert(StoragePool).values(id=pool, name="p", node="n", path="/p"))
        await tx.session.execute(
            insert(Repository).values(id=new_id(), name="r", server_id=server, pool_id=pool, path="/r")
        )

    await db.run(add)
    for table, key, code in ((Server, server, "server_in_use"), (StoragePool, pool, "storage_pool_in_use")):
        with pytest.raises(Conflict) as caught:
            await db.run(
                lambda tx, table=table, key=key: tx.session.execute(sqlalchemy.delete(table).where(table.id == key))
            )
        assert caught.value.code == code
        assert "repositories" in caught.value.message
    lost = {"id": new_id(), "name": "x", "server_id": new_id(), "pool_id": pool, "path": "/x"}
    with pytest.raises(Conflict) as caught:
        await db.run(lambda tx: tx.session.execute(insert(Repository).values(**lost)))
    assert caught.value.code == "reference_unknown"
    with pytest.raises(Conflict) as caught:
        await db.run(lambda tx: tx.session.execute(update(Repository).values(server_id=new_id())))
    assert caught.value.code == "reference_unknown"


async def test_the_same_key_twice_is_a_conflict_even_where_no_name_is_at_stake(db: Database) -> None:
    row = {"name": "a", "key_id": "k", "wrapped_key": b"", "sealed": b""}
    with pytest.raises(Conflict) as caught:
        await db.run(lambda tx: tx.session.execute(insert(Secret).values([row, row])))
    assert caught.value.code == "conflict"


async def test_two_channels_of_one_name_at_once_are_told_apart_by_name(db: Database) -> None:
    async def add(tx: Any) -> None:
        for _ in range(2):
            tx.session.add(NotificationChannel(name="ops", kind="webhook", label="x"))

    with pytest.raises(Conflict, match="another channel has this name"):
        await db.run(add)


def test_nothing_outside_the_doors_package_knows_an_error_of_sqlalchemy() -> None:
    root = Path(constraints.__file__).parents[2]
    knowing = [
        file.relative_to(root).as_posix()
        for package in ("borgfleet", "services", "shared")
        for file in sorted((root / package).rglob("*.py"))
        if "sqlalchemy.exc" in file.read_text()
    ]
    doors = ["shared/db/causes.py", "shared/db/constraints.py", "shared/db/door.py", "shared/db/engines.py"]
    assert knowing == doors
