"""One definition of good: the pure table and the database's expression of it say the same."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from alembic import command
from sqlalchemy import ColumnElement, select

from shared.db.clock import read_now
from shared.db.migrations import alembic_config
from shared.db.queries.retention import doubtful_archives, good_archives, is_doubtful, is_good
from shared.db.session import Database
from shared.db.tables.server import Server
from shared.db.tables.storage import Archive, Repository, StoragePool

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


async def place(tx: Any) -> dict[str, uuid.UUID]:
    server = Server(name="web1", host="web1", port=22, username="root")
    pool = StoragePool(name="main", node="node1", path="/opt/backups")
    tx.session.add_all([server, pool])
    await tx.session.flush()
    repository = Repository(name="system", server_id=server.id, pool_id=pool.id, path="/opt/backups/web1/system")
    tx.session.add(repository)
    await tx.session.flush()
    return {"repository_id": repository.id, "server_id": server.id}


def every_kind(ids: dict[str, uuid.UUID]) -> list[Archive]:
    kinds = product(
        ["succeeded", "warning", "failed", "odd"], [True, False], [NOW, None], ["", "bad"], [True, False], [True, False]
    )
    return [
        Archive(
            name=f"a{number}", borg_id=f"{number:064}", state=state, trusted=trusted, accepted_at=accepted_at,
            damage=damage, deleting=deleting, missing=missing, started_at=NOW, ended_at=NOW, **ids,
        )
        for number, (state, trusted, accepted_at, damage, deleting, missing) in enumerate(kinds)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "rule", "some"), [(good_archives, is_good, 6), (doubtful_archives, is_doubtful, 2)]
)
async def test_the_database_and_the_rule_agree_on_every_kind_of_archive(
    db: Database, expression: Callable[[], ColumnElement[bool]], rule: Callable[[Archive], bool], some: int
) -> None:
    async def add(tx: Any) -> None:
        tx.session.add_all(every_kind(await place(tx)))

    await db.run(add)
    async with db.read() as session:
        archives = list(await session.scalars(select(Archive)))
        selected = set(await session.scalars(select(Archive.name).where(expression())))
    assert selected == {archive.name for archive in archives if rule(archive)}
    assert len(selected) == some


async def test_archives_of_before_keep_what_was_told_of_them(db: Database) -> None:
    """Green ones are trusted at the upgrade; yellow ones wait for a person's word."""

    async def add(tx: Any) -> None:
        ids = await place(tx)
        for state in ("succeeded", "warning", "failed"):
            tx.session.add(
                Archive(name=state, borg_id=state, state=state, trusted=True, started_at=NOW, ended_at=NOW, **ids)
            )

    await db.run(add)
    config = alembic_config(db.engine.url.render_as_string(hide_password=False))
    await asyncio.to_thread(command.downgrade, config, "0007")
    await asyncio.to_thread(command.upgrade, config, "head")
    async with db.read() as session:
        rows = {row.name: row for row in await session.scalars(select(Archive))}
    assert {name: (row.trusted, row.reasons, row.accepted_at) for name, row in rows.items()} == {
        "succeeded": (True, [], None),
        "warning": (False, [], None),
        "failed": (False, [], None),
    }


async def test_the_clock_of_the_database_is_read_in_utc(db: Database) -> None:
    async with db.read() as session:
        now = await read_now(session)
    assert now.tzinfo is not None
    assert abs((now - datetime.now(UTC)).total_seconds()) < 60
