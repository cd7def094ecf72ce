"""A service is a table: which event goes to which handler, and what runs beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prometheus_client import CollectorRegistry

    from shared.bus.port import Bus
    from shared.config.settings import Settings
    from shared.db.session import Database
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.errors import AppError
    from shared.events.base import Command, Event
    from shared.runtime.context import Context
    from shared.runtime.tasks import Task

Handler: TypeAlias = "Callable[[Any, Context], Awaitable[None]]"
OnFailure: TypeAlias = "Callable[[UnitOfWork, Job, AppError], Awaitable[None]]"


@dataclass(frozen=True, slots=True)
class Route:
    """One subject: its event, its handler, how many at once; with a node, `<subject>.<node>`."""

    event: type[Command]
    handler: Handler
    concurrency: int = 1
    node: str | None = None
    on_failure: OnFailure | None = None
    """Called in the transaction that ends a job as failed, to say so to the world."""

    @property
    def subject(self) -> str:
        """The subject this route consumes."""
        return f"{self.event.subject}.{self.node}" if self.node else self.event.subject


@dataclass(frozen=True, slots=True)
class Service:
    """One service: routes, and the tasks that run beside; each is watched, and started again if it fails."""

    name: str
    routes: tuple[Route, ...] = ()
    tasks: tuple[Task, ...] = ()
    emits: tuple[type[Event], ...] = ()
    """Commands it gives and facts it states: nats-server lets it publish nothing else."""
    hears: tuple[type[Event], ...] = ()
    """Events it subscribes to beside its routes."""
    reads: tuple[type[Event], ...] = ()
    """Events of which it asks for the newest."""
    asks: tuple[str, ...] = ()
    """Subjects of the questions it asks others, with a `*` for each part that may be anything."""
    answers: tuple[str, ...] = ()
    """Subjects of the questions it answers."""
    sweeps: bool = False
    """Whether it publishes what any process left in the outbox, and keeps the streams: so it may publish everything."""
    needs_bus: bool = True
    """Whether it can do nothing without the message bus; the API only takes orders, and these wait in the database."""

    @property
    def node(self) -> str:
        """The backup node whose work it takes; empty where work is not bound to a node."""
        return next((route.node for route in self.routes if route.node), "")


@dataclass(frozen=True, slots=True)
class Parts:
    """What every service is built from; made once per process by the composition root."""

    settings: Settings
    db: Database
    bus: Bus
    registry: CollectorRegistry
