"""What the application hands to its routes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from shared.bus.port import Bus
from shared.config.settings import Settings
from shared.db.session import Database
from shared.db.visible import Servers, seeing
from shared.notify.port import Sender

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncSession
    from starlette.requests import HTTPConnection

    from shared.db.unit_of_work import UnitOfWork

T = TypeVar("T")


class Doing(Protocol):
    """The database as routes use it: alone, or as a part of one change that is remembered with its answer."""

    async def run(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Do work in a transaction."""
        ...

    def read(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session for reading."""
        ...


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the application hands to its routes."""

    database: Database
    bus: Bus
    sender: Sender
    """To check the addresses of notification channels; nothing is sent from here."""
    settings: Settings
    change: Doing | None = None
    """The change that a request is about, if it is about one."""
    servers: Servers | None = None
    """The servers that whoever asks may do this with; None: all of them."""

    @property
    def db(self) -> Doing:
        """The database, tried again for as long as a request waits."""
        if self.change is not None:
            return self.change
        database = self.database.for_requests()
        return database if self.servers is None else _Limited(database, self.servers)


@dataclass(frozen=True, slots=True)
class _Limited:
    """The database as somebody sees it who may see some servers only."""

    database: Database
    servers: Servers

    async def run(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Do work in a transaction."""

        async def limited(tx: UnitOfWork) -> T:
            with seeing(tx.session, self.servers):
                return await work(tx)

        return await self.database.run(limited)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncSession]:
        """Open a session for reading."""
        async with self.database.read() as session:
            with seeing(session, self.servers):
                yield session


def gateway_of(request: HTTPConnection) -> Gateway:
    """Return the parts as a request has them: with what whoever asks may see, once that is known."""
    found = getattr(request.state, "gateway", None) or request.app.state.gateway
    if not isinstance(found, Gateway):
        message = "the application was built without its parts"
        raise TypeError(message)
    return found
