"""Proofs on both databases: tests that are due are made, the newest good proof is found, and it alone is never forgotten."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry
from sqlalchemy import select

from services.api.kernel.schedules import MaintenanceScheduleIn
from services.api.kernel.scheduling import Owner, replace_schedules
from services.scheduler.housekeeping import Housekeeping
from services.scheduler.schedules import Schedules
from services.stats.metrics.proofs import load_proofs
from shared.config.settings import KeepSettings
from shared.db.queries.proofs import backup_jobs_proven, repositories_proven, servers_proven
from shared.db.session import Database
from shared.db.tables import BackupJob, Job, Repository, RestoreProof, Schedule, Server, StoragePool
from shared.domain.proofs import RestoreTestAsked
from shared.domain.scheduled import asked_for

NOW = datetime.now(UTC).replace(microsecond=0)


async def repository(db: Database) -> tuple[uuid.UUID, uuid.UUID, uuid.UUID]:
    """Make a server with a repository and a backup job; return their ids."""

    async def add(tx: Any) -> tuple[uuid.UUID, uuid.UUID, uuid.UUID]:
        server, pool = Server(name="web1", host="h", facts={}), StoragePool(name="main", node="node1", path="/p")
        tx.session.add_all([server, pool])
        await tx.session.flush()
        made = Repository(name="r", server_id=server.id, pool_id=pool.id, path="/p/web1/r")
        tx.session.add(made)
        await tx.session.flush()
        definition = BackupJob(name="job", server_id=server.id, repository_id=made.id, sources=["/etc"])
        tx.session.add(definition)
        await tx.session.flush()
        return server.id, made.id, definition.id

    return await db.run(add)


async def prove(db: Database, ids: tuple[uuid.UUID, uuid.UUID, uuid.UUID], state: str, days_ago: int) -> None:
    server_id, repository_id, backup_job_id = ids
    at = NOW - timedelta(days=days_ago)

    async def add(tx: Any) -> None:
        for of in (backup_job_id, None):
            tx.session.add(
                RestoreProof(
                    server_id=server_id, repository_id=repository_id, backup_job_id=of, kind="sample", state=state,
                    started_at=at, ended_at=at, full_restore_seconds=float(days_ago),
                )
            )  # fmt: skip

    await db.run(add)


async def test_a_policy_that_is_due_makes_one_job_with_what_it_says(db: Database) -> None:
    _, repository_id, backup_job_id = await repository(db)
    asked = {"files": 7, "backup_job_id": str(backup_job_id)}
    wanted = MaintenanceScheduleIn.model_validate({"task": "restore_test", "restore_test": asked})

    async def due(tx: Any) -> None:
        await replace_schedules(tx, Owner(repository_id=repository_id, server="web1", repository="r"), [wanted])
        (row,) = await tx.session.scalars(select(Schedule))
        row.due_at = row.next_run_at = NOW - timedelta(minutes=1)

    await db.run(due)
    scheduler = Schedules(db, CollectorRegistry())
    assert await scheduler.make_due() == 1
    assert await scheduler.make_due() == 0
    async with db.read() as session:
        (job,) = await session.scalars(select(Job))
    assert (job.type, job.node, job.repository_id, job.state) == ("restore_test", "node1", repository_id, "queued")
    assert RestoreTestAsked.model_validate(asked_for(job.params)) == wanted.restore_test


async def test_the_newest_good_proof_is_found_and_no_other(db: Database) -> None:
    ids = await repository(db)
    for days_ago, state in ((9, "good"), (5, "good"), (3, "damaged"), (1, "source_differs")):
        await prove(db, ids, state, days_ago)
    at = NOW - timedelta(days=5)
    async with db.read() as session:
        assert await servers_proven(session, [ids[0]]) == {ids[0]: at}
        assert await repositories_proven(session, [ids[1]]) == {ids[1]: (at, 5.0)}
        assert await backup_jobs_proven(session, [ids[2]]) == {ids[2]: (at, 5.0)}
        assert await backup_jobs_proven(session, [uuid.uuid4()]) == {}
        figures = {(name, labels): value for name, labels, value in await load_proofs(session)}
    name = "borgfleet_restore_proof_timestamp_seconds"
    assert figures[name, ("web1", "r", "")] == figures[name, ("web1", "r", "job")] == at.timestamp()


async def test_old_proofs_are_forgotten_but_never_the_last_good_one(db: Database) -> None:
    ids = await repository(db)
    for days_ago, state in ((900, "good"), (850, "good"), (800, "damaged"), (3, "damaged")):
        await prove(db, ids, state, days_ago)
    await Housekeeping(db, KeepSettings()).tick(asyncio.Event())
    async with db.read() as session:
        left = sorted([(one.full_restore_seconds, one.state) for one in await session.scalars(select(RestoreProof))])
    assert left == [(3.0, "damaged"), (3.0, "damaged"), (850.0, "good"), (850.0, "good")]
