"""The one shape of work on a repository: what is read before it is ours may change, what is done after may meet another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from services.backup.handlers import make_backup, works
from services.backup.inventory.proof import Manner
from services.backup.plan import load_repository
from services.backup.restore.server import RestoreServers
from services.backup.work import Work, work_on
from shared.db.stores.requests import request_maintenance
from shared.db.tables import Archive, Job, Repository
from shared.db.tables.kernel import Lease
from shared.domain.job import JobState, JobType
from shared.domain.job_kinds import JOB_KINDS
from shared.errors import Permanent, Waiting
from shared.events.backup import BackupRequested
from shared.events.repository import RepositoryCheck
from shared.events.streams import COMMAND_OF
from shared.runtime.context import Abort, Context
from shared.ssh.scripted import ScriptedSsh
from tests.unit.services.backup.world import World

STEPS = ("place", "load", "run", "keep", "record")
ELSEWHERE = (JobType.REPOSITORY_IMPORT, JobType.REPOSITORY_MANAGE, JobType.SELF_BACKUP)
"""An import is of no repository yet, what takes one over is made with the node's hands, and Borgfleet's own repository has no row."""
KINDS = [kind.type for kind in JOB_KINDS if kind.node_bound and kind.type not in ELSEWHERE]


@dataclass
class Steps:
    """A kind of work that writes down its steps, each with whether the repository was its own at that time."""

    world: World
    seen: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])
    breaks: str = ""
    nothing_at: str = ""
    stop: tuple[str, Callable[[], None]] = ("", lambda: None)
    found: list[Any] = field(default_factory=list[Any])

    async def step(self, name: str) -> None:
        async with self.world.db.read() as session:
            held = await session.scalar(select(Lease.holder).where(Lease.name.like("repository:%")))
        self.seen.append((name, bool(held)))
        if name == self.breaks:
            raise Permanent("broken", code=f"broken_{name}")
        if name == self.stop[0]:
            self.stop[1]()
            await asyncio.sleep(0)

    async def place(self, tx: Any, job: Job) -> Any:
        await self.step("place")
        place = await load_repository(tx, job.repository_id)  # type: ignore[arg-type] - these jobs have one
        return None if self.nothing_at == "place" else replace(place, to_server=False)

    async def load(self, _tx: Any, _job: Job, place: Any) -> Any:
        await self.step("load")
        return None if self.nothing_at == "load" else ("plan", place.label)

    async def run(self, plan: Any, grant: Any, _ctx: Context, _storage: Any) -> Any:
        await self.step("run")
        return ("found", plan, grant is not None)

    async def keep(self, _plan: Any, _found: Any, _ctx: Context, _storage: Any) -> None:
        await self.step("keep")

    async def record(self, tx: Any, ctx: Context, _plan: Any, found: Any) -> None:
        await self.step("record")
        self.found.append(found)
        await ctx.finish(tx, JobState.SUCCEEDED, result={"recorded": True})

    def work(self, **values: Any) -> Work[Any, Any, Any]:
        made: Work[Any, Any, Any] = Work(
            JobType.REPOSITORY_CHECK, self.place, self.load, self.run, self.record, keep=self.keep,
            nothing={"nothing": True},
        )  # fmt: skip
        return replace(made, **values)


async def requested(world: World) -> Job:
    repository = (await world.rows(Repository))[0]
    return await world.db.run(lambda tx: request_maintenance(tx, JobType.REPOSITORY_CHECK, repository.id))


async def do(world: World, job: Job, work: Work[Any, Any, Any], ctx: Context | None = None) -> BaseException | None:
    """Run one attempt; return how it ended."""
    ctx = ctx or Context(world.db, world.bus, key="k", lease_seconds=30)
    task = asyncio.create_task(work_on(RepositoryCheck(job_id=job.id), ctx, work=work, storage=world.storage))
    world.current = task  # type: ignore[attr-defined] - kept there by the test
    await asyncio.wait({task})
    await world.db.run(ctx.release)
    return asyncio.CancelledError() if task.cancelled() else task.exception()


SSH = ScriptedSsh({})
RESTORING = RestoreServers(SSH, 1.0)


def test_every_kind_of_job_on_a_node_has_one_work_and_a_command(world: World) -> None:
    assert sorted(work.kind for work in works(world.server, RESTORING, SSH, Path("catalogues"))) == sorted(KINDS)
    assert all(work.kind in COMMAND_OF for work in works(world.server, RESTORING, SSH, Path("catalogues")))


@pytest.mark.parametrize("number", range(len(KINDS)), ids=[kind.value for kind in KINDS])
async def test_a_message_that_names_no_job_takes_nothing(world: World, number: int) -> None:
    work = next(work for work in works(world.server, RESTORING, SSH, Path("catalogues")) if work.kind is KINDS[number])
    ctx = Context(world.db, world.bus, key="m", lease_seconds=1)
    with pytest.raises(Permanent, match="names its job"):
        await work_on(COMMAND_OF[work.kind](), ctx, work=work, storage=world.storage)
    assert world.storage.calls == []


async def test_nothing_is_loaded_before_the_repository_is_ours_and_it_is_ours_until_all_is_kept(world: World) -> None:
    steps, job = Steps(world), await requested(world)
    assert await do(world, job, steps.work()) is None
    assert steps.seen == [("place", False), ("load", True), ("run", True), ("keep", True), ("record", True)]
    assert [call for call in world.storage.calls if call in ("open", "close")] == ["open", "close"]
    ended = await world.job(job)
    assert (ended.state, ended.result) == ("succeeded", {"recorded": True})


async def test_what_only_reads_makes_no_backup_wait(world: World) -> None:
    steps, job = Steps(world), await requested(world)
    place = await world.db.run(lambda tx: load_repository(tx, job.repository_id))  # type: ignore[arg-type] - these jobs have one
    assert await world.db.run(lambda tx: tx.leases.acquire(place.lease, "a backup", 60)) is not None
    assert await do(world, job, steps.work(alone=False, keep=None)) is None
    assert [name for name, _ in steps.seen] == ["place", "load", "run", "record"]
    assert "open" not in world.storage.calls
    assert steps.found == [("found", ("plan", "web1/system"), False)]


async def test_one_writer_a_repository_the_other_waits_and_says_for_what(world: World) -> None:
    steps, job = Steps(world), await requested(world)
    place = await world.db.run(lambda tx: load_repository(tx, job.repository_id))  # type: ignore[arg-type] - these jobs have one
    assert await world.db.run(lambda tx: tx.leases.acquire(place.lease, "another", 60)) is not None
    error = await do(world, job, steps.work())
    assert isinstance(error, Waiting)
    assert (error.code, error.waiting_for) == ("waiting", "web1/system")
    assert [name for name, _ in steps.seen] == ["place"]
    assert world.storage.calls == []


@pytest.mark.parametrize("at", ["place", "load"])
@pytest.mark.parametrize("alone", [True, False])
async def test_a_job_with_nothing_to_do_ends_and_touches_nothing(world: World, at: str, alone: bool) -> None:
    steps, job = Steps(world, nothing_at=at), await requested(world)
    assert await do(world, job, steps.work(alone=alone)) is None
    assert [name for name, _ in steps.seen] == list(STEPS[: STEPS.index(at) + 1])
    ended = await world.job(job)
    assert (ended.state, ended.result) == ("succeeded", {"nothing": True})


@pytest.mark.parametrize("at", STEPS)
async def test_a_step_that_fails_ends_it_there_and_the_next_attempt_begins_anew(
    world: World, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, job, inside, opened = Steps(world, breaks=at), await requested(world), [0], world.storage.open

    @contextlib.asynccontextmanager
    async def counted(*given: Any) -> AsyncIterator[Any]:
        inside[0] += 1
        try:
            async with opened(*given) as grant:
                yield grant
        finally:
            inside[0] -= 1

    monkeypatch.setattr(world.storage, "open", counted)
    error = await do(world, job, steps.work())
    assert isinstance(error, Permanent)
    assert error.code == f"broken_{at}"
    assert [name for name, _ in steps.seen] == list(STEPS[: STEPS.index(at) + 1])
    assert inside == [0]
    assert world.storage.calls.count("open") == (at != "place")
    assert (await world.job(job)).state == "running"  # to be disposed of by the kernel, which counts the failure
    place = await world.db.run(lambda tx: load_repository(tx, job.repository_id))  # type: ignore[arg-type] - these jobs have one
    assert await world.db.run(lambda tx: tx.leases.acquire(place.lease, "the next", 60)) is not None


async def test_a_second_delivery_does_nothing(world: World) -> None:
    steps, job = Steps(world), await requested(world)
    await do(world, job, steps.work())
    before = list(steps.seen), list(world.storage.calls)
    assert await do(world, job, steps.work()) is None
    assert (steps.seen, world.storage.calls) == before


@pytest.mark.parametrize("at", ["load", "run", "keep"])
@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("why", [Abort.CANCELLED, Abort.SHUTDOWN])
async def test_only_what_is_done_and_kept_is_recorded_whatever_is_asked_meanwhile(
    world: World, at: str, keeps: bool, why: Abort
) -> None:
    """A cancel after the archive is there would leave it on nobody's list; a cancel before ends the run."""
    if at == "keep" and not keeps:
        return
    ctx = Context(world.db, world.bus, key="k", lease_seconds=30)

    def stop() -> None:
        ctx.abort = why
        world.current.cancel()  # type: ignore[attr-defined] - kept there by the test

    steps, job = Steps(world, stop=(at, stop)), await requested(world)
    error = await do(world, job, steps.work() if keeps else steps.work(keep=None), ctx)
    recorded = "record" in [name for name, _ in steps.seen]
    assert recorded == (at == "keep" and why is Abort.CANCELLED)
    assert isinstance(error, asyncio.CancelledError) != recorded


async def test_damage_that_the_proof_finds_at_the_end_is_part_of_what_is_recorded(world: World) -> None:
    steps, job = Steps(world), await requested(world)
    work = steps.work(
        manner=lambda: Manner(examines=True, damage=["a hole"]), with_damage=lambda found, damage: (*found, *damage)
    )
    await do(world, job, work)
    assert steps.found == [("found", ("plan", "web1/system"), True, "a hole")]


async def test_each_run_has_a_manner_of_its_own(world: World) -> None:
    """One list of damages for all runs would paint every repository after the first damaged one red."""
    for work in works(world.server, RESTORING, SSH, Path("catalogues")):
        assert work.manner() is not work.manner()
        assert work.manner().damage == []


@pytest.mark.parametrize("problem", ["", "the state directory does not answer"])
async def test_a_leave_that_the_node_could_not_renew_stands_on_the_job_and_not_in_the_log_alone(
    world: World, problem: str
) -> None:
    job = await world.request()
    ctx = Context(world.db, world.bus, key="k", lease_seconds=30)
    world.storage.not_renewed = problem

    async def beats() -> None:
        await ctx.beat()
        await ctx.beat()

    world.storage.on_count = beats
    await make_backup(BackupRequested(job_id=job.id), ctx, storage=world.storage, servers=world.server)
    ended, (archive,) = await world.job(job), await world.rows(Archive)
    assert ended.state == (JobState.WARNING if problem else JobState.SUCCEEDED).value
    assert [problem in warning for warning in ended.warnings] == ([True] if problem else [])
    assert archive.trusted, "what borg made is as good as ever"
