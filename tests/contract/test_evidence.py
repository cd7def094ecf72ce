"""What runs are held against, and what they write down, on both databases."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from services.backup.create.ledger import Ledger, evidence_of, forget
from services.backup.plan import load_reference
from services.backup.ports import BackupPlan
from services.backup.truth.evidence import ArchiveEvidence, Ended, Given, Kind, RunEvidence, Source, Trouble
from services.backup.truth.measures import keep_measures
from services.scheduler.housekeeping import Housekeeping
from shared.bus.memory import MemoryBus
from shared.config.settings import KeepSettings
from shared.db.session import Database
from shared.db.stores.hook_debts import owed_per_backup_job
from shared.db.stores.requests import request_backup
from shared.db.tables import Archive, BackupJob, Job, PastMeasure, Repository, RunEvidenceRow, Server, StoragePool
from shared.domain.ids import new_id
from shared.domain.job import JobState
from shared.domain.messages.backups import POST_HOOK_OWED
from shared.errors import LeaseLost, Permanent
from shared.runtime.context import Context

DAY = timedelta(days=1)


@pytest.fixture
async def definition(db: Database) -> BackupJob:
    async def add(tx: Any) -> BackupJob:
        server = Server(name=f"s{new_id().hex[:8]}", host="h", state="ready")
        pool = StoragePool(name=f"p{new_id().hex[:8]}", node="n", path=f"/{new_id().hex}")
        tx.session.add_all([server, pool])
        await tx.session.flush()
        repository = Repository(name="r", server_id=server.id, pool_id=pool.id, path=f"/{new_id().hex}")
        tx.session.add(repository)
        await tx.session.flush()
        made = BackupJob(name=f"j{new_id().hex[:8]}", server_id=server.id, repository_id=repository.id, sources=["/a"])
        tx.session.add(made)
        await tx.session.flush()
        return made

    return await db.run(add)


async def archive(db: Database, definition: BackupJob, age: float, files: int, **values: Any) -> uuid.UUID:
    """Put an archive of some days ago on record."""
    at = datetime.now(UTC) - age * DAY
    usual: dict[str, Any] = {
        "backup_job_id": definition.id,
        "trusted": True,
        "state": "succeeded",
        "original_size": files * 10,
    }

    async def add(tx: Any) -> uuid.UUID:
        row = Archive(repository_id=definition.repository_id, server_id=definition.server_id, files=files,
                      name=new_id().hex, borg_id=new_id().hex, started_at=at, ended_at=at,
                      created_at=at, **usual | values)  # fmt: skip
        tx.session.add(row)
        await tx.session.flush()
        return row.id

    return await db.run(add)


async def measure(db: Database, definition: BackupJob) -> int | None:
    reference = await db.run(lambda tx: load_reference(tx, definition.id))
    return reference.files if reference else None


async def test_the_measure_is_the_largest_of_thirty_days_or_of_ten_whichever_is_more(
    db: Database, definition: BackupJob
) -> None:
    assert await measure(db, definition) is None
    await archive(db, definition, 400, 1000)
    assert await measure(db, definition) == 1000  # old, but of the last ten
    for age in range(1, 11):
        await archive(db, definition, age, 100 + age)
    assert await measure(db, definition) == 110  # ten newer ones, all of the last 30 days
    await archive(db, definition, 29, 500)
    await archive(db, definition, 31, 700)
    assert await measure(db, definition) == 500  # more than ten of the last 30 days


async def test_what_is_not_good_is_no_measure_until_it_is_accepted_and_then_older_ones_are_none(
    db: Database, definition: BackupJob
) -> None:
    await archive(db, definition, 5, 100)
    doubtful = await archive(db, definition, 2, 7, trusted=False, state="warning")
    for bad in ({"state": "failed"}, {"backup_job_id": new_id()}):
        await archive(db, definition, 1, 5000, **bad)
    assert await measure(db, definition) == 100
    accept = update(Archive).where(Archive.id == doubtful).values(accepted_at=datetime.now(UTC))
    await db.run(lambda tx: tx.session.execute(accept))
    assert await measure(db, definition) == 7
    await archive(db, definition, 0.5, 9)
    assert await measure(db, definition) == 9


@pytest.mark.parametrize("became", [{"damage": "a chunk is missing"}, {"missing": True}, {"deleting": True}])
async def test_what_a_good_archive_held_is_the_measure_whatever_became_of_its_data(
    db: Database, definition: BackupJob, became: dict[str, Any]
) -> None:
    """It cannot be restored; how much it held is known as before."""
    await archive(db, definition, 2, 100, **became)
    assert await measure(db, definition) == 100
    await archive(db, definition, 1, 60)
    assert await measure(db, definition) == 100


async def test_a_job_that_was_never_good_is_held_against_its_doubtful_archives_and_excuses_nothing(
    db: Database, definition: BackupJob
) -> None:
    """Its post-hook failed each night: the night that is mended, a collapse is no first run."""
    looked = (Source(path="/a", kind=Kind.DIRECTORY, empty=True),)
    run = RunEvidence(looked=looked, given=(Given(path="/a", files=0, size=0),),
                      ended=Ended(status=1, counts={Trouble.UNREADABLE: 14}))  # fmt: skip
    evidence = ArchiveEvidence.of(run, why_none={"/a": "source_empty"}).model_dump(mode="json")
    await archive(db, definition, 2, 100, trusted=False, state="warning")
    await archive(db, definition, 1, 90, trusted=False, state="warning", evidence=evidence)
    await archive(db, definition, 1, 5000, trusted=False, state="failed")
    reference = await db.run(lambda tx: load_reference(tx, definition.id))
    assert reference is not None
    assert (reference.files, reference.trusted, reference.unreadable) == (100, False, 0)
    assert (reference.sources["/a"].files, reference.sources["/a"].why_none) == (None, None)
    await archive(db, definition, 3, 7)
    assert await measure(db, definition) == 7  # now the gate trusts one


async def test_a_clock_that_was_ahead_when_one_was_accepted_hides_no_good_archive(
    db: Database, definition: BackupJob
) -> None:
    year = {"trusted": False, "state": "warning"}
    await archive(db, definition, -365, 10, **year, accepted_at=datetime.now(UTC) - 2 * DAY)
    await archive(db, definition, 5, 700)
    await archive(db, definition, 1, 100)
    assert await measure(db, definition) == 100  # what came after it was accepted; 700 is older
    await archive(db, definition, -365, 8, **year, accepted_at=datetime.now(UTC) + 360 * DAY)
    assert await measure(db, definition) == 100  # nobody knows when that was


async def test_archives_from_the_future_push_no_real_one_out_of_the_last_ten(
    db: Database, definition: BackupJob
) -> None:
    await archive(db, definition, 100, 1000)
    for _ in range(11):
        await archive(db, definition, -30, 10)
    assert await measure(db, definition) == 1000


async def test_the_largest_of_a_month_is_the_measure_of_a_job_that_runs_each_minute(
    db: Database, definition: BackupJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.backup.truth.measures._NEWEST", 3)
    monkeypatch.setattr("services.backup.truth.measures._LARGEST", 1)
    await archive(db, definition, 20, 1000)
    await archive(db, definition, 19, 20, original_size=10**9)
    for age in range(12):
        await archive(db, definition, 1 + age / 1440, 100)
    reference = await db.run(lambda tx: load_reference(tx, definition.id))
    assert reference is not None
    assert (reference.files, reference.original_size, reference.last_size) == (1000, 10**9, 1000)


async def gone(db: Database, *ids: uuid.UUID) -> None:
    """Take archives off the record as a prune does."""

    async def forget_them(tx: Any) -> None:
        await keep_measures(tx, ids)
        await tx.session.execute(delete(Archive).where(Archive.id.in_(ids)))

    await db.run(forget_them)


async def test_a_slow_fall_is_seen_where_retention_keeps_the_last_two(db: Database, definition: BackupJob) -> None:
    """A fifth less each night, and all but two archives pruned: the first one is the measure for a month."""
    kept: list[uuid.UUID] = []
    files = [100, 80, 64, 51, 41]
    for night, count in enumerate(files):
        kept.append(await archive(db, definition, 20 - night, count))
        await gone(db, *kept[:-2])
        assert await measure(db, definition) == 100
    await gone(db, *kept)
    assert await measure(db, definition) == 100  # none is left on record


async def test_what_was_pruned_is_a_measure_no_longer_than_what_was_not(db: Database, definition: BackupJob) -> None:
    old = await archive(db, definition, 40, 1000)
    doubtful = await archive(db, definition, 3, 5000, trusted=False, state="warning")
    failed = await archive(db, definition, 3, 5000, state="failed")
    await gone(db, old, doubtful, failed)
    assert await measure(db, definition) == 1000
    await gone(db, *[await archive(db, definition, 20 - age, 10) for age in range(10)])
    assert await measure(db, definition) == 10


async def test_an_acceptance_holds_when_all_from_before_and_itself_are_pruned(
    db: Database, definition: BackupJob
) -> None:
    first = await archive(db, definition, 5, 100)
    accepted = await archive(db, definition, 2, 7, trusted=False, state="warning", accepted_at=datetime.now(UTC) - DAY)
    await gone(db, first, accepted)
    assert await measure(db, definition) == 7
    await db.run(lambda tx: tx.session.execute(delete(BackupJob).where(BackupJob.id == definition.id)))
    assert await measure(db, definition) is None


async def test_many_measures_that_say_no_more_than_newer_ones_are_dropped(
    db: Database, definition: BackupJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.backup.truth.measures._MANY", 15)
    monkeypatch.setattr("services.backup.truth.measures._AT_LEAST", 2)
    kept = RunEvidence(looked=(Source(path="/a", kind=Kind.DIRECTORY),), given=(Given(path="/a", files=77, size=1),))
    evidence = ArchiveEvidence.of(kept).model_dump(mode="json")
    await gone(db, await archive(db, definition, 29, 5, evidence=evidence), await archive(db, definition, 28, 500))
    await gone(db, *[await archive(db, definition, 1 + n / 100, 50) for n in range(20)])
    reference = await db.run(lambda tx: load_reference(tx, definition.id))
    assert reference is not None
    assert (reference.files, reference.sources["/a"].files) == (500, 77)
    async with db.read() as session:
        mine = select(PastMeasure.files).where(PastMeasure.backup_job_id == definition.id)
        assert sorted(await session.scalars(mine)) == [5, 50, 50, 500]


async def test_what_was_accepted_holds_when_the_accepted_archive_is_pruned(db: Database, definition: BackupJob) -> None:
    await archive(db, definition, 5, 100)
    accepted = await archive(db, definition, 2, 7, trusted=False, state="warning", accepted_at=datetime.now(UTC))
    reference = await db.run(lambda tx: load_reference(tx, definition.id))
    assert reference is not None
    evidence = ArchiveEvidence.of(RunEvidence(), reference.since).model_dump(mode="json")
    await archive(db, definition, 1, 8, evidence=evidence)
    await db.run(lambda tx: tx.session.execute(delete(Archive).where(Archive.id == accepted)))
    assert await measure(db, definition) == 8


async def begun(db: Database, definition: BackupJob) -> tuple[Context, BackupPlan]:
    job = await db.run(lambda tx: request_backup(tx, definition))
    due = update(Job).where(Job.id == job.id).values(sent_at=datetime.now(UTC) - DAY, waiting_for=None)
    await db.run(lambda tx: tx.session.execute(due))
    ctx = Context(db, MemoryBus(), key="k", lease_seconds=600)
    assert await ctx.claim(job.id) is not None
    plan: Any = type("Plan", (), {"job_id": job.id, "backup_job_id": definition.id, "run": 0})()
    return ctx, plan


async def test_evidence_is_written_when_known_read_by_the_next_attempt_and_fenced(
    db: Database, definition: BackupJob
) -> None:
    ctx, plan = await begun(db, definition)
    ledger = await Ledger.open(plan, ctx)
    assert (ledger.found, ledger.owed) == (None, False)
    ledger.begin("a1")
    await ledger.owe()
    await ledger.note(looked=(Source(path="/caf\\xe9", kind=Kind.DIRECTORY),))
    again = await Ledger.open(plan, ctx)
    assert again.found is not None
    assert again.owed
    assert (again.found.archives, again.found.looked) == (("a1",), ledger.evidence.looked)
    await db.run(lambda tx: forget(tx, plan.job_id))
    assert await db.run(lambda tx: evidence_of(tx, plan.job_id, 0)) is not None  # a hook is owed
    assert await db.run(lambda tx: evidence_of(tx, plan.job_id, 1)) is None
    await again.paid()
    assert not (await Ledger.open(plan, ctx)).owed
    await db.run(lambda tx: tx.session.execute(update(Job).where(Job.id == plan.job_id).values(lease="another")))
    with pytest.raises(LeaseLost):
        await ledger.note(cut=("cancelled",))
    await db.run(lambda tx: forget(tx, plan.job_id))
    async with db.read() as session:
        assert (await session.scalars(select(RunEvidenceRow).where(RunEvidenceRow.job_id == plan.job_id))).all() == []


async def test_a_debt_of_an_earlier_run_is_seen_and_paid_once(db: Database, definition: BackupJob) -> None:
    ctx, plan = await begun(db, definition)
    await (await Ledger.open(plan, ctx)).owe()
    later, other = await begun(db, definition)
    ledger = await Ledger.open(other, later)
    assert ledger.owed
    await ledger.paid()
    assert not (await Ledger.open(plan, ctx)).owed


async def owing(db: Database, definition: BackupJob) -> tuple[Context, BackupPlan]:
    """Begin a run whose pre-hook has begun."""
    ctx, plan = await begun(db, definition)
    await (await Ledger.open(plan, ctx)).owe()
    return ctx, plan


async def ended_in_the_queue(db: Database, ctx: Context, job: Job) -> None:
    """Its worker was killed, and somebody cancels it before the next attempt begins."""
    await db.run(lambda tx: tx.session.execute(update(Job).where(Job.id == job.id).values(state="queued")))
    await db.run(lambda tx: tx.jobs.request_cancel(job.id))


async def ended_by_the_reaper(db: Database, ctx: Context, job: Job) -> None:
    await db.run(lambda tx: tx.jobs.request_cancel(job.id))
    gone = update(Job).where(Job.id == job.id).values(lease_until=datetime.now(UTC) - DAY)
    await db.run(lambda tx: tx.session.execute(gone))
    assert await db.run(lambda tx: tx.jobs.recover(job))


async def ended_on_its_way_back(db: Database, ctx: Context, job: Job) -> None:
    await db.run(lambda tx: tx.jobs.request_cancel(job.id))
    await db.run(lambda tx: ctx.put_back(tx, delay=1, error=None, failed=False))


async def ended_by_its_message(db: Database, ctx: Context, job: Job) -> None:
    await db.run(lambda tx: tx.session.execute(update(Job).where(Job.id == job.id).values(state="queued")))
    await db.run(lambda tx: tx.jobs.fail_unclaimed(job.id, Permanent("makes no sense", code="x", remedy="r")))


async def ended_as_failed(db: Database, ctx: Context, job: Job) -> None:
    ctx.warn("post_hook_failed", "the post-hook ended with status 3")
    await db.run(lambda tx: ctx.finish(tx, JobState.FAILED, error=Permanent("fell", code="x", remedy="r")))


@pytest.mark.parametrize(
    "end",
    [ended_in_the_queue, ended_by_the_reaper, ended_on_its_way_back, ended_by_its_message, ended_as_failed],
)
async def test_a_run_that_ends_without_its_post_hook_says_so_whoever_ended_it(
    db: Database, definition: BackupJob, end: Any
) -> None:
    """Nobody was told; the database stayed frozen until the next run, or for ever."""
    ctx, plan = await owing(db, definition)
    assert await db.run(lambda tx: owed_per_backup_job(tx.session)) == {}  # it may still run it
    assert ctx.job is not None
    await end(db, ctx, ctx.job)
    async with db.read() as session:
        ended = await session.get_one(Job, plan.job_id)
    assert ended.state in ("cancelled", "failed")
    assert ended.warnings[-1] == POST_HOOK_OWED().text
    assert len(ended.warnings) == (2 if end is ended_as_failed else 1)
    assert await db.run(lambda tx: owed_per_backup_job(tx.session)) == {definition.id: 1}

    later, other = await begun(db, definition)  # one that does not come to it says so again
    await db.run(lambda tx: later.finish(tx, JobState.FAILED, error=Permanent("fell", code="x", remedy="r")))
    async with db.read() as session:
        assert (await session.get_one(Job, other.job_id)).warnings == [POST_HOOK_OWED().text]

    last, paying = await begun(db, definition)
    await (await Ledger.open(paying, last)).paid()
    await db.run(lambda tx: last.finish(tx, JobState.FAILED, error=Permanent("fell", code="x", remedy="r")))
    async with db.read() as session:
        assert (await session.get_one(Job, paying.job_id)).warnings == []
    assert await db.run(lambda tx: owed_per_backup_job(tx.session)) == {}


async def test_a_run_that_owes_nothing_or_succeeds_is_not_warned_of_the_debts_of_others(
    db: Database, definition: BackupJob
) -> None:
    ctx, plan = await begun(db, definition)
    other = await db.run(lambda tx: _another(tx, definition))
    elsewhere, _ = await owing(db, other)
    await db.run(lambda tx: ctx.finish(tx, JobState.FAILED, error=Permanent("fell", code="x", remedy="r")))
    await db.run(lambda tx: elsewhere.finish(tx, JobState.SUCCEEDED))
    async with db.read() as session:
        assert [job.warnings for job in await session.scalars(select(Job).where(Job.id == plan.job_id))] == [[]]


async def _another(tx: Any, definition: BackupJob) -> BackupJob:
    made = BackupJob(name=f"k{new_id().hex}", server_id=definition.server_id,
                     repository_id=definition.repository_id, sources=["/a"])  # fmt: skip
    tx.session.add(made)
    await tx.session.flush()
    return made


async def test_a_debt_outlives_the_days_for_which_jobs_are_kept_as_long_as_it_can_be_paid(
    db: Database, definition: BackupJob
) -> None:
    ctx, plan = await owing(db, definition)
    await db.run(lambda tx: ctx.finish(tx, JobState.CANCELLED))
    old = update(Job).where(Job.id == plan.job_id).values(created_at=datetime.now(UTC) - 400 * DAY)
    await db.run(lambda tx: tx.session.execute(old))

    async def kept() -> bool:
        await Housekeeping(db, KeepSettings()).tick(asyncio.Event())
        async with db.read() as session:
            return await session.get(RunEvidenceRow, plan.job_id) is not None

    assert await kept()
    await db.run(lambda tx: tx.session.execute(delete(BackupJob).where(BackupJob.id == definition.id)))
    assert not await kept()
