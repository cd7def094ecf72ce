"""What the fence reports of sessions: who is hostile fails his run and freezes the repository, however it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from services.backup.inventory.fence import HOSTILE
from shared.borg.journal import read
from shared.borg.sessions import Garbage, SessionReport
from shared.db.tables import Archive, Job, OutboxRow, Repository
from shared.domain.job import JobType
from shared.errors import Permanent, Transient
from tests.unit.services.backup.world import World

REFUSED = SessionReport(1, refused=("call of destroy", "call of destroy", "open to create"))
LEFT_OUT = SessionReport(1, left_out=("07" * 32,), left_out_bytes=5, file=Path("/nowhere"))


class Killed(BaseException):
    """The worker is gone here."""


async def repository(world: World) -> Repository:
    return (await world.rows(Repository))[0]


def hostile_during(world: World, *reports: SessionReport) -> None:
    """The server does it while its borg creates."""

    async def create(*arguments: Any) -> Any:
        world.storage.reports.extend(reports)
        return await honest(*arguments)

    honest = world.server.create
    world.server.create = create  # type: ignore[method-assign] - a stand-in for this one test


async def test_an_honest_run_is_not_judged(world: World) -> None:
    job = await world.request()
    await world.backup(job)
    assert (await world.job(job)).state == "succeeded"
    assert (await repository(world)).frozen_reason == ""
    assert "web1/system" in world.storage.shut_out_of


async def test_a_refused_call_fails_the_run_freezes_maintenance_and_is_told(world: World) -> None:
    hostile_during(world, REFUSED)
    error = await world.refused(await world.request())
    assert (error.code, "3 refused: call of destroy, open to create" in error.message) == (HOSTILE, True)
    found = await repository(world)
    assert [one["code"] for one in found.frozen_for] == [HOSTILE]
    assert "web1/system asked for" in found.frozen_reason
    assert "repository.frozen" in [row.subject for row in await world.rows(OutboxRow)]
    assert world.storage.reports == []
    with pytest.raises(Exception, match="frozen"):
        await world.maintain(JobType.REPOSITORY_COMPACT)
    assert await world.rows(Archive) == []


@pytest.mark.parametrize("ended", [Transient("gone", code="server_unreachable"), Permanent("no", code="x")])
async def test_a_refused_call_is_read_however_the_run_ended(world: World, ended: Any) -> None:
    hostile_during(world, REFUSED)
    world.server.fails = ended
    error = await world.refused(await world.request())
    assert error.code == HOSTILE
    assert (await repository(world)).frozen_reason


async def test_a_report_that_a_killed_worker_left_is_judged_by_the_next_run(world: World) -> None:
    world.storage.reports.append(REFUSED)
    error = await world.refused(await world.request())
    assert error.code == HOSTILE
    job = await world.request()
    await world.backup(job)
    assert (await world.job(job)).state == "succeeded"
    assert (await repository(world)).frozen_reason


async def test_maintenance_that_finds_such_a_report_does_not_begin(world: World) -> None:
    world.storage.reports.append(REFUSED)
    with pytest.raises(Exception, match="frozen"):
        await world.maintain(JobType.REPOSITORY_COMPACT)
    assert "compact" not in world.storage.calls
    assert world.storage.reports == []


@pytest.mark.parametrize(
    ("garbage", "said"),
    [
        (Garbage(lying=("07" * 32,)), "holds other content under the ids of 1 object"),
        (Garbage(sent=("07" * 32,)), "sent other content under the ids of 1 object"),
    ],
)
async def test_garbage_under_the_id_of_an_object_is_hostile(world: World, garbage: Garbage, said: str) -> None:
    hostile_during(world, LEFT_OUT)
    world.storage.found_garbage = garbage
    error = await world.refused(await world.request())
    assert (error.code, said in error.message) == (HOSTILE, True)
    assert (await repository(world)).frozen_reason


async def test_what_an_honest_client_sends_twice_is_no_offence(world: World) -> None:
    hostile_during(world, LEFT_OUT, SessionReport(1, left_out=("08" * 32,), unkept=1))
    job = await world.request()
    await world.backup(job)
    assert (await world.job(job)).state == "succeeded"
    assert (await repository(world)).frozen_reason == ""
    assert world.storage.reports == []


async def test_a_report_that_cannot_be_examined_fails_the_run_and_stays(world: World) -> None:
    hostile_during(world, LEFT_OUT)
    world.storage.found_garbage = Permanent("unreadable", code="session_unexamined")
    error = await world.refused(await world.request())
    assert error.code == "session_unexamined"
    assert world.storage.reports == [LEFT_OUT]
    await world.maintain(JobType.REPOSITORY_CHECK)  # what may mend it is not kept from running
    assert world.storage.reports == [LEFT_OUT]


async def test_a_refused_call_is_told_even_where_what_was_left_out_cannot_be_examined(world: World) -> None:
    """A manifest that is garbage keeps the objects from being looked at: that must not hide the attack."""
    world.storage.found_garbage = Permanent("no manifest", code="session_unexamined")
    both = SessionReport(
        1, refused=("call of destroy",), left_out=("07" * 32,), left_out_bytes=5, file=Path("/nowhere")
    )
    hostile_during(world, both)
    assert (await world.refused(await world.request())).code == HOSTILE
    assert [one["code"] for one in (await repository(world)).frozen_for] == [HOSTILE]


async def test_what_a_hostile_run_made_is_remembered_as_doubtful_and_a_restored_database_believes_it(
    world: World, tmp_path: Path
) -> None:
    """The node noted the archive as good before its session was judged, and the run fails without a row of it."""
    world.storage.journal = tmp_path / "journal"
    await world.backup(await world.request())
    hostile_during(world, REFUSED)
    job = await world.request()
    assert (await world.refused(job)).code == HOSTILE
    made = {one.job_id: one for _, one in read(tmp_path / "journal").archives()}
    assert sorted((one.trusted, one.state) for one in made.values()) == [(False, "warning"), (True, "succeeded")]
    # The database is put back to before both runs.
    world.server.create = type(world.server).create.__get__(world.server)  # type: ignore[method-assign] - honest again
    older = {"journal_number": 0, "frozen_reason": "", "frozen_for": []}
    await world.db.run(lambda tx: tx.session.execute(update(Repository).values(**older)))
    await world.db.run(lambda tx: tx.session.execute(delete(Archive)))
    await world.backup(await world.request())
    row = next(row for row in await world.rows(Archive) if row.job_id == job.id)
    assert (row.trusted, [reason["code"] for reason in row.reasons]) == (False, [HOSTILE])
    assert "the server is taken for hostile" in row.reasons[0]["text"]


async def test_a_journal_that_cannot_be_written_hides_no_attack(world: World) -> None:
    world.storage.forgets = Permanent("no space", code="node_disk_full")
    hostile_during(world, REFUSED)
    assert (await world.refused(await world.request())).code == HOSTILE


@pytest.mark.parametrize("between", [JobType.REPOSITORY_CHECK, JobType.REPOSITORY_VERIFY, "itself", None])
async def test_the_archive_of_a_killed_hostile_session_is_not_green_whoever_judged_the_session(
    world: World, between: JobType | str | None
) -> None:
    """The worker died after borg, and another job read the report; or it was told to stop, and read it itself."""

    async def dies() -> None:
        world.storage.on_list = None
        raise Killed

    world.storage.on_list = dies
    job = await world.request()
    if between == "itself":
        hostile_during(world, REFUSED)
        assert (await world.refused(job)).code == HOSTILE  # a shutdown hands the job over all the same
    else:
        with pytest.raises(Killed):
            await world.backup(job)
        world.storage.reports.append(REFUSED)
    free = update(Job).values(state="queued", lease=None, lease_until=None, not_before=None)
    await world.db.run(lambda tx: tx.session.execute(free))
    if isinstance(between, JobType):
        await world.maintain(between)
    if between in (JobType.REPOSITORY_CHECK, "itself"):
        assert world.storage.reports == []
        await world.backup(job)
        (row,) = await world.rows(Archive)
        ended = await world.job(job)
        assert (ended.state, row.trusted, [one["code"] for one in row.reasons]) == ("warning", False, [HOSTILE])
    else:  # who takes no lease judges no session
        assert (await world.refused(job)).code == HOSTILE
    assert world.server.created == 1
