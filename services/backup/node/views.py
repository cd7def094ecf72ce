"""Reading a repository beside its writer: through a view, or in its place under its lease where a pool has no links.

A view is taken while nothing can be deleted or compacted: under the repository's lease, held for those seconds, or
beside a backup, which only adds. Whoever else holds the lease is waited for. See ADR 70.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from services.backup.node.leaves import extending
from services.backup.node.pools import require_place
from shared.borg.exit_codes import ROLLED_BACK
from shared.borg.views import CannotLink
from shared.domain.job import JobType
from shared.errors import AppError, Permanent, Transient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from services.backup.ports import RepositoryPlace, Storage
    from shared.borg.node import Grant
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context

T = TypeVar("T")
_TRIES = 8
_UNREADABLE = (ROLLED_BACK, "archive_missing", "repository_corrupt", "manifest_unreadable", "repository_missing")


@dataclass(frozen=True, slots=True)
class View:
    """A repository to read from, and the leave to do so: pass both to `Storage`, or the grant to who serves it."""

    place: RepositoryPlace
    grant: Grant
    linked: bool
    """It stands apart from the repository. If not, the repository's lease is held, and no server may reach it."""


class _Lessor(Protocol):
    """Holds leases for whoever reads: a job's `Context` does."""

    async def hold(self, name: str, label: str, *, on_beat: Callable[[int], None]) -> int:
        """Take a lease; Transient while another holds it."""
        ...

    async def let_go(self, name: str) -> None:
        """Give it back."""
        ...

    async def run(self, work: Callable[[UnitOfWork], Awaitable[T]], /) -> T:
        """Run one transaction."""
        ...


async def take(lessor: _Lessor, storage: Storage, place: RepositoryPlace, view: RepositoryPlace) -> None:
    """Make a view; Waiting while something deletes or compacts, CannotLink where the pool makes no links."""
    for _ in range(_TRIES):
        held = await lessor.run(lambda tx: tx.leases.held_for(place.lease))
        if held is None or held.kind != JobType.BACKUP_CREATE:
            await lessor.hold(place.lease, place.label, on_beat=_nothing)
            try:
                await storage.take_view(place, view)
            finally:
                await lessor.let_go(place.lease)
            return
        await storage.take_view(place, view)
        if await lessor.run(lambda tx: tx.leases.epoch(place.lease)) == held.epoch:
            return  # the backup held it all the time, or nobody has taken it since: nothing was taken away
    message = f"{place.label} passed from one job to the next each time that a view of it was made"
    raise Transient(message, code="view_moved", remedy="it is tried again")


@contextlib.asynccontextmanager
async def viewed(
    ctx: Context, storage: Storage, place: RepositoryPlace, *, to_server: bool = False
) -> AsyncGenerator[View]:
    """Read a repository through a view of the job's own, which is removed at the end; again as often as it is needed.

    `to_server`: the repository's own server may reach the view, through the fence, as long as this lasts.
    """
    await require_place(ctx, storage, place)
    view = replace(storage.view_of(place, _job_id(ctx)), to_server=to_server)
    async with contextlib.AsyncExitStack() as stack:
        name = f"view:{view.id.hex}"
        epoch = await ctx.hold(name, place.label, on_beat=extending(ctx, storage, view))
        stack.push_async_callback(_removed, ctx, storage, view)
        stack.push_async_callback(ctx.let_go, name)
        grant = await stack.enter_async_context(storage.open(view, epoch))  # ends what an earlier attempt left at work
        try:
            await take(ctx, storage, place, view)
        except CannotLink as error:
            if place.read_only:
                raise  # in its place it would be locked, and borg may write there
            ctx.log("info", "kernel", f"{error.message}; {error.remedy}", code=error.code)
            yield await stack.enter_async_context(_in_place(ctx, storage, place))
        else:
            yield View(view, grant, linked=True)


async def through_view(
    ctx: Context, storage: Storage, place: RepositoryPlace, work: Callable[[View], Awaitable[T]]
) -> T:
    """Return what reading a view comes to; one that borg cannot read is taken anew once. It is no incident."""
    for last in (False, True):
        try:
            async with viewed(ctx, storage, place) as view:
                return await work(view)
        except Permanent as error:
            if error.code not in _UNREADABLE:
                raise
            if last and error.code == "archive_missing":
                raise
            if last:
                message = f"a view of {place.label} cannot be read: {error.message}"
                remedy = "run a check of the repository; it tells what is damaged"
                raise Permanent(message, code="view_unreadable", remedy=remedy) from error
            ctx.log("warning", "borg", f"the view cannot be read and is taken anew: {error.message}", code=error.code)
    raise AssertionError


@contextlib.asynccontextmanager
async def _in_place(ctx: Context, storage: Storage, place: RepositoryPlace) -> AsyncGenerator[View]:
    """Read the repository itself, with nobody beside: a backup waits for as long as this lasts."""
    place = replace(place, to_server=False)
    epoch = await ctx.hold(place.lease, place.label, on_beat=extending(ctx, storage, place))
    try:
        async with storage.open(place, epoch) as grant:
            yield View(place, grant, linked=False)
    finally:
        await ctx.let_go(place.lease)


async def _removed(ctx: Context, storage: Storage, view: RepositoryPlace) -> None:
    """Remove a view; one that cannot be removed now undoes nothing of what was read: housekeeping will."""
    try:
        await storage.remove_view(view)
    except (AppError, OSError) as error:
        ctx.log("warning", "kernel", f"the view {view.path} could not be removed yet: {error}", code="view_left")


def _job_id(ctx: Context) -> uuid.UUID:
    return uuid.uuid4() if ctx.job is None else ctx.job.id


def _nothing(_epoch: int) -> None:
    """Renew nothing outside: no process works under this lease."""
