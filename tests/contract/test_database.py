from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from alembic import command
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select, text, update

from shared.db.migrations import alembic_config
from shared.db.session import Database
from shared.db.tables import Job, JobLog, Lease, OutboxRow, Secret, Server, db_now
from shared.domain.ids import new_id
from shared.domain.job import JobState, JobType
from shared.domain.message import plain
from shared.domain.names import Login
from shared.domain.scheduled import Scheduled
from shared.errors import AppError, Conflict, LeaseLost, NotFound, Permanent, Transient
from tests.harness.patience import WAIT

pytestmark = pytest.mark.measured  # on both: some code is for one of them


async def queued(db: Database, **values: Any) -> Job:
    job = Job(type=JobType.BACKUP_CREATE.value, node="node1", title="t", **values)
    await db.run(lambda tx: tx.jobs.enqueue(job))
    return job


async def state(db: Database, job: Job) -> Job:
    async with db.read() as session:
        return await session.get_one(Job, job.id)


async def claim(db: Database, job: Job, lease: str = "a", seconds: float = 30) -> Job | None:
    return await db.run(lambda tx: tx.jobs.claim(job.id, lease=lease, seconds=seconds))


async def set_back(db: Database, column: Any, seconds: float = 1.0) -> None:
    """Let a time lie so far in the past for all rows: a test waits for no clock."""
    await db.run(lambda tx: tx.session.execute(update(column.class_).values({column.key: db_now(-seconds)})))


async def test_the_migrations_make_exactly_the_models(db: Database) -> None:
    url = db.engine.url.render_as_string(hide_password=False)
    await asyncio.to_thread(command.check, alembic_config(url))


async def test_the_migrations_can_be_taken_back(db: Database) -> None:
    url = db.engine.url.render_as_string(hide_password=False)
    await asyncio.to_thread(command.downgrade, alembic_config(url), "base")
    await asyncio.to_thread(command.upgrade, alembic_config(url), "head")


async def test_a_server_keeps_a_login_as_long_as_directories_have_them(db: Database) -> None:
    login = TypeAdapter(Login).validate_python("EXAMPLE\\" + "n" * 248)
    server = Server(name="long", host="h", port=22, username=login, facts={})

    async def add(tx: Any) -> None:
        tx.session.add(server)

    await db.run(add)
    async with db.read() as session:
        assert (await session.get_one(Server, server.id)).username == login
    with pytest.raises(ValidationError):
        TypeAdapter(Login).validate_python("n" * 257)


async def test_a_job_and_its_message_commit_together_or_not_at_all(db: Database) -> None:
    job = await queued(db)

    async def fails(tx: Any) -> None:
        await tx.jobs.enqueue(Job(type="backup_create", title="never"))
        raise Permanent("no")

    with pytest.raises(Permanent):
        await db.run(fails)
    async with db.read() as session:
        subjects = (await session.scalars(select(OutboxRow.subject).order_by(OutboxRow.subject))).all()
        assert subjects == ["backup.requested.node1", "job.changed"]
        assert (await session.scalars(select(Job.id))).all() == [job.id]


async def test_of_many_claims_at_once_one_wins(db: Database) -> None:
    jobs = [await queued(db) for _ in range(5)]
    for job in jobs:
        won = await asyncio.gather(*(claim(db, job, f"lease{n}") for n in range(8)))
        assert sum(w is not None for w in won) == 1
    assert (await state(db, jobs[0])).attempt == 1


async def test_an_expired_lease_can_be_taken_over_and_fences_the_old_holder(db: Database) -> None:
    job = await queued(db)
    old = await claim(db, job, "old")
    assert old is not None
    assert await claim(db, job, "new") is None
    await set_back(db, Job.lease_until)
    assert (await claim(db, job, "new")) is not None
    for write in (
        lambda tx: tx.jobs.beat(job.id, lease="old", seconds=30, progress=None),
        lambda tx: tx.jobs.finish(old, lease="old", state=JobState.SUCCEEDED),
        lambda tx: tx.jobs.put_back(old, lease="old", delay=0),
    ):
        with pytest.raises(LeaseLost):
            await db.run(write)
    assert (await state(db, job)).attempt == 2


async def test_a_finish_whose_answer_was_lost_is_recognised_when_tried_again(db: Database) -> None:
    job = await queued(db)
    held = await claim(db, job)
    assert held is not None
    assert (
        await db.run(
            lambda tx: tx.jobs.finish(held, lease="a", state=JobState.WARNING, warnings=[plain("w", code="w")])
        )
        is True
    )
    assert await db.run(lambda tx: tx.jobs.finish(held, lease="a", state=JobState.WARNING)) is False
    ended = await state(db, job)
    assert (ended.state, ended.warnings) == ("warning", ["w"])
    assert ended.finished_at is not None


async def test_a_job_put_back_waits_its_delay_and_waiting_is_no_attempt(db: Database) -> None:
    job = await queued(db)
    held = await claim(db, job)
    assert held is not None
    await db.run(lambda tx: tx.jobs.put_back(held, lease="a", delay=60, waiting_for="web1/system"))
    shown = await state(db, job)
    assert (shown.state, shown.waiting_for, shown.attempt, shown.failures) == ("queued", "web1/system", 0, 0)
    assert await claim(db, job) is None
    remaining = await db.run(lambda tx: tx.jobs.seconds_until_due(job.id))
    assert remaining is not None
    assert 0 < remaining <= 60
    await set_back(db, Job.not_before)
    again = await claim(db, job, "b")
    assert again is not None
    error = AppError("why", code="because", remedy="do")
    await db.run(lambda tx: tx.jobs.put_back(again, lease="b", delay=0, error=error, failed=True))
    failed = await state(db, job)
    assert (failed.attempt, failed.failures, failed.code, failed.reason, failed.remedy) == (
        1,
        1,
        "because",
        "why",
        "do",
    )


async def test_cancel_queued_running_and_ended(db: Database) -> None:
    hours = Scheduled(schedule_id=new_id(), due_at=datetime.now(UTC)).params()
    first, second = await queued(db), await queued(db, params={"max_failures": 2} | hours)
    assert await db.run(lambda tx: tx.jobs.request_cancel(first.id)) is JobState.CANCELLED
    assert await claim(db, first) is None
    held = await claim(db, second)
    assert held is not None
    assert await db.run(lambda tx: tx.jobs.request_cancel(second.id)) is JobState.RUNNING
    assert await db.run(lambda tx: tx.jobs.cancel_requested(second.id))
    await db.run(lambda tx: tx.jobs.finish(held, lease="a", state=JobState.CANCELLED))
    assert await db.run(lambda tx: tx.jobs.request_cancel(second.id)) is None
    assert await db.run(lambda tx: tx.jobs.retry(held)) is True
    assert await db.run(lambda tx: tx.jobs.retry(held)) is False
    again = await state(db, second)
    assert (again.state, again.params) == ("queued", {"max_failures": 2}), "asked for by hand it keeps no hours"


async def test_orphans_are_recovered_once_and_a_cancelled_orphan_ends(db: Database) -> None:
    lost, unwanted = await queued(db), await queued(db)
    for job in (lost, unwanted):
        await claim(db, job, "dead")
    await db.run(lambda tx: tx.jobs.request_cancel(unwanted.id))
    await set_back(db, Job.lease_until)
    orphans = await db.run(lambda tx: tx.jobs.orphans())
    assert {job.id for job in orphans} == {lost.id, unwanted.id}
    recovered = await asyncio.gather(*(db.run(lambda tx, o=o: tx.jobs.recover(o)) for o in (*orphans, *orphans)))
    assert sum(recovered) == 2
    assert (await state(db, lost)).state == "queued"
    assert (await state(db, unwanted)).state == "cancelled"


async def test_queued_jobs_are_counted_by_subject_and_only_silent_ones_sent_anew(db: Database) -> None:
    await queued(db)
    await queued(db)
    setup = Job(type=JobType.SERVER_SETUP.value, title="s")
    await db.run(lambda tx: tx.jobs.enqueue(setup))
    counted = await db.run(lambda tx: tx.jobs.queued_per_subject())
    assert counted == {"backup.requested.node1": 2, "server.setup": 1}
    assert await db.run(lambda tx: tx.jobs.resend_silent("backup.requested.node1", older_than=3600)) == 0
    await set_back(db, Job.sent_at, 3601)
    assert await db.run(lambda tx: tx.jobs.resend_silent("backup.requested.node1", older_than=3600)) == 2


async def test_a_job_that_was_claimed_since_it_was_looked_at_is_not_sent_anew(db: Database) -> None:
    job = await queued(db)
    await db.run(lambda tx: tx.jobs.claim(job.id, lease="a", seconds=30))
    depth = await db.run(lambda tx: tx.outbox.depth())
    assert await db.run(lambda tx: tx.jobs._resend(job.id)) is False
    assert await db.run(lambda tx: tx.outbox.depth()) == depth


async def test_the_log_keeps_order_and_a_line_stored_twice_is_there_once(db: Database) -> None:
    job = await queued(db)
    held = await claim(db, job)
    assert held is not None
    now = datetime.now(UTC)
    lines = [(now, "info", "borg", "", f"é {n}") for n in range(3)]
    for _ in range(2):
        await db.run(lambda tx: tx.jobs.log(held, 1, lines))
    await db.run(lambda tx: tx.jobs.log(held, 4, []))
    async with db.read() as session:
        stored = (await session.scalars(select(JobLog.message).order_by(JobLog.seq))).all()
    assert stored == ["é 0", "é 1", "é 2"]


async def test_the_outbox_gives_the_oldest_marks_and_purges(db: Database) -> None:
    for _ in range(3):
        await queued(db)
    rows = await db.run(lambda tx: tx.outbox.unsent(4))
    assert len(rows) == 4
    await db.run(lambda tx: tx.outbox.mark_sent([row.id for row in rows]))
    assert await db.run(lambda tx: tx.outbox.depth()) == 2
    assert await db.run(lambda tx: tx.outbox.purge(older_than=3600)) == 0
    await db.run(
        lambda tx: tx.session.execute(
            update(OutboxRow).where(OutboxRow.sent_at.is_not(None)).values(sent_at=db_now(-3601))
        )
    )
    assert await db.run(lambda tx: tx.outbox.purge(older_than=3600)) == 4


async def test_a_lease_has_one_holder_and_its_epoch_only_rises(db: Database) -> None:
    async def acquire(holder: str, seconds: float = 30.0) -> int | None:
        return await db.run(lambda tx: tx.leases.acquire("repository:x", holder, seconds))

    won = await asyncio.gather(*(acquire(f"h{n}") for n in range(6)))
    assert sorted(w for w in won if w is not None) == [1]
    await set_back(db, Lease.until)
    assert await acquire("b") == 2
    assert await acquire("c") is None
    with pytest.raises(LeaseLost):
        await db.run(lambda tx: tx.leases.renew("repository:x", "a", 30))
    await db.run(lambda tx: tx.leases.renew("repository:x", "b", 30))
    assert await db.run(lambda tx: tx.leases.holder("repository:x")) == "b"
    await db.run(lambda tx: tx.leases.release("repository:x", "c"))
    assert await acquire("c") is None
    await db.run(lambda tx: tx.leases.release("repository:x", "b"))
    assert await acquire("c") == 3


async def test_secrets_are_sealed_bound_to_their_row_and_made_once(db: Database) -> None:
    await db.run(lambda tx: tx.secrets.put("a", "canary-value"))
    await db.run(lambda tx: tx.secrets.put("a", "canary-second"))
    assert await db.run(lambda tx: tx.secrets.get("a")) == "canary-second"
    made = await asyncio.gather(
        *(db.run(lambda tx, n=n: tx.secrets.ensure("b", lambda: f"value{n}")) for n in range(5))
    )
    assert len(set(made)) == 1

    async def copy(tx: Any) -> None:
        row = await tx.session.get_one(Secret, "a")
        tx.session.add(Secret(name="c", key_id=row.key_id, wrapped_key=row.wrapped_key, sealed=row.sealed))

    await db.run(copy)
    with pytest.raises(Permanent, match="copied"):
        await db.run(lambda tx: tx.secrets.get("c"))
    await db.run(lambda tx: tx.secrets.delete("a"))
    with pytest.raises(NotFound):
        await db.run(lambda tx: tx.secrets.get("a"))


async def test_times_are_utc_with_microseconds_and_naive_ones_are_refused(db: Database) -> None:
    paris = timezone(timedelta(hours=2))
    at = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=paris)
    job = await queued(db, started_at=at)
    assert (await state(db, job)).started_at == at
    before = datetime.now(UTC)
    async with db.read() as session:
        now = (await session.execute(select(db_now(60)))).scalar_one()
    little = timedelta(seconds=5)
    assert before - little < now - timedelta(seconds=60) < datetime.now(UTC) + little
    with pytest.raises(Permanent):
        await queued(db, started_at=datetime(2026, 1, 1))  # noqa: DTZ001 - the fault itself


async def test_names_are_compared_byte_for_byte_and_a_second_one_is_a_conflict(db: Database) -> None:
    async def add(name: str) -> None:
        async with db.transaction() as tx:
            tx.session.add(Server(name=name, host="h", facts={}))

    await add("web")
    await add("Web")
    with pytest.raises(Conflict):
        await add("web")


async def test_a_transaction_is_tried_again_as_a_whole_until_its_time_is_over(db: Database) -> None:
    tries = 0

    async def busy(_tx: Any) -> int:
        nonlocal tries
        tries += 1
        raise Transient("busy", code="database_busy")

    async def busy_twice(tx: Any) -> int:
        return await busy(tx) if tries < 2 else tries

    assert await db.run(busy_twice, retry_for=WAIT) == 2
    with pytest.raises(Transient):
        await db.run(busy, retry_for=0.4)

    async def other(_tx: Any) -> None:
        raise Transient("x", code="bus_timeout")

    with pytest.raises(Transient):
        await db.run(other)


async def test_a_unit_of_work_that_hangs_is_bounded(db: Database) -> None:
    bounded = Database(db.engine.url.render_as_string(hide_password=False), key_ring=db._key_ring, seconds=0.3)
    try:
        with pytest.raises(Transient) as caught:
            async with bounded.transaction() as tx:
                await tx.session.execute(text("SELECT 1"))
                await asyncio.sleep(WAIT)
        assert caught.value.code == "database_silent"
    finally:
        await bounded.close()


async def test_a_run_cancelled_at_any_moment_leaves_nothing_locked(db: Database) -> None:
    job = await queued(db)
    for step in range(40):
        taken = asyncio.create_task(claim(db, job, "cancelled", 0.001))
        await asyncio.sleep(step * 0.0005)
        taken.cancel()
        await asyncio.wait({taken})
        async with asyncio.timeout(WAIT):
            await db.run(lambda tx: tx.jobs.cancel_requested(job.id))
    assert await claim(db, job, "next") is not None
