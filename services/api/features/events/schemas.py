"""What live events tell, and who may see it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, Field

from shared.domain.permissions import Permission
from shared.events.alert import AlertFact, AlertRaised, AlertResolved
from shared.events.archive import ArchiveDeleted
from shared.events.backup import BackupCompleted
from shared.events.progress import JobChanged
from shared.events.server import ServerReady, ServerRefused, ServerUnreachable
from shared.events.stats import ServerReachable

if TYPE_CHECKING:
    from shared.events.base import Event


class Topic(StrEnum):
    """What live events are about."""

    JOB = "job"
    ALERT = "alert"
    SERVER = "server"
    BACKUP = "backup"


READERS = {
    Topic.JOB: Permission.JOBS_READ,
    Topic.ALERT: Permission.ALERTS_READ,
    Topic.SERVER: Permission.SERVERS_READ,
    Topic.BACKUP: Permission.BACKUPS_READ,
}
"""The right that each topic needs."""


class Kind(NamedTuple):
    """How a fact of the bus is told."""

    topic: Topic
    event: str
    fact: type[Event]


LIVE = {
    fact.subject: Kind(topic, event, fact)
    for topic, event, facts in (
        (Topic.JOB, "job.changed", (JobChanged,)),
        (Topic.ALERT, "alert.changed", (AlertRaised, AlertResolved)),
        (Topic.SERVER, "server.status", (ServerReady, ServerUnreachable, ServerReachable, ServerRefused)),
        (Topic.BACKUP, "backup.created", (BackupCompleted,)),
        (Topic.BACKUP, "backup.deleted", (ArchiveDeleted,)),
    )
    for fact in facts
}
"""The facts that are told, by their subject on the bus."""


class Reset(BaseModel):
    """`reset`: what was asked for before may have changed; it has no fields. A stream that is not resumed begins so."""


class JobEvent(BaseModel):
    """`job.changed`."""

    fact: Literal["job.changed"]
    row: JobChanged


class AlertEvent(BaseModel):
    """`alert.changed`."""

    fact: Literal["alert.raised", "alert.resolved"]
    row: AlertFact


class ServerEvent(BaseModel):
    """`server.status`."""

    fact: Literal["server.ready", "server.unreachable", "server.reachable", "server.refused"]
    row: ServerReady | ServerUnreachable | ServerReachable | ServerRefused


class BackupEvent(BaseModel):
    """`backup.created` and `backup.deleted`."""

    fact: Literal["backup.completed", "archive.deleted"]
    row: BackupCompleted | ArchiveDeleted


class LiveEvent(BaseModel):
    """One event of the stream, which is text: each field a line, an empty line after the last."""

    id: str = Field(description="Send the last one as `Last-Event-ID` to go on after it.")
    event: Literal[
        "reset", "job.changed", "alert.changed", "server.status", "backup.created", "backup.deleted"
    ] = Field(description="What happened.")  # fmt: skip
    data: JobEvent | AlertEvent | ServerEvent | BackupEvent | Reset = Field(description="As one line of JSON.")
    retry: int | None = Field(default=None, description="Milliseconds to wait before the next stream; sent at its end.")
