"""What a session sees of the servers, and of all that belongs to one: everything, or the part that somebody may see.

The limit is put around each statement here, so that no query, count or change of a feature can forget it. What is
outside is not there: it is found by no id, counted nowhere, changed by nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, event, or_, select
from sqlalchemy.orm import with_loader_criteria

from shared.db.tables.alert import Alert, AlertChange, AlertRule, MaintenanceWindow
from shared.db.tables.approval import Approval
from shared.db.tables.audit import AuditEntry
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.base import Base
from shared.db.tables.download import DownloadTicket
from shared.db.tables.evidence import PastMeasure, RunEvidenceRow
from shared.db.tables.job import Job, JobLog
from shared.db.tables.notify import Notification
from shared.db.tables.proof import RestoreProof
from shared.db.tables.schedule import MissedRun, Pause, Schedule
from shared.db.tables.server import AccessRefusal, Server
from shared.db.tables.stats import ServerMount, ServerRollup, ServerStats, ServerStatus
from shared.db.tables.storage import Archive, Repository
from shared.db.tables.tag import ServerTag

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Generator

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import ORMExecuteState

Servers: TypeAlias = "frozenset[uuid.UUID]"
_SEEN = "borgfleet.servers"
_WATCHED = "borgfleet.watched"

# Tables of their own, not their classes: the limit is not put into what it is made of.
_SERVERS, _JOBS, _ALERTS = Server.__table__.c, Job.__table__.c, Alert.__table__.c
_REPOSITORIES, _BACKUP_JOBS = Repository.__table__.c, BackupJob.__table__.c
_ARCHIVES = Archive.__table__.c


def _own(table: Any) -> Callable[[Servers], ColumnElement[bool]]:
    condition: Callable[[Servers], ColumnElement[bool]] = table.server_id.in_
    return condition


def _by_job(table: Any) -> Callable[[Servers], ColumnElement[bool]]:
    return lambda servers: table.job_id.in_(select(_JOBS.id).where(_JOBS.server_id.in_(servers)))


def _by_backup_job(table: Any) -> Callable[[Servers], ColumnElement[bool]]:
    return lambda servers: table.backup_job_id.in_(
        select(_BACKUP_JOBS.id).where(_BACKUP_JOBS.server_id.in_(servers))
    )  # fmt: skip


def _by_owner(table: Any) -> Callable[[Servers], ColumnElement[bool]]:
    """Of a backup job or of a repository."""
    of_repository = select(_REPOSITORIES.id).where
    return lambda servers: or_(
        _by_backup_job(table)(servers), table.repository_id.in_(of_repository(_REPOSITORIES.server_id.in_(servers)))
    )


def _named(column: Any) -> Callable[[Servers], ColumnElement[bool]]:
    return lambda servers: column.in_(select(_SERVERS.name).where(_SERVERS.id.in_(servers)))


def _downloads(servers: Servers) -> ColumnElement[bool]:
    return DownloadTicket.archive_id.in_(select(_ARCHIVES.id).where(_ARCHIVES.server_id.in_(servers)))


def _alert_changes(servers: Servers) -> ColumnElement[bool]:
    names = select(_SERVERS.name).where(_SERVERS.id.in_(servers))
    return AlertChange.alert_id.in_(select(_ALERTS.id).where(_ALERTS.server.in_(names)))


LIMITED: dict[type[Base], Callable[[Servers], ColumnElement[bool]]] = {
    AccessRefusal: _own(AccessRefusal),
    Alert: _named(Alert.server),
    AlertChange: _alert_changes,
    AlertRule: _own(AlertRule),
    Approval: _own(Approval),
    Archive: _own(Archive),
    AuditEntry: _own(AuditEntry),
    BackupJob: _own(BackupJob),
    DownloadTicket: _downloads,
    Job: _own(Job),
    JobLog: _by_job(JobLog),
    MaintenanceWindow: _own(MaintenanceWindow),
    MissedRun: _by_owner(MissedRun),
    Notification: _named(Notification.server),
    PastMeasure: _by_backup_job(PastMeasure),
    Pause: _own(Pause),
    Repository: _own(Repository),
    RestoreProof: _own(RestoreProof),
    RunEvidenceRow: _by_job(RunEvidenceRow),
    Schedule: _by_owner(Schedule),
    Server: Server.id.in_,
    ServerMount: _own(ServerMount),
    ServerRollup: _own(ServerRollup),
    ServerStats: _own(ServerStats),
    ServerStatus: _own(ServerStatus),
    ServerTag: _own(ServerTag),
}
"""The tables that hold what belongs to one server, and how a row's server is known. A test knows the others by name."""

_FOR_ALL: dict[type[Base], ColumnElement[bool]] = {
    MaintenanceWindow: MaintenanceWindow.server == "",
    Pause: Pause.server == "",
}
"""Rows for many servers: they can be read, since they hold for one's own too, and not be changed."""


@contextmanager
def seeing(session: AsyncSession, servers: Servers | None) -> Generator[None]:
    """Let a session see these servers alone for a while; None: all of them.

    All of them has to see what decides for the whole fleet, as whose run is next.
    """
    info = session.sync_session.info
    before = info.get(_SEEN)
    if servers is not None and not info.get(_WATCHED):
        event.listen(session.sync_session, "do_orm_execute", _limit)
        info[_WATCHED] = True
    info[_SEEN] = servers
    try:
        yield
    finally:
        info[_SEEN] = before


def seen_servers(session: AsyncSession) -> Servers | None:
    """Return which servers a session sees; None: all of them."""
    return session.sync_session.info.get(_SEEN)


def _limit(state: ORMExecuteState) -> None:
    servers: Servers | None = state.session.info.get(_SEEN)
    # What is loaded of a row that is at hand already needs no limit: it was found within it, or just made.
    if servers is None or state.is_column_load or not state.is_orm_statement:
        return
    criteria: list[Any] = []
    for table, condition in LIMITED.items():
        mine = condition(servers)
        if state.is_select and table in _FOR_ALL:
            mine = or_(mine, _FOR_ALL[table])
        criteria.append(with_loader_criteria(table, mine, include_aliases=True))
    state.statement = state.statement.options(*criteria)
