"""Work on a repository has one shape, and one handler: claim, take the repository, load, run, record."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from services.backup.create.shielded import to_its_end
from services.backup.inventory.fence import judged, shut_out_at_last
from services.backup.inventory.past import catch_up, journaled
from services.backup.inventory.proof import Manner, proven, told_of_its_pool
from services.backup.node.leaves import extending
from services.backup.node.pools import require_place
from services.backup.ports import RepositoryPlace
from services.backup.window import in_its_window
from shared.db.stores.requests import refuse_to_write
from shared.domain.importing import MANAGED, READ_ONLY
from shared.domain.job import JobState, JobType
from shared.errors import Permanent
from shared.runtime.context import Abort
from shared.runtime.crashpoint import crashpoint

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from services.backup.ports import Storage
    from shared.borg.node import Grant
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.events.base import Command
    from shared.runtime.context import Context


class Placed(Protocol):
    """What is known before the repository is ours: at least where it lies."""

    @property
    def repository(self) -> RepositoryPlace:
        """Where it lies."""
        ...


At = TypeVar("At", bound="RepositoryPlace | Placed")
Plan = TypeVar("Plan")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Work(Generic[At, Plan, Found]):
    """One kind of work on a repository, as functions that do one thing each."""

    kind: JobType
    place: Callable[[UnitOfWork, Job], Awaitable[At | None]]
    """Says where the repository lies, or refuses; None: there is nothing to do any more."""
    load: Callable[[UnitOfWork, Job, At], Awaitable[Plan | None]]
    """Reads what the run needs, once the repository is ours, so that it does not change; None: nothing is to do."""
    run: Callable[[Plan, Grant, Context, Storage], Awaitable[Found]]
    """Acts on the repository; may be broken off anywhere, and happen twice."""
    record: Callable[[UnitOfWork, Context, Plan, Found], Awaitable[None]]
    """Keeps what came of it and ends the job, in one transaction."""
    nothing: dict[str, Any] = field(default_factory=dict[str, Any])
    """The result of a job that had nothing to do."""
    alone: bool = True
    """It is the one writer, across the fleet. What only reads may run beside a backup."""
    in_window: bool = False
    """The hours of its schedule are kept here, by stopping it; other kinds keep them in their own way."""
    manner: Callable[[], Manner] = Manner
    """How it is held against what the repository should be."""
    with_damage: Callable[[Found, Sequence[str]], Found] | None = None
    """Adds to what was found what the proof at the end found damaged."""
    accept: Callable[[Any, Context], Awaitable[None]] | None = None
    """Makes a job of a request from outside that names no node; None: as any maintenance of a repository."""
    keep: Callable[[Plan, Found, Context, Storage], Awaitable[None]] | None = None
    """Done while the repository is still ours; from `run`'s end on a cancellation comes too late: it is recorded."""
    before_commit: str = ""
    """The place, between the repository's change and its record, where tests let the process die."""


async def work_on(event: Command, ctx: Context, *, work: Work[Any, Any, Any], storage: Storage) -> None:
    """Do what a message asks for; a second delivery finds no claim."""
    job = await ctx.claim(_job_id(event))
    if job is None:
        return

    placed = await ctx.run(lambda tx: work.place(tx, job))
    if placed is None:
        await _nothing_to_do(ctx, work)
    elif work.keep is None:
        await _Run(work, ctx, storage, job, placed).to_the_record()
    else:
        run = _Run(work, ctx, storage, job, placed)
        # A cancellation between the verdict and the record comes too late: the archive would be on nobody's list.
        await to_its_end(run.to_the_record(), give_up=lambda: not run.found or ctx.abort is not Abort.CANCELLED)


class _Run:
    """One run of one kind of work."""

    def __init__(self, work: Work[Any, Any, Any], ctx: Context, storage: Storage, job: Job, placed: Any) -> None:
        self._work, self._ctx, self._storage, self._job, self._placed = work, ctx, storage, job, placed
        self._place: RepositoryPlace = placed if isinstance(placed, RepositoryPlace) else placed.repository
        self.found = False
        """`run` came to its end."""

    async def to_the_record(self) -> None:
        # The second line: whoever asked was refused already, unless it was asked before there was anything to refuse.
        refuse_to_write(READ_ONLY if self._place.read_only else MANAGED, self._work.kind, self._place.label)
        work, ctx, job, placed, manner = self._work, self._ctx, self._job, self._placed, self._work.manner()
        async with self._held(manner) as grant:
            plan = await ctx.run(lambda tx: work.load(tx, job, placed))
            found = await self._acted(plan, grant) if plan is not None else None
        if plan is None:
            await _nothing_to_do(ctx, work)
            return
        if work.with_damage is not None:
            found = work.with_damage(found, manner.damage)
        if work.before_commit:
            crashpoint(work.before_commit)
        await ctx.run(lambda tx: work.record(tx, ctx, plan, found))

    async def _acted(self, plan: Any, grant: Grant) -> Any:
        found = await self._work.run(plan, grant, self._ctx, self._storage)
        self.found = True
        if self._work.keep is not None:
            await self._work.keep(plan, found, self._ctx, self._storage)
        return found

    @contextlib.asynccontextmanager
    async def _held(self, manner: Manner) -> AsyncGenerator[Any]:
        async with contextlib.AsyncExitStack() as stack:
            if self._work.in_window:
                await stack.enter_async_context(in_its_window(self._ctx, self._job))
            at = self._ctx, self._storage, self._place
            yield await stack.enter_async_context(_ours(*at, manner) if self._work.alone else _beside(*at))


@contextlib.asynccontextmanager
async def _ours(ctx: Context, storage: Storage, place: RepositoryPlace, manner: Manner) -> AsyncGenerator[Grant]:
    """Be the one writer to a repository, across the fleet, for as long as this lasts."""
    epoch = await ctx.hold(place.lease, place.label, on_beat=extending(ctx, storage, place))
    await require_place(ctx, storage, place)
    async with (
        told_of_its_pool(ctx, storage, place),
        storage.open(place, epoch) as grant,
        journaled(ctx, storage, place),
        judged(ctx, storage, place, grant),
        proven(ctx, storage, place, manner),
        shut_out_at_last(storage, place, grant),
    ):
        yield grant


@contextlib.asynccontextmanager
async def _beside(ctx: Context, storage: Storage, place: RepositoryPlace) -> AsyncGenerator[None]:
    """Hold nothing, so that no backup waits; what our own maintenance took since the last proof is no damage."""
    await catch_up(ctx, storage, place)
    yield


async def _nothing_to_do(ctx: Context, work: Work[Any, Any, Any]) -> None:
    await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED, result=dict(work.nothing)))


def _job_id(event: Command) -> uuid.UUID:
    if event.job_id is None:
        message = "a message for a backup node names its job"
        raise Permanent(
            message, code="job_missing", remedy="publish without the node: `backup.requested` with `backup_job`"
        )
    return event.job_id
