"""What rows keep of a message is read in today's words; what an older or a newer version wrote keeps its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, update

from services.api.features.schedules.schemas import MissedRunOut
from services.api.features.servers.schemas import ServerOut
from services.api.features.system.schemas import DeadLetterOut
from services.api.kernel.job import JobOut
from services.setup.plan import record_failure
from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.stores.missed import record_missed
from shared.db.tables import DeadLetter, Job, MissedRun, OutboxRow, Server
from shared.db.unit_of_work import UnitOfWork
from shared.domain.ids import new_id
from shared.domain.job import JobState, JobType
from shared.domain.message import plain
from shared.domain.messages.backups import POST_HOOK_OWED
from shared.domain.messages.jobs import GIVEN_UP_AFTER, UNDECODABLE
from shared.domain.messages.schedules import OVERLAP
from shared.domain.messages.servers import GROUP_CONTRADICTS, HOST_KEY_UNKNOWN_SHOWN, INSTALL_FAILED
from shared.domain.scheduled import Scheduled
from shared.errors import Permanent
from shared.runtime.context import Context

HOSTILE = "\x1b[2J\u202e\udc00\n[ERROR] gone {x} \x00" + "y" * 5000
FELL = GIVEN_UP_AFTER(reason=INSTALL_FAILED(manager="apt-get", server="web1", said=HOSTILE), failures=3)


async def failed(db: Database, error: Permanent, warnings: Any = ()) -> Job:
    job = Job(type=JobType.SERVER_SETUP.value, title="web1")
    await db.run(lambda tx: tx.jobs.enqueue(job))
    ctx = Context(db, MemoryBus(), key="k", lease_seconds=60)
    await ctx.claim(job.id)

    async def finish(tx: UnitOfWork) -> None:
        ctx.warn("owed", POST_HOOK_OWED())
        await ctx.finish(tx, JobState.FAILED, error=error, warnings=warnings)

    await db.run(finish)
    return await row(db, job)


async def row(db: Database, job: Job) -> Job:
    async with db.read() as session:
        return await session.get_one(Job, job.id)


async def test_a_failed_job_keeps_entry_and_parameters_and_its_sentence_is_made_when_it_is_read(db: Database) -> None:
    job = await failed(db, Permanent(FELL))
    assert job.message is not None
    assert job.message["key"] == "part.given_up_after"
    assert job.message["params"]["failures"] == 3
    assert job.message["params"]["reason"]["params"]["server"] == "web1"
    assert job.code == "install_failed"
    await db.run(lambda tx: tx.session.execute(update(Job).values(reason="words of an earlier version", remedy="x")))
    shown = JobOut.model_validate(await row(db, job))
    assert shown.reason is not None
    assert shown.reason.startswith("apt-get could not install borg on web1: ")
    assert shown.reason.endswith("(after 3 attempts)")
    assert not {"\x1b", "\u202e", "\x00", "\n"} & set(shown.reason)
    assert shown.remedy == FELL.remedy
    assert shown.message is not None
    assert shown.message.code == "install_failed"
    json.dumps(shown.model_dump(mode="json"))


async def test_the_world_hears_the_same_message(db: Database) -> None:
    job = await failed(db, Permanent(FELL))
    async with db.read() as session:
        query = (
            select(OutboxRow.payload).where(OutboxRow.subject == "job.changed").order_by(OutboxRow.created_at.desc())
        )
        told = [json.loads(payload) for payload in await session.scalars(query)]
    assert told[0]["message"] == job.message


@pytest.mark.parametrize(
    "kept",
    [None, {"code": "install_failed", "key": "of_a_newer_version", "params": {}}, {"key": "part.given_up_after"}],
)
async def test_a_row_of_another_version_keeps_its_words(db: Database, kept: Any) -> None:
    job = await failed(db, Permanent(FELL))
    values = {"reason": "its own words", "remedy": "its own remedy", "message": kept}
    await db.run(lambda tx: tx.session.execute(update(Job).values(**values)))
    shown = JobOut.model_validate(await row(db, job))
    assert (shown.reason, shown.remedy, shown.message) == ("its own words", "its own remedy", None)


async def test_warnings_are_entries_beside_those_that_are_sentences(db: Database) -> None:
    twice = OVERLAP()
    job = await failed(db, Permanent(FELL), ["of a room that has its own words", twice, twice])
    assert job.warnings == ["of a room that has its own words", OVERLAP().text, POST_HOOK_OWED().text]
    await db.run(lambda tx: tx.session.execute(update(Job).values(warnings=["a", "b", "c"])))
    shown = JobOut.model_validate(await row(db, job))
    assert shown.warnings == ["a", OVERLAP().text, POST_HOOK_OWED().text]
    assert shown.warning_messages is not None
    assert [one and one.code for one in shown.warning_messages] == [None, "overlap", "post_hook_owed"]


async def test_a_sentence_without_an_entry_is_not_kept_as_one(db: Database) -> None:
    job = await failed(db, Permanent(plain("something else", code="x", remedy="y")))
    assert (job.message, job.reason, job.code) == (None, "something else", "x")


async def test_a_retried_job_forgets_why_it_failed(db: Database) -> None:
    job = await failed(db, Permanent(FELL))
    assert await db.run(lambda tx: tx.jobs.retry(job))
    again = await row(db, job)
    assert (again.message, again.reason, again.code) == (None, None, None)


async def test_a_cancelled_job_says_so_in_todays_words(db: Database) -> None:
    job = Job(type=JobType.SERVER_SETUP.value, title="web1")
    await db.run(lambda tx: tx.jobs.enqueue(job))
    ctx = Context(db, MemoryBus(), key="k", lease_seconds=60)
    await ctx.claim(job.id)
    await db.run(lambda tx: tx.jobs.request_cancel(job.id))
    await db.run(lambda tx: ctx.put_back(tx, delay=0, error=None, failed=False))
    shown = JobOut.model_validate(await row(db, job))
    assert (shown.state, shown.code, shown.message and shown.message.key) == ("cancelled", "cancelled", "cancelled")


async def test_missed_runs_letters_and_servers_keep_theirs(db: Database) -> None:
    job = Job(type=JobType.STATS_COLLECT.value, title="web1")
    now = datetime.now(UTC)
    missed = Scheduled(schedule_id=new_id(), due_at=now)
    server = Server(name="web1", host="192.0.2.1")

    async def keep(tx: UnitOfWork) -> None:
        record_missed(tx, job, missed, code="overlap", said=OVERLAP())
        tx.session.add(server)
        await tx.session.flush()
        await record_failure(
            tx,
            Job(id=new_id(), correlation_id=new_id(), type="server_setup", server_id=server.id),
            Permanent(HOST_KEY_UNKNOWN_SHOWN(server="web1", shown="SHA256:x", approved=None)),
        )
        said = UNDECODABLE(event="backup.requested.v1", wrong=HOSTILE)
        tx.session.add(
            DeadLetter(message_key="k", subject="s", code=said.code, reason="r", message=said.to_json(), deliveries=1)
        )

    await db.run(keep)
    await db.run(lambda tx: tx.session.execute(update(MissedRun).values(reason="old")))
    async with db.read() as session:
        run = MissedRunOut.model_validate((await session.scalars(select(MissedRun))).one())
        letter = DeadLetterOut.model_validate((await session.scalars(select(DeadLetter))).one())
        shown = ServerOut.model_validate((await session.scalars(select(Server))).one())
    assert run.reason == OVERLAP().text
    assert letter.reason.startswith("not a valid backup.requested.v1: ")
    assert letter.remedy == "see docs/events.md for the fields of this event"
    assert shown.state_message is not None
    assert shown.state_reason == shown.state_message.text == "web1 shows the host key SHA256:x; nothing was sent to it"


async def test_parameters_are_bounded_where_they_are_kept(db: Database) -> None:
    job = await failed(db, Permanent(GROUP_CONTRADICTS(tag="x" * 10_000_000)))
    assert job.message is not None
    assert len(json.dumps(job.message)) < 3000
