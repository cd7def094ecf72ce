"""What prunes took is kept in the database: the deletion limit adds it up, on both databases."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from shared.db.queries.retention import judge_archives, last_good, load_policies, mark_pruned
from shared.db.session import Database
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.storage import Archive, Repository
from tests.contract.test_good_archives import place

DAY = timedelta(days=1)


async def add_archives(db: Database, ages: list[float], **values: Any) -> uuid.UUID:
    """Add a backup job with archives of these ages in days; return its id."""

    async def add(tx: Any) -> uuid.UUID:
        ids = await place(tx)
        definition = BackupJob(name="web1-system", sources=["/etc"], **ids)
        tx.session.add(definition)
        await tx.session.flush()
        for number, age in enumerate(ages):
            at = datetime.now(UTC) - timedelta(days=age)
            times = {"started_at": at, "ended_at": at, "created_at": at}
            tx.session.add(
                Archive(
                    name=f"a{number}", borg_id=f"{number:064}", backup_job_id=definition.id, **ids, **times, **values
                )
            )
        return definition.id

    return await db.run(add)


async def prune(db: Database, now: datetime, **policy: int) -> tuple[int, bool]:
    """Judge and forget as a prune does; return how many went and whether the deletion limit held."""

    async def work(tx: Any) -> tuple[int, bool]:
        repository = (await tx.session.scalars(select(Repository))).one()
        repository.retention = policy
        archives = list(await tx.session.scalars(select(Archive)))
        (verdict,) = judge_archives(await load_policies(tx.session, repository), archives, now)
        if verdict.deletion_limit_reached:
            return 0, True
        mark_pruned(repository, archives, [*map(uuid.UUID, map(str, verdict.dropped))], now)
        for archive in archives:
            if archive.id in verdict.dropped:
                await tx.session.delete(archive)
        return len(verdict.dropped), False

    return await db.run(work)


async def test_prunes_that_take_a_little_each_add_up_and_meet_the_deletion_limit(db: Database) -> None:
    await add_archives(db, [*range(1, 31)], trusted=True)
    now = datetime.now(UTC)
    assert await prune(db, now, keep_last=20) == (10, False)
    assert await prune(db, now, keep_last=16) == (4, False)
    assert await prune(db, now, keep_last=12) == (0, True)
    assert await prune(db, now + 8 * DAY, keep_last=12) == (4, False)  # a week later it counts anew


async def test_marks_of_what_is_gone_do_not_pile_up(db: Database) -> None:
    await add_archives(db, [1, 2, 3], trusted=True)
    now = datetime.now(UTC)
    await prune(db, now, keep_last=2)
    async with db.read() as session:
        marks = (await session.scalars(select(Repository.prune_marks))).one() or {}
    assert [mark["taken"] for mark in marks.values()] == [1]
    await db.run(_orphan)
    await prune(db, now, keep_last=2)
    async with db.read() as session:
        assert list((await session.scalars(select(Repository.prune_marks))).one() or {}) == [""]


async def _orphan(tx: Any) -> None:
    for archive in await tx.session.scalars(select(Archive)):
        archive.backup_job_id = None


async def test_the_last_good_backup_is_none_of_the_future_and_no_doubtful_one(db: Database) -> None:
    """With a clock a year ahead for one run the target of its backup job was met for a year."""
    backup_job = await add_archives(db, [-365, 1, 2], trusted=True)
    async with db.read() as session:
        before = (await last_good(session, [backup_job]))[backup_job]
        assert abs(datetime.now(UTC) - DAY - before) < timedelta(minutes=10)
    await db.run(lambda tx: _doubt(tx, "a1"))
    async with db.read() as session:
        assert before - (await last_good(session, [backup_job]))[backup_job] > timedelta(hours=23)


async def _doubt(tx: Any, name: str) -> None:
    archive = (await tx.session.scalars(select(Archive).where(Archive.name == name))).one()
    archive.state, archive.trusted = "warning", False
