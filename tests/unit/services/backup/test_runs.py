"""The life of a run that does not go as planned, on fakes: nothing borg made is forgotten, nothing owed stays unpaid."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from sqlalchemy import delete, update

from services.backup.create.ledger import Ledger
from services.backup.create.reporter import LINES
from services.backup.create.shielded import to_its_end
from services.backup.handlers import make_backup
from shared.borg.output import LogLine
from shared.borg.sessions import SessionReport
from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.tables import Archive, Job, JobLog, Repository, RunEvidenceRow
from shared.domain.ids import new_id
from shared.errors import LeaseLost, Permanent, Transient
from shared.events.backup import BackupRequested
from shared.runtime.context import Abort, Context
from shared.runtime.disposition import decide, dispose
from tests.unit.services.backup.fakes import figures
from tests.unit.services.backup.world import World


@pytest.fixture
async def hooked(db: Database, bus: MemoryBus) -> World:
    return await World(db, bus).build(pre_hook="pre", post_hook="post", hook_seconds=5)


class Killed(BaseException):
    """The worker is gone here."""


async def begun(world: World, job: Job) -> tuple[Context, asyncio.Task[None]]:
    ctx = Context(world.db, world.bus, key="k", lease_seconds=30)
    run = make_backup(BackupRequested(job_id=job.id), ctx, storage=world.storage, servers=world.server)
    return ctx, asyncio.create_task(run)


async def ended_with(world: World, job: Job) -> BaseException | None:
    """Run an attempt to its end, as a worker that may die would; then let another take the job."""
    ctx, task = await begun(world, job)
    await asyncio.wait({task})
    await world.db.run(ctx.release)
    free = update(Job).values(state="queued", lease=None, lease_until=None, not_before=None)
    await world.db.run(lambda tx: tx.session.execute(free.where(Job.id == job.id, Job.state == "running")))
    return task.exception() if not task.cancelled() else asyncio.CancelledError()


def stop(world: World, reason: Abort) -> Any:
    """Return what cancels the run as the worker would, from within."""

    async def cancel() -> None:
        ctx, task = world.current  # type: ignore[attr-defined] - kept there by the test
        ctx.abort = reason
        task.cancel()
        await asyncio.sleep(0)

    return cancel


async def run_and(world: World, job: Job) -> BaseException | None:
    ctx, task = await begun(world, job)
    world.current = (ctx, task)  # type: ignore[attr-defined] - kept there by the test
    await asyncio.wait({task})
    await world.db.run(ctx.release)
    return asyncio.CancelledError() if task.cancelled() else task.exception()


class Message:
    """One that is done with, one way or another."""

    async def ack(self) -> None: ...

    async def nak(self, delay: float = 0.0) -> None: ...


async def disposed(world: World, job: Job) -> None:
    """Run an attempt to its end, and do with its job what the kernel does."""
    ctx, task = await begun(world, job)
    world.current = (ctx, task)  # type: ignore[attr-defined] - kept there by the test
    await asyncio.wait({task})
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    await dispose(decide(error, ctx, max_failures=3), cast("Any", Message()), ctx, world.bus)


async def due(world: World, job: Job) -> None:
    """Let a job that was put back be claimed at once."""
    now = update(Job).where(Job.id == job.id, Job.state == "queued").values(not_before=None, sent_at=Job.created_at)
    await world.db.run(lambda tx: tx.session.execute(now))


async def only(world: World) -> Archive:
    (archive,) = await world.rows(Archive)
    return archive


def codes(archive: Archive) -> list[str]:
    return [reason["code"] for reason in archive.reasons]


async def owed(world: World) -> list[bool]:
    return [row.hook_owed for row in await world.rows(RunEvidenceRow)]


# -- evidence outlives the attempt ----------------------------------------------------------------------------


async def test_a_second_attempt_judges_by_what_the_first_one_saw(hooked: World) -> None:
    """A3: a missing source, a warning and a failing post-hook; the worker dies before it can record them."""
    hooked.server.output = [LogLine("warning", "/etc/x: open: [Errno 13] Permission denied: 'x'")]
    hooked.server.statuses = {"post": 4}
    hooked.server.status = 1
    hooked.server.looks = [{"empty": True}]
    hooked.storage.on_list = _dies
    job = await hooked.request()
    assert isinstance(await ended_with(hooked, job), Killed)
    hooked.storage.on_list = None
    hooked.server.output, hooked.server.statuses, hooked.server.status = [], {}, 0
    assert await ended_with(hooked, job) is None
    archive = await only(hooked)
    assert (archive.state, archive.trusted, hooked.server.created) == ("warning", False, 1)
    assert codes(archive) == ["unreadable", "post_hook_failed"]
    assert hooked.server.hooks == ["pre", "post"]
    assert await hooked.rows(RunEvidenceRow) == []
    assert (await hooked.job(job)).warnings[1] == "the post-hook ended with status 4"


async def _dies() -> None:
    raise Killed


async def test_a_second_attempt_may_be_green_when_all_was_written_down(world: World) -> None:
    world.storage.on_list = _dies
    job = await world.request()
    assert isinstance(await ended_with(world, job), Killed)
    world.storage.on_list = None
    assert await ended_with(world, job) is None
    assert ((await only(world)).state, (await only(world)).reasons) == ("succeeded", [])


async def test_an_archive_whose_report_was_lost_is_a_doubt_its_sources_are_looked_at_and_its_post_hook_runs(
    hooked: World,
) -> None:
    hooked.server.on_borg = _dies
    hooked.server.looks = [{}, {"empty": True, "kind": "directory"}]
    job = await hooked.request()
    assert isinstance(await ended_with(hooked, job), Killed)
    assert hooked.server.hooks == ["pre", "post"]  # this worker lived long enough for it
    await hooked.db.run(lambda tx: tx.session.execute(update(RunEvidenceRow).values(data={"version": 99})))
    hooked.server.on_borg = None
    assert await ended_with(hooked, job) is None
    archive = await only(hooked)
    assert (archive.state, "report_lost" in codes(archive)) == ("warning", True)
    assert hooked.server.hooks == ["pre", "post", "post"]
    assert hooked.server.looks == []


async def test_what_an_unreachable_server_left_undone_is_said_and_the_archive_is_on_record(hooked: World) -> None:
    job = await hooked.request()
    await hooked.db.run(lambda tx: tx.session.execute(update(Job).values(attempt=1)))
    name = f"web1-system-2026-01-01T000000Z-{job.id.hex}"
    hooked.storage.kept[name] = figures(name)
    hooked.server.unreachable = Transient("gone", code="server_unreachable")
    assert await ended_with(hooked, job) is None
    archive = await only(hooked)
    assert {"report_lost", "not_looked", "post_hook_unknown"} <= set(codes(archive))


async def test_a_garbled_answer_loses_no_archive_and_is_a_doubt(world: World) -> None:
    world.server.garbled = True
    job = await world.request()
    await world.backup(job)
    assert (codes(await only(world)), (await world.job(job)).state) == (["report_lost"], "warning")


async def test_what_each_source_gave_is_kept_and_one_that_could_not_be_counted_is_a_doubt(
    db: Database, bus: MemoryBus
) -> None:
    world = await World(db, bus).build(sources=["/etc", "/srv"])
    await world.backup(await world.request())
    world.storage.gave = {"/srv": 0}
    await world.backup(await world.request())
    world.storage.gave = Transient("slow", code="x")
    await world.backup(await world.request())
    archives = sorted(await world.rows(Archive), key=lambda archive: archive.created_at)
    assert [codes(archive) for archive in archives] == [[], ["source_without_files"], ["not_counted", "not_counted"]]
    assert "last time it held 2 files" in archives[1].reasons[0]["text"]


async def test_a_lost_lease_while_counting_or_looking_writes_nothing(hooked: World) -> None:
    hooked.storage.gave = LeaseLost("passed")  # type: ignore[assignment] - an error in the place of a verdict
    await hooked.db.run(lambda tx: tx.session.execute(update(type(hooked.definition)).values(sources=["/a", "/b"])))
    assert isinstance(await ended_with(hooked, await hooked.request()), LeaseLost)
    assert await hooked.rows(Archive) == []


@pytest.mark.parametrize("at", ["hook", "probe_sources", "figures", "archive"])
@pytest.mark.parametrize("reason", [Abort.CANCELLED, Abort.SHUTDOWN])
async def test_a_second_attempt_that_is_stopped_while_it_takes_over_an_archive_leaves_it_on_record(
    hooked: World, monkeypatch: pytest.MonkeyPatch, at: str, reason: Abort
) -> None:
    """The job was cancelled, and the archive on nobody's list; whoever shuts down leaves it to the next attempt."""
    hooked.server.on_borg = _dies
    hooked.server.on_hook = {"post": _dies}
    job = await hooked.request()
    assert isinstance(await ended_with(hooked, job), Killed)
    hooked.server.on_borg, hooked.server.on_hook, hooked.server.hooks = None, {}, []
    stopping = stop(hooked, reason)
    if at == "hook":
        hooked.server.on_hook = {"post": stopping}
    else:
        place = hooked.server if at == "probe_sources" else hooked.storage
        whole = getattr(place, at)

        async def stopped(*given: Any) -> Any:
            monkeypatch.undo()
            await stopping()
            await asyncio.sleep(0)
            return await whole(*given)

        monkeypatch.setattr(place, at, stopped)
        if at == "probe_sources":
            await hooked.db.run(lambda tx: tx.session.execute(update(RunEvidenceRow).values(data={})))
    await disposed(hooked, job)
    if reason is Abort.SHUTDOWN:
        assert (await hooked.job(job)).state == "queued"
        assert await hooked.rows(Archive) == []
        hooked.server.on_hook = {}
        await due(hooked, job)
        await disposed(hooked, job)
    archive = await only(hooked)
    assert ("cancelled" in codes(archive), archive.trusted) == (reason is Abort.CANCELLED, False)
    assert (await hooked.job(job)).state == "warning"
    assert hooked.server.created == 1
    assert "post" in hooked.server.hooks
    assert True not in await owed(hooked)


async def test_a_second_attempt_that_is_cancelled_while_it_looks_takes_over_what_there_is(hooked: World) -> None:
    hooked.server.on_borg = _dies
    job = await hooked.request()
    assert isinstance(await ended_with(hooked, job), Killed)
    hooked.server.on_borg, hooked.storage.on_list = None, stop(hooked, Abort.CANCELLED)
    await disposed(hooked, job)
    assert "cancelled" in codes(await only(hooked))
    hooked.storage.kept.clear()
    await hooked.db.run(lambda tx: tx.session.execute(delete(Archive)))
    hooked.storage.on_list = None
    hooked.server.on_hook = {"pre": _dies}
    job = await hooked.request()
    assert isinstance(await ended_with(hooked, job), Killed)
    hooked.server.on_hook, hooked.storage.on_list = {}, stop(hooked, Abort.CANCELLED)
    await disposed(hooked, job)  # where there is none, none is made any more
    assert ((await hooked.job(job)).state, hooked.server.created) == ("cancelled", 1)


@pytest.mark.parametrize("when", ["remember", "leave"])
async def test_a_cancel_between_the_verdict_and_the_record_forgets_no_archive(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    stopping = stop(world, Abort.CANCELLED)
    if when == "remember":

        async def remember(*_: Any) -> None:
            await stopping()
            await asyncio.sleep(0)

        monkeypatch.setattr("services.backup.create.record.remember_inventory", remember)
    else:
        leave = world.storage.open

        @contextlib.asynccontextmanager
        async def opened(*given: Any) -> AsyncIterator[Any]:
            async with leave(*given) as grant:
                yield grant
            await stopping()
            await asyncio.sleep(0)

        monkeypatch.setattr(world.storage, "open", opened)
    job = await world.request()
    await disposed(world, job)
    assert (await only(world)).trusted
    assert (await world.job(job)).state == "succeeded"


async def test_an_archive_found_later_counts_from_the_end_of_the_run_that_made_it(world: World) -> None:
    """Accepted, it was a backup of the day on which it was found; its own times are the server's word."""
    job = await world.request()
    world.server.on_borg = stop(world, Abort.CANCELLED)
    await disposed(world, job)
    assert (await world.job(job)).state == "cancelled"
    assert len(world.storage.kept) == 1
    ended = datetime.now(UTC) - timedelta(days=9)
    await world.db.run(lambda tx: tx.session.execute(update(Job).values(finished_at=ended)))
    name = next(iter(world.storage.kept))
    lie = {"started_at": datetime.now(UTC) + timedelta(days=99), "ended_at": datetime.now(UTC) + timedelta(days=99)}
    world.storage.kept[name] = world.storage.kept[name].model_copy(update=lie)
    world.server.on_borg = None
    await world.backup(await world.request())
    [found] = [archive for archive in await world.rows(Archive) if not archive.trusted]
    assert codes(found) == ["found_later"]
    assert abs(found.created_at - ended) < timedelta(seconds=1)


@pytest.mark.parametrize("told", ["the run", "the repository"])
async def test_an_archive_that_a_hostile_run_left_is_found_later_with_that_as_its_reason(
    world: World, told: str
) -> None:
    """Nobody may accept it as one that was only found late."""
    job = await world.request()
    world.server.on_borg = stop(world, Abort.CANCELLED)
    await disposed(world, job)
    if told == "the run":
        ended: Any = update(Job).values(state="failed", code="hostile_client", reason="2 refused: call of destroy")
    else:
        cause = {"code": "hostile_client", "reason": "2 refused: call of destroy"}
        ended = update(Repository).values(frozen_for=[cause], frozen_reason=cause["reason"])
    await world.db.run(lambda tx: tx.session.execute(ended))
    world.server.on_borg = None
    await world.backup(await world.request())
    [found] = [archive for archive in await world.rows(Archive) if not archive.trusted]
    assert codes(found) == ["hostile_client"]
    assert "2 refused: call of destroy" in found.reasons[0]["text"]


@pytest.mark.parametrize("code", ["node_disk_full", "node_disk_error"])
async def test_a_copy_of_the_manifest_that_cannot_be_kept_costs_no_archive_and_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    async def full(_place: Any) -> int | None:
        message = "no space left"
        raise Permanent(message, code=code)

    monkeypatch.setattr(world.storage, "keep_manifest", full)
    job = await world.request()
    await world.backup(job)
    ended = await world.job(job)
    assert (ended.state, ended.warnings) == ("warning", ["no space left"])
    assert (await only(world)).job_id == job.id


@pytest.mark.parametrize("written", [True, False], ids=["written down", "not"])
async def test_an_archive_of_a_run_that_lay_in_the_queue_afterwards_counts_from_when_it_was_made(
    world: World, written: bool
) -> None:
    """The worker died after it; the job waited for days, and was cancelled then; or a person tried it again."""
    world.storage.on_list = _dies
    job = await world.request()
    assert isinstance(await ended_with(world, job), Killed)
    world.storage.on_list = None
    made, ended = datetime.now(UTC) - timedelta(days=5), datetime.now(UTC) - timedelta(days=1)
    values: dict[str, Any] = {"state": "cancelled", "finished_at": ended, "started_at": made}
    if not written:
        values["run"] = 1
        await world.db.run(lambda tx: tx.session.execute(delete(RunEvidenceRow)))
    await world.db.run(lambda tx: tx.session.execute(update(Job).values(values)))
    await world.db.run(lambda tx: tx.session.execute(update(RunEvidenceRow).values(updated_at=made)))
    await world.backup(await world.request())
    [found] = [archive for archive in await world.rows(Archive) if not archive.trusted]
    assert abs(found.created_at - made) < timedelta(seconds=1)


# -- a retry is a new run -------------------------------------------------------------------------------------


async def test_a_retry_of_a_failed_run_makes_a_new_archive(world: World) -> None:
    """A6: the sources did not exist; they do now. The failed run's own archive is not the retry's."""
    world.server.missing, world.server.on_create = ["/etc"], 5
    job = await world.request()
    await world.backup(job)
    assert (await world.job(job)).code == "sources_missing"
    world.server.on_create = 7  # what each run wrote is verified by a job of its own
    world.server.missing = []
    again = await world.job(job)
    assert await world.db.run(lambda tx: tx.jobs.retry(again))
    await world.db.run(lambda tx: tx.session.execute(update(Job).values(sent_at=Job.created_at, waiting_for=None)))
    await world.backup(again)
    assert world.server.created == 2
    assert sorted(archive.state for archive in await world.rows(Archive)) == ["failed", "succeeded"]
    names = {archive.name for archive in await world.rows(Archive)}
    assert len(names) == 2
    assert any(name.endswith(f"{job.id.hex}-r1") for name in names)


# -- hooks ----------------------------------------------------------------------------------------------------


async def test_hooks_are_told_what_they_run_for(hooked: World) -> None:
    hooked.server.status, hooked.server.output = 1, [LogLine("warning", "/f: file changed while we backed it up")]
    job = await hooked.request()
    await hooked.backup(job)
    pre, post = hooked.server.variables
    assert (pre["BORGFLEET_JOB"], pre["BORGFLEET_SERVER"], pre["BORGFLEET_PHASE"]) == ("web1-system", "web1", "pre")
    assert pre["BORGFLEET_RUN"] == str(job.id)
    assert (post["BORGFLEET_PHASE"], post["BORGFLEET_STATUS"], post["BORGFLEET_RESULT"]) == ("post", "1", "warning")
    assert post["BORGFLEET_ARCHIVE"] == (await only(hooked)).name
    assert (await hooked.job(job)).state == "succeeded"  # a file that changed is a note
    assert "1 file changed" in (await hooked.job(job)).warnings[0]


async def test_what_a_hook_says_is_in_the_log_and_its_last_complaint_in_the_reason(hooked: World) -> None:
    hooked.server.said = {name: ["hello", "mysqldump: Access denied"] for name in ("pre", "post")}
    hooked.server.statuses = {"pre": 2}
    error = await hooked.refused(await hooked.request())
    assert error.message == "nothing was backed up: the pre-hook ended with status 2: mysqldump: Access denied"
    hooked.server.statuses = {"post": 2}
    job = await hooked.request()
    await hooked.backup(job)
    assert (await hooked.job(job)).warnings == ["the post-hook ended with status 2: mysqldump: Access denied"]
    lines = [(line.source, line.message) for line in await hooked.rows(JobLog)]
    assert ("hook", "hello") in lines


async def test_what_the_post_hook_says_is_in_the_log_however_much_borg_complained_of(hooked: World) -> None:
    """The log keeps its first 2,000 lines: a tree without permissions left nothing of them to the hook."""
    denied = "/etc/x: open: [Errno 13] Permission denied: 'x'"
    hooked.server.output = [LogLine("warning", denied)] * 3000
    hooked.server.said = {"post": [f"word {number}" for number in range(150)]}
    job = await hooked.request()
    await disposed(hooked, job)
    lines = [(line.source, line.message) for line in await hooked.rows(JobLog)]
    assert ("hook", "word 149") in lines
    assert sum(source == "borg" for source, _ in lines) == LINES
    assert any("only the first of them are here" in text for _, text in lines)
    assert "could not read 3,000 entries" in (await hooked.job(job)).warnings[0]


@pytest.mark.parametrize("reason", list(Abort))
@pytest.mark.parametrize("when", ["pre", "create"])
async def test_the_post_hook_runs_whatever_ended_the_run(hooked: World, reason: Abort, when: str) -> None:
    if when == "pre":
        hooked.server.on_hook = {"pre": stop(hooked, reason)}
    else:
        hooked.server.on_borg = stop(hooked, reason)
    ended = await run_and(hooked, await hooked.request())
    assert isinstance(ended, asyncio.CancelledError)
    assert hooked.server.hooks == ["pre", "post"]
    told = hooked.server.variables[-1]
    expected = "cancelled" if reason is Abort.CANCELLED else "failed"
    assert (told["BORGFLEET_RESULT"], told["BORGFLEET_STATUS"], told["BORGFLEET_ARCHIVE"]) == (expected, "", "")
    assert await owed(hooked) == [False]


LIMIT = 86_399
"""Seconds that no run takes, and a number by which the run's limit is told from others."""


@pytest.fixture
def limit_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what lets a run's limit pass at once: by the clock, it would pass elsewhere on a slow machine."""
    limits: list[asyncio.Timeout] = []
    real = asyncio.timeout

    def timeout(seconds: float | None) -> asyncio.Timeout:
        made = real(seconds)
        if seconds == LIMIT:
            limits.append(made)
        return made

    monkeypatch.setattr(asyncio, "timeout", timeout)
    return lambda: limits[-1].reschedule(asyncio.get_running_loop().time())


async def test_the_post_hook_runs_at_the_time_limit_and_after_an_unknown_error(
    db: Database, bus: MemoryBus, limit_passes: Callable[[], None]
) -> None:
    world = await World(db, bus).build(pre_hook="pre", post_hook="post", time_limit_seconds=LIMIT)

    async def long() -> None:
        limit_passes()
        await asyncio.Event().wait()

    world.server.on_hook = {"pre": long}
    assert (await world.refused(await world.request())).code == "time_limit"
    assert world.server.hooks == ["pre", "post"]
    assert world.server.variables[-1]["BORGFLEET_RESULT"] == "failed"
    world.server.on_hook, world.server.on_borg = {}, _crashes
    with pytest.raises(ZeroDivisionError):
        await world.backup(await world.request())
    assert world.server.hooks == ["pre", "post", "pre", "post"]


async def _crashes() -> None:
    raise ZeroDivisionError


async def test_a_post_hook_that_a_dead_worker_owes_is_paid_first_of_all(hooked: World) -> None:
    async def dies() -> None:
        hooked.server.on_hook = {"post": _dies}  # so that nothing runs any more
        raise Killed

    hooked.server.on_hook = {"pre": dies}
    job = await hooked.request()
    assert isinstance(await ended_with(hooked, job), Killed)
    assert await owed(hooked) == [True]
    hooked.server.hooks, hooked.server.on_hook = [], {}
    hooked.server.statuses = {"post": 3}
    assert await ended_with(hooked, job) is None
    assert hooked.server.hooks == ["post", "pre", "post"]
    assert codes(await only(hooked)) == ["post_hook_failed", "post_hook_failed"]
    assert await owed(hooked) == []


async def test_a_post_hook_that_an_ended_run_owes_is_paid_by_the_next_run_of_the_backup_job(hooked: World) -> None:
    hooked.server.statuses = {"post": Transient("no connection", code="connection_lost")}
    hooked.server.fails = Permanent("borg fell", code="borg_failed")
    assert (await hooked.refused(await hooked.request())).code == "borg_failed"
    assert await owed(hooked) == [True]
    hooked.server.hooks, hooked.server.statuses, hooked.server.fails = [], {}, None
    await hooked.backup(await hooked.request())
    assert hooked.server.hooks == ["post", "pre", "post"]
    assert await owed(hooked) == [False]
    assert (await only(hooked)).trusted


@pytest.mark.parametrize("how", ["cancelled", "failed", "no sources"])
@pytest.mark.parametrize("ends", [3, None])
async def test_a_post_hook_that_fails_in_a_run_without_an_archive_is_told_and_run_first_of_all_next_time(
    hooked: World, how: str, ends: int | None
) -> None:
    """The database stayed frozen, and one line of a log knew of it: the debt counted as paid."""
    hooked.server.statuses, hooked.server.said = {"post": ends}, {"post": ["cannot thaw"]}
    if how == "cancelled":
        hooked.server.on_hook = {"pre": stop(hooked, Abort.CANCELLED)}
    elif how == "failed":
        hooked.server.fails = Permanent("borg fell", code="borg_failed")
    else:
        hooked.server.missing = ["/etc"]
    job = await hooked.request()
    await disposed(hooked, job)
    told = await hooked.job(job)
    assert told.state == ("cancelled" if how == "cancelled" else "failed")
    [warning] = [warning for warning in told.warnings if "cannot thaw" in warning]
    assert warning.startswith("the post-hook ")
    assert await owed(hooked) == [True]

    hooked.server.on_hook, hooked.server.fails, hooked.server.missing, hooked.server.hooks = {}, None, [], []
    job = await hooked.request()  # it fails again
    await disposed(hooked, job)
    assert hooked.server.hooks == ["post", "pre", "post"]
    archive = max(await hooked.rows(Archive), key=lambda archive: archive.created_at)
    assert codes(archive) == ["post_hook_failed", "post_hook_failed"]
    assert "an earlier run still owed failed" in archive.reasons[0]["text"]

    hooked.server.statuses, hooked.server.hooks = {}, []
    job = await hooked.request()
    await disposed(hooked, job)
    assert hooked.server.hooks == ["post", "pre", "post"]
    assert (await hooked.job(job)).state == "succeeded"
    assert True not in await owed(hooked)
    hooked.server.hooks = []
    await disposed(hooked, await hooked.request())
    assert hooked.server.hooks == ["pre", "post"]


async def test_a_post_hook_that_fails_with_an_archive_is_that_archives_doubt_and_is_not_run_again(
    hooked: World,
) -> None:
    hooked.server.statuses = {"post": 3}
    job = await hooked.request()
    await disposed(hooked, job)
    assert (await hooked.job(job)).warnings == ["the post-hook ended with status 3"]
    assert await owed(hooked) == []
    hooked.server.hooks = []
    await disposed(hooked, await hooked.request())
    assert hooked.server.hooks == ["pre", "post"]


@pytest.mark.parametrize("error", [Transient("away", code="database_unavailable"), LeaseLost("passed")])
@pytest.mark.parametrize("stopped", [None, *Abort])
async def test_the_post_hook_runs_though_nothing_can_be_written_down(
    hooked: World, monkeypatch: pytest.MonkeyPatch, error: Exception, stopped: Abort | None
) -> None:
    """A database that is away for a minute left the one on the server frozen."""
    write, away = Ledger._write, [False]

    async def fails(ledger: Ledger) -> None:
        ledger._unwritten = True
        if away[0]:
            raise error
        await write(ledger)

    monkeypatch.setattr(Ledger, "_write", fails)

    async def from_now_on() -> None:
        away[0] = True
        if stopped is not None:
            await stop(hooked, stopped)()

    hooked.server.on_borg = from_now_on
    ended = await run_and(hooked, await hooked.request())
    assert hooked.server.hooks == ["pre", "post"]
    if isinstance(error, LeaseLost):
        assert isinstance(ended, LeaseLost)
    else:
        assert isinstance(ended, asyncio.CancelledError if stopped else Transient)
    assert await owed(hooked) == [True]  # it is not known to be paid: it runs twice rather than never


async def test_what_could_not_be_written_is_written_as_soon_as_it_can_be(
    hooked: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, away = Ledger._write, [0]

    async def fails(ledger: Ledger) -> None:
        ledger._unwritten = True
        if away[0]:
            away[0] -= 1
            raise Transient("away", code="database_unavailable")
        await write(ledger)

    monkeypatch.setattr(Ledger, "_write", fails)

    async def twice() -> None:  # how borg ended, and that the hook ran
        away[0] = 2

    hooked.server.on_borg, hooked.server.status = twice, 1
    await disposed(hooked, await hooked.request())
    assert hooked.server.hooks == ["pre", "post"]
    assert codes(await only(hooked)) == ["status_unexplained"]
    assert await owed(hooked) == []


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("error", [Transient("away", code="x"), LeaseLost("passed"), ZeroDivisionError()])
async def test_a_cancel_is_not_lost_where_what_was_to_be_finished_fails_in_passing(
    asked: bool, error: Exception
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go.wait()
        raise error

    task = asyncio.create_task(to_its_end(work()))
    await begun.wait()
    if asked:
        task.cancel()
        await asyncio.sleep(0)
    go.set()
    expected = asyncio.CancelledError if asked and isinstance(error, Transient) else type(error)
    with pytest.raises(expected):
        await task


async def test_work_that_is_stopped_again_and_again_is_never_left_running_alone() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            for _ in range(5):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.01)
            ended.set()

    task = asyncio.create_task(to_its_end(work(), give_up=lambda: True))
    await begun.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_post_hook_over_a_broken_connection_is_tried_over_a_new_one(hooked: World) -> None:
    async def breaks() -> None:
        hooked.server.on_hook = {}
        raise Transient("broke", code="connection_lost")

    hooked.server.on_hook = {"post": breaks}
    await hooked.backup(await hooked.request())
    assert (hooked.server.sessions, hooked.server.hooks) == (2, ["pre", "post", "post"])
    assert (await only(hooked)).trusted


async def test_a_debt_of_a_job_that_has_no_post_hook_any_more_is_dropped(hooked: World) -> None:
    hooked.server.statuses = {"post": Transient("no connection", code="connection_lost")}
    await hooked.backup(await hooked.request())
    assert codes(await only(hooked)) == ["post_hook_failed"]
    assert await owed(hooked) == [True]
    none = update(type(hooked.definition)).values(post_hook=None, pre_hook=None)
    await hooked.db.run(lambda tx: tx.session.execute(none))
    await hooked.backup(await hooked.request())
    assert await owed(hooked) == [False]


async def test_sources_are_looked_at_after_the_pre_hook_and_again_after_borg(hooked: World) -> None:
    """A7: a source that the pre-hook makes is there; one that is gone after borg is said."""
    hooked.server.missing = ["/etc"]

    async def mount() -> None:
        hooked.server.missing = []

    async def unmount() -> None:
        hooked.server.missing = ["/etc"]

    hooked.server.on_hook = {"pre": mount, "post": unmount}
    await hooked.backup(await hooked.request())
    assert (await only(hooked)).trusted
    hooked.server.on_borg = unmount
    job = await hooked.request()
    await hooked.backup(job)
    assert "was there before borg read it" in (await hooked.job(job)).warnings[0]


async def test_a_source_that_hangs_is_left_out_and_named_and_only_hanging_ones_are_a_failure(
    db: Database, bus: MemoryBus
) -> None:
    world = await World(db, bus).build(sources=["/etc", "/nas"])
    world.server.hanging = ["/nas"]
    world.storage.gave = {"/nas": 0}
    job = await world.request()
    await world.backup(job)
    assert world.server.given == [["/etc"]]
    assert codes(await only(world)) == ["source_hangs"]
    world.server.hanging = ["/etc", "/nas"]
    error = await world.refused(await world.request())
    assert (error.code, isinstance(error, Transient)) == ("source_hangs", True)
    assert "/etc, /nas" in error.message


# -- once borg has made it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["post", "list", "count"])
async def test_a_cancelled_run_records_the_archive_that_borg_had_made(hooked: World, when: str) -> None:
    """A8: cancel in the post-hook, or later: the archive is on record, and doubted."""
    await hooked.db.run(lambda tx: tx.session.execute(update(type(hooked.definition)).values(sources=["/a", "/b"])))
    cancel = stop(hooked, Abort.CANCELLED)
    if when == "post":
        hooked.server.on_hook = {"post": cancel}
    elif when == "list":
        hooked.storage.on_list = cancel
    else:
        hooked.storage.on_count = cancel
    job = await hooked.request()
    assert await run_and(hooked, job) is None
    archive = await only(hooked)
    assert (archive.state, codes(archive)) == ("warning", ["cancelled"])
    assert ((await hooked.job(job)).state, hooked.server.hooks) == ("warning", ["pre", "post"])


@pytest.mark.parametrize("reason", [Abort.SHUTDOWN, Abort.LEASE_LOST])
@pytest.mark.parametrize("when", ["post", "list"])
async def test_what_a_shutdown_cut_off_is_recorded_by_the_next_attempt(hooked: World, reason: Abort, when: str) -> None:
    if when == "post":
        hooked.server.on_hook = {"post": stop(hooked, reason)}
    else:
        hooked.storage.on_list = stop(hooked, reason)
    job = await hooked.request()
    assert isinstance(await run_and(hooked, job), asyncio.CancelledError)
    assert await hooked.rows(Archive) == []
    hooked.storage.on_list = None
    hooked.server.on_hook = {}
    free = update(Job).values(state="queued", lease=None, lease_until=None)
    await hooked.db.run(lambda tx: tx.session.execute(free))
    assert await ended_with(hooked, job) is None
    archive = await only(hooked)
    assert (archive.trusted, codes(archive), hooked.server.created) == (True, [], 1)


async def test_a_time_limit_that_passes_in_the_post_hook_is_a_doubt_and_no_loss(
    db: Database, bus: MemoryBus, limit_passes: Callable[[], None]
) -> None:
    world = await World(db, bus).build(post_hook="post", time_limit_seconds=LIMIT, hook_seconds=60)

    async def long() -> None:
        limit_passes()
        await asyncio.sleep(0.05)

    world.server.on_hook = {"post": long}
    job = await world.request()
    await world.backup(job)
    assert codes(await only(world)) == ["time_limit"]
    assert (await world.job(job)).state == "warning"


async def test_archives_of_ended_runs_that_are_on_no_record_are_adopted_as_doubtful(world: World) -> None:
    lost = await world.request()
    done = {"state": "failed", "finished_at": Job.created_at}
    await world.db.run(lambda tx: tx.session.execute(update(Job).where(Job.id == lost.id).values(**done)))
    queued = await world.request()
    (repository,) = await world.rows(Repository)
    names = {
        "lost": f"web1-system-2026-01-01T000000Z-{lost.id.hex}",
        "of a run that may come yet": f"web1-system-2026-01-01T000000Z-{queued.id.hex}",
        "of a run that nobody knows": f"web1-system-2026-01-01T000000Z-{new_id().hex}",
        "no name of ours": "mine",
    }
    for name in names.values():
        world.storage.kept[name] = figures(name)
    job = await world.request()
    await world.backup(job)
    rows = {archive.name: archive for archive in await world.rows(Archive)}
    assert rows.keys() - {names["lost"]} == {(await world.job(job)).result["archive"]}
    adopted = rows[names["lost"]]
    assert (adopted.state, adopted.trusted, codes(adopted)) == ("warning", False, ["found_later"])
    assert (adopted.job_id, adopted.backup_job_id) == (lost.id, world.definition.id)
    assert adopted.repository_id == repository.id
    await world.backup(await world.request())
    assert len(await world.rows(Archive)) == 3


@pytest.mark.parametrize("state", [{}, {"missing": True}, {"deleting": True}, {"damage": "broken"}])
async def test_a_report_that_names_an_archive_of_before_does_not_overwrite_its_record(
    world: World, state: dict[str, Any]
) -> None:
    await world.backup(await world.request())
    first = await only(world)
    if state:
        await world.db.run(lambda tx: tx.session.execute(update(Archive).values(**state)))
    job = await world.request()
    world.storage.kept.clear()

    async def same(*_: object) -> Any:
        made = await made_as_ever(*_)
        kept = made.archive.model_copy(update={"borg_id": first.borg_id})
        world.storage.kept[kept.name] = kept
        return type(made)(made.ended, kept, made.repository)

    made_as_ever = world.server.create
    world.server.create = same  # type: ignore[method-assign] - a stand-in for this one test
    assert (await world.refused(job)).code == "hostile_client"
    kept = await only(world)
    assert (kept.job_id, kept.name) == (first.job_id, first.name)


@pytest.mark.parametrize("abort", [Abort.CANCELLED, Abort.SHUTDOWN])
@pytest.mark.parametrize("made", [True, False], ids=["after its archive", "before it"])
async def test_a_hostile_run_that_is_stopped_is_red_all_the_same(world: World, abort: Abort, *, made: bool) -> None:
    """Handed over or cancelled, nobody would see that this very run was the attack."""

    async def attack_and_stop() -> None:
        world.storage.reports.append(SessionReport(1, refused=("call of destroy",)))
        await stop(world, abort)()
        if not made:
            raise asyncio.CancelledError

    world.server.on_borg = attack_and_stop
    job = await world.request()
    await disposed(world, job)
    ended = await world.job(job)
    assert (ended.state, ended.code) == ("failed", "hostile_client")
    assert (await world.rows(Repository))[0].frozen_reason
    assert await world.rows(Archive) == []
