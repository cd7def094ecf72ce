"""A COMMIT whose answer is lost happened or did not: either way a thing is done once, and whoever asked hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select

from shared.db.session import Database, Pace
from shared.db.stores.requests import request_backup
from shared.db.tables import BackupJob, CommitMark, Job, OutboxRow, Repository, Server, StoragePool
from shared.db.unit_of_work import UnitOfWork
from shared.domain.ids import new_id
from shared.domain.job import JobState
from shared.errors import Conflict, Transient
from shared.secrets.envelope import KeyRing
from tests.harness.commit_cutter import CommitCutter, Cut
from tests.harness.commits import lose_commits
from tests.harness.databases import PatientDatabase
from tests.harness.mariadb import MariaServer
from tests.harness.patience import WAIT

COMMAND = 11
"""Bytes of a COMMIT."""
ANSWER = 11
"""Bytes of the answer to it."""
PLACES = [Cut(asked=n) for n in range(COMMAND)] + [Cut(answered=n) for n in range(ANSWER)]


async def world(db: Database) -> BackupJob:
    ids = {name: new_id() for name in ("server", "pool", "repository", "job")}

    async def add(tx: UnitOfWork) -> None:
        await tx.session.execute(insert(Server).values(id=ids["server"], name="s", host="h", facts={}))
        await tx.session.execute(insert(StoragePool).values(id=ids["pool"], name="p", node="n", path="/p"))
        place = {"id": ids["repository"], "name": "r", "server_id": ids["server"], "pool_id": ids["pool"], "path": "/r"}
        await tx.session.execute(insert(Repository).values(**place))
        definition = {"id": ids["job"], "name": "j", "server_id": ids["server"], "repository_id": ids["repository"]}
        await tx.session.execute(insert(BackupJob).values(**definition, sources=["/etc"]))

    await db.run(add)
    async with db.read() as session:
        return await session.get_one(BackupJob, ids["job"])


async def count(db: Database, table: Any, *conditions: Any) -> int:
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


async def asked_once(db: Database) -> None:
    """A run is asked for: one job, and one message for it."""
    definition = await world(db)
    before = await count(db, Job)

    async def queue(tx: UnitOfWork) -> Job:
        job = await request_backup(tx, definition)
        await tx.session.refresh(job)
        return job

    told: list[OutboxRow] = []
    db.on_emit(told.extend)
    async with armed(db):
        job = await db.run(queue)
    assert await count(db, Job) == before + 1
    assert await count(db, Job, Job.id == job.id) == 1
    assert job.title == "s - r", "what was made can be read, though its transaction seemed to fail"
    assert await count(db, OutboxRow, OutboxRow.subject == "backup.requested.n") == 1
    assert {row.id for row in told} == await ids_of_events(db), (
        "the relay hears of what was committed, and of nothing else"
    )


async def added_once(db: Database) -> None:
    """A server is added: it is there, and nobody is told that its name is taken."""

    async def add(tx: UnitOfWork) -> Server:
        server = Server(name="web1", host="h")
        tx.session.add(server)
        await tx.session.flush()
        await tx.session.refresh(server)
        return server

    async with armed(db):
        server = await db.run(add)
    assert server.host == "h"
    assert await count(db, Server, Server.id == server.id) == 1
    with pytest.raises(Conflict):
        await db.run(add)


async def claimed_once(db: Database) -> None:
    """A run is claimed: the worker that asked has it at once, and it is its first attempt."""
    job = Job(type="server_setup", title="t")
    await db.run(lambda tx: tx.jobs.enqueue(job))
    async with armed(db):
        held = await db.run(lambda tx: tx.jobs.claim(job.id, lease="mine", seconds=60), repeatable=True)
    assert held is not None
    assert (held.lease, held.attempt, held.state) == ("mine", 1, "running")
    assert await db.run(lambda tx: tx.jobs.claim(job.id, lease="another's", seconds=60)) is None


async def finished_once(db: Database) -> None:
    """A run ends: its end is told once."""
    job = Job(type="server_setup", title="t")
    await db.run(lambda tx: tx.jobs.enqueue(job))
    held = await db.run(lambda tx: tx.jobs.claim(job.id, lease="mine", seconds=60))
    assert held is not None
    before = await count(db, OutboxRow)
    async with armed(db):
        fresh = await db.run(lambda tx: tx.jobs.finish(held, lease="mine", state=JobState.SUCCEEDED))
    assert fresh is True, "what belongs to the end is done with it"
    assert await count(db, OutboxRow) == before + 1
    assert await count(db, Job, Job.state == "succeeded") == 1


async def put_back_once(db: Database) -> None:
    """A run that failed goes back to the queue: that counts once, and its lease is not said to be lost."""
    job = Job(type="server_setup", title="t")
    await db.run(lambda tx: tx.jobs.enqueue(job))
    held = await db.run(lambda tx: tx.jobs.claim(job.id, lease="mine", seconds=60))
    assert held is not None
    error = Transient("down", code="down")
    async with armed(db):
        await db.run(lambda tx: tx.jobs.put_back(held, lease="mine", delay=0, error=error, failed=True))
    async with db.read() as session:
        row = await session.get_one(Job, job.id)
    assert (row.state, row.failures) == ("queued", 1)


async def counted_once(db: Database) -> None:
    """What has no name that could be taken twice, and no event: it is there once all the same."""
    async with armed(db):
        await db.run(
            lambda tx: tx.session.execute(insert(Server).values(id=new_id(), name=str(new_id()), host="h", facts={}))
        )
    assert await count(db, Server) == 1


FLOWS: list[Callable[[Database], Awaitable[None]]] = [
    asked_once, added_once, claimed_once, finished_once, put_back_once, counted_once,
]  # fmt: skip
_cutters: dict[int, tuple[CommitCutter, Cut]] = {}


@asynccontextmanager
async def armed(db: Database) -> AsyncIterator[None]:
    """Let the next COMMIT meet its fate."""
    cutter, cut = _cutters[id(db)]
    cutter.cut = cut
    before, pace = cutter.cuts, db.pace
    if cut.answered < 0:
        db.pace = Pace(seconds=2.0, retry_for=WAIT)  # here alone: a slow machine needs longer to look at what was done
    yield
    assert cutter.cuts > before, "nothing was cut: this proves nothing"
    cutter.cut, db.pace = None, pace


async def ids_of_events(db: Database) -> set[Any]:
    async with db.read() as session:
        return set(await session.scalars(select(OutboxRow.id)))


@asynccontextmanager
async def behind_a_cutter(maria: MariaServer, cut: Cut) -> AsyncIterator[Database]:
    url = await asyncio.to_thread(maria.migrated)
    cutter = CommitCutter(maria.port)
    port = await cutter.start()
    db = PatientDatabase(url.replace(f":{maria.port}/", f":{port}/"), key_ring=KeyRing([bytes(32)]))
    _cutters[id(db)] = cutter, cut
    yield db
    await db.close()
    await cutter.stop()


@pytest.mark.parametrize("flow", FLOWS)
async def test_mariadb_a_connection_cut_at_every_byte_of_commit_and_answer(maria: MariaServer, flow: Any) -> None:
    async with behind_a_cutter(maria, Cut()) as db:
        cutter, _ = _cutters[id(db)]
        for place in PLACES:
            _cutters[id(db)] = cutter, Cut(place.asked, place.answered)
            await flow(db)
            await emptied(db)


async def emptied(db: Database) -> None:
    async def empty(tx: UnitOfWork) -> None:
        for table in (OutboxRow, Job, BackupJob, Repository, StoragePool, Server):
            await tx.session.execute(delete(table))

    await db.run(empty)
    db._after_emit.clear()


@pytest.mark.parametrize("flow", FLOWS)
async def test_mariadb_an_answer_that_comes_too_late_is_no_second_effect(maria: MariaServer, flow: Any) -> None:
    async with behind_a_cutter(maria, Cut(answered=-1)) as db:
        await flow(db)


@pytest.mark.parametrize("flow", FLOWS)
async def test_mariadb_two_answers_lost_one_after_the_other(maria: MariaServer, flow: Any) -> None:
    async with behind_a_cutter(maria, Cut(asked=5, every=True)) as db:
        cutter, _ = _cutters[id(db)]
        task = asyncio.create_task(flow(db))
        async with asyncio.timeout(WAIT):
            while cutter.cuts < 2:
                await asyncio.sleep(0.01)
        cutter.cut = Cut(answered=3)
        await task


async def test_mariadb_who_never_hears_of_the_end_is_told_that_it_may_be_done(maria: MariaServer) -> None:
    async with behind_a_cutter(maria, Cut(every=True)) as db:
        cutter, cut = _cutters[id(db)]
        await count(db, Server)  # connected
        cutter.cut = cut
        with pytest.raises(Transient) as caught:
            await db.run(
                lambda tx: tx.session.execute(insert(Server).values(id=new_id(), name="s", host="h", facts={})),
                retry_for=0.01,
            )
        assert caught.value.code == "database_unsure"
        assert "look whether it is there" in caught.value.remedy


# --- on both databases, with the driver's own error ----------------------------------------------------------------


class LossyCutter(CommitCutter):
    """Stands for the proxy where there is no wire: the COMMIT is done or not, and the driver reports a lost connection."""


@pytest.fixture
def lossy(db: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    def arm(committed: bool) -> None:
        cutter = LossyCutter(0)
        _cutters[id(db)] = cutter, Cut()

        def lost() -> bool:
            if cutter.cut is None:
                return False
            cutter.cut, cutter.cuts = None, cutter.cuts + 1
            return True

        lose_commits(monkeypatch, lost, committed=committed)

    return arm


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("flow", FLOWS)
async def test_an_error_raised_at_commit_is_no_second_effect(
    db: Database, lossy: Callable[[bool], None], flow: Any, committed: bool
) -> None:
    lossy(committed)
    await flow(db)


async def test_what_only_reads_leaves_no_mark_and_the_marks_do_not_grow(db: Database) -> None:
    await db.run(lambda tx: tx.session.execute(select(Job.id)))
    await db.run(lambda tx: tx.leases.release("nobody's", "x"))
    assert await count(db, CommitMark) == 0
    for number in range(20):
        await db.run(lambda tx, n=number: tx.leases.acquire(f"l{n}", "x", 60))
    assert await count(db, CommitMark) == 1
    await db.run(lambda tx: tx.jobs.enqueue(Job(type="server_setup", title="t")))
    await db.run(lambda tx: tx.leases.acquire("l", "x", 60), retry_for=0)
    await db.run(lambda tx: tx.leases.acquire("m", "x", 60), repeatable=True)
    assert await count(db, CommitMark) == 1


async def test_a_request_waits_five_seconds_and_no_longer(db: Database) -> None:
    hasty = Database.for_requests(db, 0.3)  # as the product asks it, not as patiently as tests do
    loop = asyncio.get_running_loop()

    async def busy(_tx: Any) -> None:
        raise Transient("busy", code="database_busy", retry_after=1.0)

    async def hangs(_tx: Any) -> None:
        await asyncio.sleep(WAIT)

    for work in (busy, hangs):
        began = loop.time()
        with pytest.raises(Transient) as caught:
            await hasty.run(work)
        assert caught.value.retry_after == 1.0
        assert loop.time() - began < WAIT / 4
    began = loop.time()
    with pytest.raises(Transient):
        async with hasty.read():
            await asyncio.sleep(WAIT)
    assert loop.time() - began < WAIT / 4
    assert Database.for_requests(db).pace.retry_for == 5.0
