"""What the newest backups are is read by index: a fleet with years of backups pays for its jobs, not for its years."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, text

from services.stats.metrics import queries as figures
from shared.db.queries.latest import Latest
from shared.db.queries.retention import last_good, latest_good
from shared.db.session import Database
from shared.db.tables import Archive, BackupJob, Job, Repository, Server, StoragePool
from shared.domain.ids import new_id

NOW = datetime.now(UTC).replace(microsecond=0)


async def history(db: Database, jobs: int, each: int) -> list[UUID]:
    """Backup jobs with an archive and a run each day; every third archive is doubtful, one is from the future."""
    server, pool, repository = new_id(), new_id(), new_id()
    ids = [new_id() for _ in range(jobs)]
    of = {"repository_id": repository, "server_id": server, "started_at": NOW, "ended_at": NOW, "name": "a"}
    archives = [
        {"id": new_id(), "backup_job_id": one, "created_at": NOW - timedelta(days=day), "files": day,
         "trusted": day % 3 != 0, "duration": 1.0} | of
        for one in ids for day in range(each)
    ]  # fmt: skip
    archives.append(archives[0] | {"id": new_id(), "created_at": NOW + timedelta(days=400), "trusted": True})
    runs = [
        {"id": new_id(), "type": "backup_create", "backup_job_id": one, "state": "succeeded",
         "created_at": NOW - timedelta(days=day)}
        for one in ids for day in range(each)
    ]  # fmt: skip

    async def add(tx: Any) -> None:
        await tx.session.execute(insert(Server).values(id=server, name="s", host="h", facts={}))
        await tx.session.execute(insert(StoragePool).values(id=pool, name="p", node="n", path="/p"))
        place = {"id": repository, "name": "r", "server_id": server, "pool_id": pool, "path": "/r"}
        await tx.session.execute(insert(Repository).values(**place))
        definition = {"server_id": server, "repository_id": repository, "sources": ["/"]}
        await tx.session.execute(insert(BackupJob), [{"id": one, "name": one.hex} | definition for one in ids])

    await db.run(add)
    for table, rows in ((Archive, archives), (Job, runs)):
        for start in range(0, len(rows), 2000):
            await db.run(lambda tx, t=table, some=rows[start : start + 2000]: tx.session.execute(insert(t), some))
    return ids


async def test_the_newest_good_ones_of_each_job_are_found_whatever_lies_between(db: Database) -> None:
    ids = await history(db, 60, 15)
    async with db.read() as session:
        found = await latest_good((Archive.files,), 10).of(session, [*ids, new_id()])
        assert len(found) == 60
        for one in ids:
            assert [row.files for row in found[one]] == [1, 2, 4, 5, 7, 8, 10, 11, 13, 14]
        assert await last_good(session, ids[:3]) == dict.fromkeys(ids[:3], NOW - timedelta(days=1))
        assert await last_good(session, []) == {}
        after = {one: NOW - timedelta(days=6) for one in ids[:30]}
        later = await latest_good((Archive.files,), 10).of(session, ids, since=after)
    assert [row.files for row in later[ids[0]]] == [1, 2, 4, 5]
    assert len(later[ids[50]]) == 10


@pytest.mark.parametrize(
    ("latest", "index"),
    [
        (figures._GOOD, "ix_archives_backup_job_id_created_at"),
        (figures._DOUBTFUL, "ix_archives_backup_job_id_created_at"),
        (figures._RUNS, "ix_jobs_backup_job_id_created_at"),
    ],
)
async def test_no_plan_reads_all_that_was_ever_backed_up(db: Database, latest: Latest, index: str) -> None:
    ids = await history(db, 20, 30)
    dialect = db.engine.dialect
    statement = latest.statement(2)
    given = {"key_0": ids[0], "key_1": ids[1], "since_0": NOW - timedelta(days=9), "since_1": NOW - timedelta(days=9)}
    sql = str(statement.params(**given).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    sqlite = dialect.name == "sqlite"

    async def plan(tx: Any) -> list[Any]:
        if not sqlite:
            await tx.session.execute(text("ANALYZE TABLE archives, jobs"))
        explained = text(f"{'EXPLAIN QUERY PLAN' if sqlite else 'EXPLAIN'} {sql.replace(':', chr(92) + ':')}")
        return [dict(row._mapping) for row in await tx.session.execute(explained)]

    rows = await db.run(plan)
    if sqlite:
        read = [row["detail"] for row in rows if "archives" in row["detail"] or "jobs" in row["detail"]]
        assert len(read) == 2
        assert all(f"USING INDEX {index} (backup_job_id=? AND created_at>?" in one for one in read), read
        return
    read = [row for row in rows if row["table"] in ("archives", "jobs")]
    assert len(read) == 2
    assert {row["key"] for row in read} == {index}, read
    assert {row["type"] for row in read} <= {"range", "ref"}
    assert "filesort" not in " ".join(row["Extra"] or "" for row in read), "it goes down the index and stops"
