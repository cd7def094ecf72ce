"""A view that is read for as long as a transfer lasts, with a lease that is renewed and a grant that stands for it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
import uuid
from typing import TYPE_CHECKING, NamedTuple

import structlog

from services.backup.catalogue.answers import Brief
from services.backup.node.views import take
from shared.borg.views import CannotLink
from shared.domain.messages.files import REPOSITORY_BUSY, VIEW_IMPOSSIBLE
from shared.errors import AppError, Conflict, LeaseLost, Transient
from shared.runtime.outcome import cancelled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from services.backup.node.view_keeper import ViewKeeper
    from services.backup.ports import RepositoryPlace, Storage
    from shared.borg.node import Grant
    from shared.db.session import Database

_log = structlog.get_logger()
_BUSY_SECONDS, _AGAIN_SECONDS = 20.0, 0.25
_RENEWALS = 3
"""So often within the time that a lease lasts."""


class Read(NamedTuple):
    """A view, and the leave to read it."""

    place: RepositoryPlace
    grant: Grant


@contextlib.asynccontextmanager
async def viewing(
    db: Database, storage: Storage, keeper: ViewKeeper, place: RepositoryPlace, seconds: float
) -> AsyncGenerator[Read]:
    """Take a view for as long as this lasts; `seconds`: how long borg goes on at work there once this process is gone.

    Transient `repository_busy` where something deletes or compacts for longer, Conflict where the pool makes no links.
    """
    view = storage.view_of(place, uuid.uuid4())
    name, holder = f"view:{view.id.hex}", secrets.token_hex(16)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(keeper.using(view.id))
        epoch = await db.run(lambda tx: tx.leases.acquire(name, holder, seconds))
        if epoch is None:
            raise Transient(REPOSITORY_BUSY(repository=place.label))
        stack.push_async_callback(_tidied, view, lambda: storage.remove_view(view))
        stack.push_async_callback(_tidied, view, lambda: db.run(lambda tx: tx.leases.release(name, holder)))
        grant = await stack.enter_async_context(storage.open(view, epoch))

        async def renew() -> None:
            while True:
                await asyncio.sleep(seconds / _RENEWALS)
                try:
                    await db.run(lambda tx: tx.leases.renew(name, holder, seconds), retry_for=0)
                except LeaseLost:
                    return  # and with the grant borg ends
                except AppError as error:
                    _log.warning("transfer_not_renewed", view=view.id.hex, code=error.code)
                else:
                    storage.permit(view, epoch)

        renewing = asyncio.create_task(renew())
        stack.push_async_callback(cancelled, renewing)
        await _taken(db, storage, place, view)
        yield Read(view, grant)


async def _tidied(view: RepositoryPlace, work: Callable[[], Awaitable[object]]) -> None:
    """Tidy up after a view; what cannot be done now undoes nothing of what was read: housekeeping will, and time."""
    try:
        await work()
    except (AppError, OSError) as error:
        _log.warning("view_left", view=view.id.hex, reason=str(error))


async def _taken(db: Database, storage: Storage, place: RepositoryPlace, view: RepositoryPlace) -> None:
    """Make the view; who has the repository for the seconds of making another view is waited for."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            await take(Brief(db), storage, place, view)
        except CannotLink as error:
            raise Conflict(VIEW_IMPOSSIBLE(repository=place.label)) from error
        except Transient as error:
            if error.code != "repository_busy" or time.monotonic() > until:
                raise
            await asyncio.sleep(_AGAIN_SECONDS)
        else:
            return
