"""Lists of a large fleet are read by index: without one, a list of a rare kind walks all jobs there ever were."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, event, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.api.kernel.dependencies import Bounds
from services.api.kernel.pages import newest_first
from shared.db.session import Database
from shared.db.tables import Archive, Job, Repository, Server, StoragePool
from shared.domain.ids import new_id

NOW = datetime.now(UTC).replace(microsecond=0)
SERVERS = [new_id() for _ in range(20)]
REPOSITORIES = [new_id() for _ in range(20)]
BACKUP_JOBS = [new_id() for _ in range(20)]
NOBODY = new_id()
MANY = 20_000
"""So many that the planner of either database decides as it does at a million."""


async def fill(db: Database) -> None:
    """Jobs and archives, a minute apart each; check jobs are rare, and old."""

    async def owners(tx: Any) -> None:
        pool = new_id()
        await tx.session.execute(insert(StoragePool).values(id=pool, name="p", path="/p", node="n"))
        for number, (server, repository) in enumerate(zip(SERVERS, REPOSITORIES, strict=True)):
            await tx.session.execute(insert(Server).values(id=server, name=f"s{number}", host="h", facts={}))
            values = {
                "id": repository,
                "name": f"r{number}",
                "server_id": server,
                "pool_id": pool,
                "path": f"/{number}",
            }
            await tx.session.execute(insert(Repository).values(values))

    await db.run(owners)
    for start in range(0, MANY, 1000):
        await db.run(lambda tx, start=start: _rows(tx, range(start, start + 1000)))
    async with db.read() as session:
        tables = ("jobs", "archives")
        sqlite = db.engine.dialect.name == "sqlite"
        for statement in ["ANALYZE"] if sqlite else [f"ANALYZE TABLE {table}" for table in tables]:
            await session.execute(text(statement))


async def _rows(tx: Any, numbers: range) -> None:
    ids = [
        {"id": new_id(), "server_id": SERVERS[number % 20], "repository_id": REPOSITORIES[number % 20],
         "backup_job_id": BACKUP_JOBS[number % 20], "created_at": NOW - timedelta(minutes=number)}
        for number in numbers
    ]  # fmt: skip
    kinds = ["repository_check" if number > MANY - 10 else "backup_create" for number in numbers]
    jobs = [one | {"type": kind, "state": "succeeded"} for one, kind in zip(ids, kinds, strict=True)]
    await tx.session.execute(insert(Job), jobs)
    archive = {"name": "a", "started_at": NOW, "ended_at": NOW}
    await tx.session.execute(insert(Archive), [one | archive for one in ids])


LISTS: dict[str, tuple[Any, Select[Any], str]] = {
    "all jobs": (Job, select(Job), "ix_jobs_created_at_id"),
    "jobs of a rare type": (Job, select(Job).where(Job.type == "repository_check"), "ix_jobs_type_created_at_id"),
    "jobs of a type that never ran": (Job, select(Job).where(Job.type == "stats_collect"), "ix_jobs_type_created_at_id"),
    "jobs of a repository": (
        Job, select(Job).where(Job.repository_id == REPOSITORIES[3]), "ix_jobs_repository_id_created_at",
    ),
    "jobs of a repository without any": (
        Job, select(Job).where(Job.repository_id == NOBODY), "ix_jobs_repository_id_created_at",
    ),
    "jobs of a server without any": (Job, select(Job).where(Job.server_id == NOBODY), "ix_jobs_server_id_created_at"),
    "archives of a repository": (
        Archive, select(Archive).where(Archive.repository_id == REPOSITORIES[3]),
        "ix_archives_repository_id_created_at_id",
    ),
}  # fmt: skip


@asynccontextmanager
async def statements(session: AsyncSession) -> AsyncGenerator[list[tuple[str, Any]]]:
    """What this session sends while the block runs."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, sql: str, given: Any, _context: Any, _many: Any) -> None:
        sent.append((sql, given))

    connection = (await session.connection()).sync_connection
    event.listen(connection, "before_cursor_execute", note)
    yield sent
    event.remove(connection, "before_cursor_execute", note)


async def plan(session: AsyncSession, sql: str, given: Any) -> str:
    connection = await session.connection()
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    return "\n".join(str(tuple(row)) for row in await connection.exec_driver_sql(explain + sql, given))


async def test_no_list_walks_or_sorts_a_whole_table(db: Database) -> None:
    await fill(db)
    wrong: list[str] = []
    async with db.read() as session:
        for name, (table, query, index) in LISTS.items():
            for limit in (1, 50):
                async with statements(session) as sent:
                    keys: tuple[Any, Any] = (table.created_at, table.id)
                    await newest_first(session, query, keys, Bounds(limit=limit, after=None))
                found = await plan(session, *sent[0])
                # SQLite may sort those of one same moment ("RIGHT PART"): these are few.
                if index not in found or "filesort" in found or "TEMP B-TREE FOR ORDER BY" in found:
                    wrong.append(f"{name}, {limit} a page: {found}")
    assert not wrong, "\n".join(wrong)
